"""Several folders as one source; what is held out; what a network starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow.data.clips import FrameSource, Source
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.shards import Latents, encode_clips, labelled
from echoflow.data.video import write_video
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.training.recipes import Recipe
from echoflow.training.sources import fingerprint, folders, latents, videos
from echoflow.training.start import network
from echoflow.training.table import named
from echoflow.types import Clip, InputError, Record, Split, View


def dataset(root: Path, name: str, splits: tuple[Split, ...], grey: int) -> Manifest:
    """Two-frame videos of 16 x 16 pixels."""
    folder = root / name
    (folder / "Videos").mkdir(parents=True)
    records = []
    for number, split in enumerate(splits):
        uid = f"{name}{number}"
        noise = np.random.default_rng(number).integers(0, 60, (2, 16, 16))
        video = (grey + noise).astype(np.uint8)
        write_video(folder / video_path(uid), video, 25)
        clip = Clip(uid, video, 25.0, View.A4C, name, split, ef=50.0)
        records.append(Record.of(clip, video_path(uid)))
    manifest = Manifest(folder, tuple(records))
    manifest.write()
    return manifest


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets a (two to train on, one held out) and b (one to train on), and their latents."""
    root = tmp_path_factory.mktemp("sources")
    torch.manual_seed(0)
    avae = zoo.build(AVAEConfig(2, (4, 4), 1, 2, False, 1)).eval()
    parts = {"a": (Split.TRAIN, Split.TRAIN, Split.VAL), "b": (Split.TRAIN,)}
    for name, splits in parts.items():
        manifest = dataset(root, name, splits, 20 if name == "a" else 180)
        feed = labelled(manifest, manifest.records)
        encode_clips(feed, avae, root / f"latents-{name}", "untrained")
    return root


def recipe(root: Path, *data: str, held_out: str | None = None) -> Recipe:
    paths = ", ".join(str(root / name) for name in data)
    return named("nano-lifm").model_copy(
        update={"data": paths, "held_out": held_out and str(root / held_out)}
    )


def frames(manifest: Manifest, records: tuple[Record, ...]) -> Source:
    uids = tuple(record.uid for record in records)
    return FrameSource(np.zeros((len(uids), 1, 4, 4), np.uint8), uids)


def seen(source: Source) -> tuple[str, ...]:
    return source.batch(np.arange(len(source)), np.random.default_rng(0)).uid


def test_folders_are_separated_by_commas() -> None:
    assert folders("one, two ,three") == ["one", "two", "three"]


def test_videos_of_several_folders(root: Path) -> None:
    both = recipe(root, "a", "b")
    assert seen(videos(both, Split.TRAIN, frames)) == ("a0", "a1", "b0")
    assert seen(videos(both, Split.VAL, frames)) == ("a2",)  # b holds nothing out
    other = recipe(root, "b", held_out="a")
    assert seen(videos(other, Split.VAL, frames)) == ("a2",)
    with pytest.raises(InputError, match="no videos of split VAL"):
        videos(recipe(root, "b"), Split.VAL, frames)


def test_latents_of_several_folders_are_normalised_by_the_first(root: Path) -> None:
    first, second = latents(recipe(root, "latents-a", "latents-b"), Split.TRAIN)
    own = Latents.read(root / "latents-b")
    assert not torch.equal(own.stats.mean, second.stats.mean)
    assert torch.equal(first.stats.mean, second.stats.mean)
    (held,) = latents(recipe(root, "latents-b", held_out="latents-a"), Split.VAL)
    assert torch.equal(held.stats.mean, own.stats.mean)


def test_the_fingerprint_is_of_all_folders(root: Path) -> None:
    found = {
        fingerprint(recipe(root, "a")),
        fingerprint(recipe(root, "a", "b")),
        fingerprint(recipe(root, "b", "a")),
        fingerprint(recipe(root, "b", held_out="a")),
    }
    assert len(found) == 3  # the last two are the same files


def test_a_network_starts_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = zoo.build("LV-nano")
    zoo.save(net, tmp_path)
    made = network(named("nano-lv").changed([f"start={tmp_path}"]))
    for ours, theirs in zip(made.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "start", "message"),
    [
        ("nano-lv", "kinetics.pth", "LV-nano cannot start from a torchvision file"),
        ("ReId-4f4", "missing.pth", "no weights at missing.pth; download the torchvision file"),
    ],
)
def test_torchvision_files_that_do_not_fit(name: str, start: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(named(name).changed([f"start={start}"]))
