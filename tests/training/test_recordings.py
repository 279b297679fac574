"""Recordings as the published protocols cut, shift and draw them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow.data.clips import FrameSource
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.video import write_video
from echoflow.networks.trunks import R2Plus1D
from echoflow.training.judges import regression
from echoflow.training.recordings import (
    Clips,
    Drawn,
    Several,
    every_frame,
    grey_statistics,
    hearts,
    shifted,
)
from echoflow.training.table import named
from echoflow.types import Clip, InputError, Record, Split, View

LENGTHS = (20, 9, 14)
GREYS = (60, 100, 140)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def box(size: int) -> np.ndarray:
    """A tracing (21, 4): 20 chords of `size` pixels, one below the other."""
    y = 30.0 + np.arange(20)
    chords = np.stack([np.full(20, 40.0), y, np.full(20, 40.0 + size), y], axis=1)
    return np.concatenate([[[40.0, 30.0, 40.0, 50.0]], chords])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Videos of flat grey that gets two levels lighter with every frame; two hearts of three."""
    root = tmp_path_factory.mktemp("recorded")
    (root / "Videos").mkdir()
    records = []
    for number, (frames, grey) in enumerate(zip(LENGTHS, GREYS, strict=True)):
        levels = grey + 2 * np.arange(frames)
        video = np.broadcast_to(levels[:, None, None], (frames, 112, 112)).astype(np.uint8)
        uid, split = f"v{number}", Split.VAL if number == 1 else Split.TRAIN
        clip = Clip(uid, video, 50.0, View.A4C, "echonet-dynamic", split, ef=40.0 + number)
        write_video(root / video_path(uid), video, 50.0)
        records.append(Record.of(clip, video_path(uid)))
    extras = {"v0": {"BaseName": "a"}, "v1": {"BaseName": "b"}, "v2": {"BaseName": "a"}}
    tracings = {"v0": {3: box(10), 8: box(30)}, "v1": {2: box(20), 5: box(9)}}
    manifest = Manifest(root, tuple(records), extras=extras, tracings=tracings)
    manifest.write()
    return manifest


def levels(x: torch.Tensor) -> np.ndarray:
    """Grey levels at the centre of frames (..., h, w)."""
    return (128 * (x[..., 56, 56] + 1)).numpy()


def test_a_clip_takes_every_second_frame_and_ends_in_grey(recorded: Manifest) -> None:
    source = Clips(recorded, hearts(recorded, recorded.records, False), 6, fps=25.0, grey=0.25)
    batch = source.batch(np.arange(3), rng())
    assert batch.x.shape == (3, 6, 112, 112)
    assert batch.cond.ef is not None
    assert batch.cond.ef.tolist() == [40, 41, 42]
    assert np.diff(levels(batch.x[0])) == pytest.approx(np.full(5, 4.0), abs=1.5)
    short = [levels(source.batch(np.array([1]), np.random.default_rng(i)).x[0]) for i in range(9)]
    assert any(clip[-1] == 160.0 for clip in short)  # 9 frames do for 4 of 6
    assert all(clip[0] < 125 for clip in short)


def test_a_shifted_clip_is_a_window_of_the_widened_one() -> None:
    clip = torch.rand(2, 5, 6)
    assert shifted(clip, 0, 0.0, rng()) is clip
    wide = torch.full((2, 7, 8), 9.0)
    wide[:, 1:-1, 1:-1] = clip
    windows = [wide[:, top : top + 5, left : left + 6] for top in range(3) for left in range(3)]
    cuts = [shifted(clip, 1, 9.0, np.random.default_rng(seed)) for seed in range(80)]
    seen = {next(i for i, w in enumerate(windows) if torch.equal(w, cut)) for cut in cuts}
    assert seen == set(range(9))


def test_videos_of_one_anatomy_are_one_example(recorded: Manifest) -> None:
    groups = hearts(recorded, recorded.records, True)
    assert [[record.uid for record in group] for group in groups] == [["v0", "v2"], ["v1"]]
    source = Clips(recorded, groups, 4)
    seen = {source.batch(np.array([0]), np.random.default_rng(seed)).uid for seed in range(8)}
    assert seen == {("v0",), ("v2",)}
    with pytest.raises(InputError, match=r"v0 has no BaseName.*ef.by_anatomy=false"):
        hearts(replace(recorded, extras={}), recorded.records, True)


def test_a_video_without_an_ef_is_refused(recorded: Manifest) -> None:
    unknown = replace(recorded.records[2], ef=None)
    with pytest.raises(InputError, match="1 have none, such as v2"):
        Clips(recorded, ((recorded.records[0],), (unknown,)), 4)


