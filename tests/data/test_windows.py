"""Latents read from disk: the same numbers in whatever pieces and processes they are read."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from echoflow.data.clips import AnatomySource, ClipSource, PairSource
from echoflow.data.shardfile import shard_name
from echoflow.data.shardwriter import Item, write_latents
from echoflow.data.windows import Latents
from echoflow.latents import Moments
from echoflow.types import Batch, InputError, Record, Split, View

FRAMES = (12, 30, 7, 19)


def record(number: int, frames: int) -> Record:
    split = Split.VAL if number == 3 else Split.TRAIN
    known = (25.0, frames, 20, 20, 40.0 + number, None, None)
    return Record(f"v{number}", f"v{number}", "test", View.PSAX, split, None, *known)


class Made:
    """Random latents of 3 channels. Video 0 is known in every frame, 1 in two, others in none."""

    findings = ()

    def __init__(self, frames: tuple[int, ...] = FRAMES):
        self.records = tuple(record(number, n) for number, n in enumerate(frames))
        rng = torch.manual_seed(0)
        self.mean = [torch.randn(n, 3, 5, 5, generator=rng) * 4 + 1 for n in frames]
        self.std = [torch.rand(n, 3, 5, 5, generator=rng) for n in frames]
        self.traced = [np.arange(frames[0]), np.array([3, 20]), *[np.arange(0)] * (len(frames) - 2)]

    def __len__(self) -> int:
        return len(self.records)

    def plan(self):
        return {}

    def items(self, numbers: range):
        for i in numbers:
            masks = torch.zeros(len(self.traced[i]), 5, 5, dtype=torch.uint8)
            for row, frame in enumerate(self.traced[i]):
                masks[row, 0, int(frame) % 5] = 1
            moments = Moments(self.mean[i], self.std[i])
            yield Item(self.records[i], moments, self.traced[i], masks, "")


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return write_latents(made, tmp_path_factory.mktemp("z") / "z", per_shard=3).folder


@pytest.mark.parametrize(
    "frames", [[[2, 3, 4]], [[4, 3, 9]], [[6, 6, 0]], [[0, 1, 5]], [[11, 2, 3]]]
)
@pytest.mark.parametrize("video", [0, 1, 3])
def test_any_frames_in_any_order(folder, made, frames, video):
    latents = Latents.read(folder)
    z = latents.draw(np.array([video]), np.array(frames), None)
    mean = made.mean[video][frames[0]].half().float()
    assert torch.allclose(latents.stats.restore(z[0]), mean, atol=1e-5)


def test_draws_are_those_of_the_posterior(folder, made):
    latents = Latents.read(folder)
    index, frames = np.array([1, 3]), np.array([[5, 6, 0], [1, 2, 17]])
    z = latents.draw(index, frames, np.random.default_rng(1))
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(z.shape, np.float32))
    for row, video in enumerate(index):
        mean, std = (part[video][frames[row]].half().float() for part in (made.mean, made.std))
        assert torch.equal(z[row], latents.stats.normalise(mean + std * noise[row]))


def test_masks_of_all_some_and_no_frames(folder, made):
    latents = Latents.read(folder)
    assert [latents.traced(i).tolist() for i in range(4)] == [list(range(12)), [3, 20], [], []]
    masks = latents.mask(np.array([0, 1, 2]), np.array([[7, 1], [20, 3], [0, 6]]))
    assert masks is not None
    assert masks[:, :, 0].tolist() == [
        [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]],
        [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]],
        [[0] * 5] * 2,
    ]
    assert masks.sum() == 4
    assert latents.masks is None
    source = AnatomySource(latents)
    seen = source._frames(np.array([1] * 50 + [2] * 50), np.random.default_rng(0))
    assert set(seen[:50, 0]) == {3, 20}
    assert set(seen[50:, 0]) == set(range(7))


def test_splits(folder):
    assert [r.uid for r in Latents.read(folder, Split.VAL).records] == ["v3"]
    with pytest.raises(InputError, match="has no latents of split TEST"):
        Latents.read(folder, Split.TEST)


def test_clips_of_videos_of_any_length(folder):
    source = ClipSource(Latents.read(folder), 16)
    assert (len(source), source.long.tolist()) == (2, [1, 3])
    batch = source.batch(np.array([1, 0, 1]), np.random.default_rng(0))
    assert batch.x.shape == (3, 3, 16, 5, 5)
    assert batch.uid == ("v3", "v1", "v3")
    with pytest.raises(InputError, match="need videos of at least 31 frames; these have 30"):
        ClipSource(Latents.read(folder), 30)
    with pytest.raises(InputError, match=r"mixes videos of 7 to 30 frames"):
        _ = Latents.read(folder).moments


class Batches(Dataset[Batch]):
    """Five batches of a source, for a loader."""

    def __init__(self, source: ClipSource):
        self.source = source

    def __len__(self) -> int:
        return 5

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng(step)
        return self.source.batch(rng.integers(len(self.source), size=4), rng)


@pytest.mark.slow
def test_loader_processes_give_the_same_batches(folder):
    latents = Latents.read(folder)
    latents.draw(np.array([0]), np.array([[0]]), None)  # opens a file that is not to travel
    batches = Batches(ClipSource(latents, 6))
    loader = DataLoader(
        batches, batch_size=None, num_workers=2, multiprocessing_context="spawn", shuffle=False
    )
    for step, batch in enumerate(loader):
        assert torch.equal(batch.x, batches[step].x)
        assert batch.uid == batches[step].uid


def test_a_copy_opens_its_own_files(folder):
    latents = Latents.read(folder)
    latents.raw(0, 0, 2)
    copy = pickle.loads(pickle.dumps(latents))
    assert not copy._shards
    assert torch.equal(copy.raw(0, 0, 2), latents.raw(0, 0, 2))


def old_folder(root: Path, made: Made) -> Path:
    """As the first version wrote it: three files, no notes in the shards."""
    root.mkdir()
    tensors, rows = {}, []
    for i, each in enumerate(made.records):
        tensors[each.uid] = torch.cat([made.mean[i], made.std[i]], dim=1).half()
        tensors[f"{each.uid}.mask"] = torch.ones(each.frames, 5, 5, dtype=torch.uint8)
        row = asdict(each) | {"view": each.view.name, "split": each.split.value, "shard": 0}
        rows.append(row)
    save_file(tensors, str(root / shard_name(0)))
    pd.DataFrame(rows).to_parquet(root / "index.parquet")
    card = {"avae": "hash", "mean": [0.0, 1.0, 2.0], "std": [1.0, 2.0, 3.0]}
    (root / "latents.json").write_text(json.dumps(card))
    return root


def test_folders_of_the_first_version_are_read(tmp_path):
    made = Made((9, 9, 9))
    latents = Latents.read(old_folder(tmp_path / "old", made))
    assert latents.records == made.records
    assert latents.stats.mean.tolist() == [0, 1, 2]
    assert latents.moments.shape == (3, 9, 6, 5, 5)
    assert latents.masks is not None
    assert latents.masks.shape == (3, 9, 5, 5)
    batch = AnatomySource(latents).batch(np.arange(3), np.random.default_rng(0))
    assert batch.cond.mask is not None
    assert batch.cond.mask.sum() == 75
    assert len(PairSource(latents).batch(np.arange(3), np.random.default_rng(0)).x) in (3, 6)


def damage(folder: Path, name: str, data: bytes | None) -> None:
    path = folder / name
    path.unlink() if data is None else path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("latents.json", None, "holds no latents"),
        ("latents.json", b"{", r"latents\.json is missing or damaged"),
        ("latents.json", b"[]", "not a table of settings"),
        ("latents.json", b"{}", "no mean and std"),
        ("latents.json", b'{"mean": [0], "std": [0]}', "finite with positive std"),
        ("index.parquet", None, r"index\.parquet is missing or damaged"),
        ("index.parquet", b"PAR1", r"index\.parquet is missing or damaged"),
        (shard_name(0), None, r"shard-00000\.safetensors is missing or damaged"),
        (shard_name(0), b"\x08\0\0\0\0\0\0\0{}      ", r"v0: no v0\); encode again"),
        (shard_name(0), b"nothing", r"shard-00000\.safetensors is missing or damaged"),
    ],
)
def test_damage_is_told(folder, tmp_path, name, data, message):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    damage(copy, name, data)
    with pytest.raises(InputError, match=message):
        Latents.read(copy).raw(0, 0, 2)


def test_an_index_that_promises_too_much(folder, tmp_path):
    made = Made((9, 9, 9))
    old = old_folder(tmp_path / "old", made)
    for changes in ({"frames": 12}, {"frames": 0}, {"split": "EXTRA"}, {"uid": "v0"}, {"shard": 4}):
        table = pd.read_parquet(old / "index.parquet").assign(**changes)
        copy = tmp_path / "copy"
        copy.mkdir(exist_ok=True)
        for path in old.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        table.to_parquet(copy / "index.parquet")
        with pytest.raises(InputError, match="missing or damaged"):
            Latents.read(copy).raw(1, 8, 11)
