"""Encoding: what is written, what is left out, and that stopping it costs nothing but time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow.data import shardfile
from echoflow.data.feed import Feed, load
from echoflow.data.findings import left_out
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.phantom import PhantomPatient
from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.shards import Encoded, Latents, encode_clips, labelled
from echoflow.data.sources import open_source
from echoflow.data.video import write_video
from echoflow.files import sha256
from echoflow.latents import LatentStats, encode
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.types import InputError, Record, Split, View

SPLITS = (Split.TRAIN, Split.TRAIN, Split.VAL, Split.TRAIN, Split.TEST, Split.TRAIN, Split.TRAIN)
FRAMES = (6, 9, 5, 7, 6, 8, 5)
PER_SHARD = 2
WINDOW = Window(size=16)
FORK = multiprocessing.get_context("fork")


def dataset(root: Path) -> Manifest:
    """Seven short noisy videos of unequal lengths, 16 x 16 pixels."""
    (root / "Videos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = []
    for number, (frames, split) in enumerate(zip(FRAMES, SPLITS, strict=True)):
        uid = f"0X{number:02d}"
        pixels = rng.integers(0, 255, (frames, 16, 16), np.uint8)
        write_video(root / video_path(uid), pixels, 25)
        known = (25.0, frames, 16, 16, 50.0 + number, None, None)
        records.append(Record(uid, video_path(uid), "test", View.A4C, split, None, *known))
    return Manifest(root, tuple(records))


@pytest.fixture(scope="module")
def avae() -> torch.nn.Module:
    torch.manual_seed(0)
    return zoo.build(AVAEConfig(2, (4, 4), 1, 2, False, 1)).eval()


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return dataset(tmp_path / "set")


def encoded(manifest: Manifest, avae: torch.nn.Module, out: Path, **settings) -> Encoded:
    feed = labelled(manifest, manifest.records, settings.pop("window", WINDOW))
    settings = {"per_shard": PER_SHARD, "inference": "exact", "provenance": "hash", **settings}
    return encode_clips(feed, avae, out, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def moments_of(avae, video: np.ndarray) -> torch.Tensor:
    moments = encode(avae, torch.from_numpy(to_float(video)))
    return torch.cat([moments.mean, moments.std], dim=1)


def test_every_video_is_there_as_the_network_makes_it(manifest, avae, tmp_path):
    done = encoded(manifest, avae, tmp_path / "z")
    assert (done.videos, done.findings) == (7, ())
    latents = Latents.read(tmp_path / "z")
    assert [r.uid for r in latents.records] == [r.uid for r in manifest.records]
    assert [r.ef for r in latents.records] == [r.ef for r in manifest.records]
    for number, record in enumerate(manifest.records):
        video = load_clip(manifest, record, WINDOW).video
        assert torch.equal(latents.raw(number, 0, record.frames), moments_of(avae, video).half())
        assert latents.rows[number].sha256 == sha256(manifest.video(record))
    shards = {shardfile.shard_name(number) for number in range(4)}
    assert {path.name for path in (tmp_path / "z").iterdir()} == shards | {
        "index.parquet",
        "latents.json",
        "findings.csv",
    }
    assert not list(tmp_path.glob(".z*"))


def test_statistics_are_those_of_posterior_draws_of_the_training_split(manifest, avae, tmp_path):
    encoded(manifest, avae, tmp_path / "z")
    videos = [load_clip(manifest, r, WINDOW).video for r in manifest.of(Split.TRAIN)]
    mean, std = torch.cat([moments_of(avae, v) for v in videos]).double().chunk(2, dim=1)
    card = json.loads((tmp_path / "z" / "latents.json").read_text())
    assert card["mean"] == pytest.approx(mean.mean((0, 2, 3)).tolist())
    variance = mean.square() + std.square()
    spread = (variance.mean((0, 2, 3)) - mean.mean((0, 2, 3)).square()).sqrt()
    assert card["std"] == card["measured"]["std"] == pytest.approx(spread.tolist())
    assert (card["videos"], card["frames"], card["left_out"]) == (7, sum(FRAMES), 0)
    assert card["plan"]["avae"] == "hash"


def test_given_statistics_take_the_place_of_the_measured_ones(manifest, avae, tmp_path):
    scaling = LatentStats(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    unseen = replace(manifest, records=manifest.of(Split.TEST))
    encoded(unseen, avae, tmp_path / "z", scaling=scaling)
    assert Latents.read(tmp_path / "z").stats.std.tolist() == [3, 4]
    assert json.loads((tmp_path / "z/latents.json").read_text())["measured"] is None


@pytest.mark.parametrize("dies_at", [1, 2, 3, 6, 7])
def test_killed_and_started_again(manifest, avae, tmp_path, dies_at):
    """The result is that of an undisturbed run, bit by bit, and no whole shard is made twice."""

    def kill(done: int) -> None:
        if done == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        encoded(manifest, avae, tmp_path / "z", progress=kill)

    process = FORK.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "z").exists()
    told: list[int] = []
    encoded(manifest, avae, tmp_path / "z", progress=told.append)
    whole = (dies_at - 1) // PER_SHARD * PER_SHARD  # the last shard is written after its last video
    assert told[0] == whole
    assert told[1:] == [*range(whole + 1, 8), 7]
    encoded(manifest, avae, tmp_path / "once")
    assert contents(tmp_path / "z") == contents(tmp_path / "once")
    assert not list(tmp_path.glob(".*"))


def test_killed_before_the_folder_has_its_name(manifest, avae, tmp_path):
    """What waits for its name is gone on with, and not by another plan."""

    def run() -> None:
        move = os.replace

        def dies_at_last(source: Path, target: Path) -> None:
            if Path(source).name == ".z.part":
                os.kill(os.getpid(), signal.SIGKILL)
            move(source, target)

        os.replace = dies_at_last  # in the process that is killed only
        encoded(manifest, avae, tmp_path / "z")

    process = FORK.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    work = tmp_path / ".z.part"
    assert not (work / "plan.json").exists()
    assert (work / "latents.json").is_file()
    with pytest.raises(InputError, match=r"\.z\.part holds the beginning .*not the same: avae"):
        encoded(manifest, avae, tmp_path / "z", provenance="another")
    told: list[int] = []
    encoded(manifest, avae, tmp_path / "z", progress=told.append)
    assert told == [7, 7]
    encoded(manifest, avae, tmp_path / "once")
    assert contents(tmp_path / "z") == contents(tmp_path / "once")


def test_processes_share_the_shards(manifest, avae, tmp_path):
    made = FORK.Queue()

    def run() -> None:
        mine: list[int] = []
        encoded(manifest, avae, tmp_path / "z", progress=mine.append)
        # Without the first and the last, which say what there is; one who comes when all is done
        # is told only once.
        made.put(max(len(mine) - 2, 0))

    processes = [FORK.Process(target=run) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sum(made.get() for _ in processes) == 7
    encoded(manifest, avae, tmp_path / "once")
    assert contents(tmp_path / "z") == contents(tmp_path / "once")


@pytest.mark.slow
def test_workers_change_nothing(manifest, avae, tmp_path):
    encoded(manifest, avae, tmp_path / "a", workers=2)
    encoded(manifest, avae, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_finished_folder_is_not_made_again(manifest, avae, tmp_path):
    first = encoded(manifest, avae, tmp_path / "z")
    told: list[int] = []
    assert encoded(manifest, avae, tmp_path / "z", progress=told.append) == first
    assert told == [7]
    with pytest.raises(InputError, match="is not empty"):
        encoded(manifest, avae, tmp_path / "z", provenance="another")


def test_what_was_begun_otherwise_is_not_gone_on_with(manifest, avae, tmp_path):
    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoded(manifest, avae, tmp_path / "z", progress=stop)
    with pytest.raises(InputError, match=r"\.z\.part holds the beginning .*not the same: avae"):
        encoded(manifest, avae, tmp_path / "z", provenance="another")
    longer = replace(WINDOW, frames=4)
    with pytest.raises(InputError, match="not the same: window"):
        encoded(manifest, avae, tmp_path / "z", window=longer)
    assert encoded(manifest, avae, tmp_path / "z").videos == 7


def test_bad_videos_are_left_out_and_counted(manifest, avae, tmp_path):
    files = [manifest.video(record) for record in manifest.records]
    files[0].write_bytes(files[0].read_bytes()[:-400])
    files[2].write_bytes(b"")
    files[3].unlink()
    write_video(files[5], np.zeros((3, 16, 16), np.uint8), 25)
    done = encoded(manifest, avae, tmp_path / "z", window=replace(WINDOW, frames=6))
    assert {f.excluded: f.kind for f in done.findings} == {
        "0X00": "truncated",
        "0X02": "unreadable",
        "0X03": "unreadable",
        "0X05": "frame-count",
        "0X06": "too-short",
    }
    assert all(str(tmp_path) not in f.detail for f in done.findings)
    assert done.videos + len(left_out(done.findings)) == 7
    latents = Latents.read(tmp_path / "z")
    assert [r.uid for r in latents.records] == ["0X01", "0X04"]
    assert latents.lengths.tolist() == [6, 6]


def test_nothing_is_left_behind_when_nothing_can_be_read(manifest, avae, tmp_path):
    for record in manifest.records:
        manifest.video(record).write_text("no video")
    with pytest.raises(InputError, match=r"none of 7 videos can be read: .*0X06\.avi is not"):
        encoded(manifest, avae, tmp_path / "z")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_refusals_leave_nothing(manifest, avae, tmp_path):
    none = replace(manifest, records=())
    with pytest.raises(InputError, match="there is nothing to encode"):
        encoded(none, avae, tmp_path / "z")
    with pytest.raises(InputError, match="no video of split TRAIN"):
        encoded(replace(manifest, records=manifest.of(Split.VAL)), avae, tmp_path / "z")
    named = (*manifest.records, replace(manifest.records[0], uid="0X01.mask"))
    with pytest.raises(InputError, match=r"ends in \.mask"):
        encoded(replace(manifest, records=named), avae, tmp_path / "z")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        encoded(manifest, avae, tmp_path / "file")
    broken = zoo.build(AVAEConfig(2, (4, 4), 1, 2, False, 1))
    torch.nn.init.constant_(next(broken.parameters()), float("nan"))
    with pytest.raises(InputError, match="are not finite as float16"):
        encoded(manifest, broken, tmp_path / "z")
    assert {path.name for path in tmp_path.iterdir()} == {"set", "file"}


def test_masks_of_phantoms_follow_the_window(avae, tmp_path):
    clips = (PhantomPatient.sample(0, n).render(View.A4C, frames=20, fps=50.0) for n in range(1))
    write_dynamic(clips, tmp_path / "hearts")
    manifest = open_source(tmp_path / "hearts")
    loaded = load(Feed(manifest, manifest.records, Window(fps=25.0, start=0.1)))
    (record,) = manifest.records
    (whole,) = Feed(manifest, manifest.records)
    assert whole[1] is not None
    assert np.array_equal(loaded.masks, whole[1][5::2][: len(loaded.masks)])  # type: ignore[union-attr]
    scaling = LatentStats(torch.zeros(2), torch.ones(2))
    encoded(manifest, avae, tmp_path / "z", window=Window(), scaling=scaling)
    latents = Latents.read(tmp_path / "z")
    assert latents.masks is not None
    assert latents.masks.shape == (1, 20, 56, 56)
    inside = latents.masks[0].float().mean((1, 2)).numpy()
    assert np.corrcoef(inside, whole[1].mean((1, 2)))[0, 1] > 0.99
    assert latents.traced(0).tolist() == list(range(record.frames))


def test_drawn_frames_keep_their_masks(avae, tmp_path):
    """Two frames of a real recording are traced: those are known, wherever the window puts them."""
    manifest = dataset(tmp_path / "set")
    first, second = manifest.records[:2]
    square = np.array([[4.0, 4], [12, 4], [12, 12], [4, 12]])
    manifest = replace(manifest, outlines={first.uid: {1: square, 4: square / 2}})
    whole, skipping = (
        load(Feed(manifest, (first,), window)) for window in (WINDOW, replace(WINDOW, fps=12.5))
    )
    assert (whole.traced.tolist(), skipping.traced.tolist()) == ([1, 4], [0, 1, 2])  # type: ignore[union-attr]
    assert whole.masks.sum((1, 2)).tolist() == [81, 25]  # type: ignore[union-attr]
    encoded(manifest, avae, tmp_path / "z")
    latents = Latents.read(tmp_path / "z")
    assert latents.traced(0).tolist() == [1, 4]
    assert len(latents.traced(1)) == 0
    masks = latents.mask(np.array([0, 1]), np.array([[4], [0]]))
    assert masks is not None
    assert masks.sum((1, 2, 3)).tolist() == [9, 0]
    with pytest.raises(InputError, match="no LV mask in one of frames"):
        latents.mask(np.array([0]), np.array([[2]]))
    assert second.uid == latents.records[1].uid


def test_a_bad_drawing_does_not_cost_the_video(manifest, avae, tmp_path):
    named = {record.uid: {0: "absent.png"} for record in manifest.records[:1]}
    done = encoded(replace(manifest, label_maps=named), avae, tmp_path / "z")
    assert done.videos == 7
    ((kind, excluded),) = ((f.kind, f.excluded) for f in done.findings)
    assert (kind, excluded) == ("bad-labels", None)