def test_drawn_frames_are_diastole_and_systole_by_area(recorded: Manifest) -> None:
    source = Drawn.of(recorded, recorded.records)  # v2 is not drawn
    assert [record.uid for record in source.records] == ["v0", "v1"]
    assert source.frames == ((8, 3), (2, 5))
    batch = source.batch(np.arange(2), rng())
    assert batch.cond.mask is not None
    large, small = batch.cond.mask.sum((2, 3)).unbind(1)
    assert (large > small).all()
    assert levels(batch.x[0]) == pytest.approx([60 + 16, 60 + 6], abs=1.5)
    with pytest.raises(InputError, match="no video of this split has its LV drawn"):
        Drawn.of(recorded, recorded.records[2:])


def test_one_frame_in_five_of_everything(recorded: Manifest) -> None:
    source = every_frame(recorded, recorded.records, 5, workers=0)
    assert source.uids == ("v0",) * 4 + ("v1",) * 2 + ("v2",) * 3
    batch = source.batch(np.arange(9), rng())
    assert levels(batch.x[:4, 0]) == pytest.approx([60, 70, 80, 90], abs=1.5)


def test_sources_after_one_another(recorded: Manifest) -> None:
    first = FrameSource(np.zeros((2, 1, 4, 4), np.uint8), ("a", "b"))
    second = FrameSource(np.full((3, 1, 4, 4), 128, np.uint8), ("c", "d", "e"))
    both = Several((first, second))
    batch = both.batch(np.array([4, 0, 2, 1]), rng())
    assert (len(both), batch.uid) == (5, ("e", "a", "c", "b"))
    assert batch.x[:, 0, 0, 0].tolist() == [0.0, -1.0, 0.0, -1.0]


def test_statistics_of_grey_levels(recorded: Manifest) -> None:
    mean, std = grey_statistics(recorded, recorded.records[:1], 128, workers=0)
    known = 60 + 2 * np.arange(20)
    assert mean == pytest.approx((known.mean(),) * 3, abs=1)
    assert std == pytest.approx((known.std(),) * 3, abs=0.5)


def test_the_real_protocol_reaches_the_network_and_its_source(recorded: Manifest) -> None:
    settings = [f"data={recorded.root}", "held_out=null", "start=null", "ef.bias=60"]
    task, source = regression(named("EF-real-dynamic").changed(settings))
    net = task.nets["net"]
    assert isinstance(net, R2Plus1D)
    assert isinstance(source, Clips)
    assert (net.config.frames, net.config.fps, net.trunk.fc.bias.item()) == (32, 25.0, 60.0)
    assert (source.fps, source.pad) == (25.0, 12)
    assert source.grey == pytest.approx(32.8433 / 128 - 1, abs=1e-5)
    assert [batch.uid for batch in task.held_out] == [("v1",)]


def test_real_videos_are_read_at_the_rate_of_the_synthetic_ones_trained_on(
    recorded: Manifest, tmp_path: Path
) -> None:
    """Every frame of 32 a second, every second one of 50: in one training, and held out."""
    slow = tuple(replace(r, fps=32.0, split=Split.TRAIN) for r in recorded.records)
    synthetic = replace(recorded, root=tmp_path / "synthetic", records=slow)
    shutil.copytree(recorded.root / "Videos", synthetic.root / "Videos")
    synthetic.write()
    settings = [f"held_out={recorded.root}", "start=null", "ef.frames=4", "ef.by_anatomy=false"]
    for data in (str(synthetic.root), f"{synthetic.root},{recorded.root}"):
        task, source = regression(named("EF-npc-dynamic").changed([*settings, f"data={data}"]))
        net = task.nets["net"]
        assert isinstance(net, R2Plus1D)
        assert net.config.fps == 32.0
        made = levels(source.batch(np.array([0]), rng()).x[0])
        assert np.diff(made) == pytest.approx(np.full(3, 2.0), abs=1.5)
        held = np.diff(levels(task.held_out[0].x[0]))
        assert held == pytest.approx(np.full(3, 4.0), abs=1.5)
    both = levels(source.batch(np.array([3]), rng()).x[0])
    assert np.diff(both) == pytest.approx(np.full(3, 4.0), abs=1.5)


def test_a_network_without_such_a_setting_says_so(recorded: Manifest) -> None:
    settings = [f"data={recorded.root}", "ef.augment=crop", "ef.bias=50"]
    with pytest.raises(InputError, match=r"EF-nano has no bias; leave out ef.bias"):
        regression(named("nano-ef").changed(settings))
