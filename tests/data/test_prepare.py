"""Files of any size and rate become clips of one size and rate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoflow.data.manifest import Manifest
from echoflow.data.prepare import PROTOCOLS, Window, load_clip, load_file, load_mask
from echoflow.data.sources import folder
from echoflow.data.video import write_video
from echoflow.types import InputError, Split, View

POOL = sorted((Path(__file__).parents[3] / "shared/data/echodiffusion_pool/factual").glob("*.gif"))


def ramp(frames: int = 20, height: int = 112, width: int = 112) -> np.ndarray:
    """Frame i is uniformly 10 * i."""
    values = (10 * np.arange(frames)).astype(np.uint8)
    return np.ones((1, height, width), np.uint8) * values[:, None, None]


def times(video: np.ndarray) -> np.ndarray:
    return np.rint(video[:, 56, 56] / 10).astype(int)


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    write_video(tmp_path / "clip.avi", ramp(), 20)
    (tmp_path / "labels.csv").write_text("FileName,EF,View,Patient,Split\nclip,61,PLAX,p7,VAL\n")
    return folder(tmp_path)


def test_all_of_a_video_as_it_is(manifest):
    clip = load_clip(manifest, manifest.records[0])
    assert clip.video.shape == (20, 112, 112)
    assert times(clip.video).tolist() == list(range(20))
    assert (clip.uid, clip.fps, clip.ef, clip.patient) == ("clip", 20.0, 61.0, "p7")
    assert (clip.view, clip.split, clip.source) == (View.PLAX, Split.VAL, "folder")


def test_a_window_in_time_and_space(manifest):
    clip = load_clip(manifest, manifest.records[0], Window(4, fps=5, size=28, start=0.1))
    assert clip.video.shape == (4, 28, 28)
    assert clip.fps == 5
    assert (clip.video[:, 0, 0] // 10).tolist() == [2, 6, 10, 14]
    half = load_clip(manifest, manifest.records[0], Window(fps=10))
    assert times(half.video).tolist() == list(range(0, 20, 2))


def test_too_short_is_refused_or_held(manifest):
    record = manifest.records[0]
    with pytest.raises(InputError, match=r"clip.avi: the video is too short: 21 frames at 20 fps"):
        load_clip(manifest, record, Window(21))
    held = load_clip(manifest, record, Window(23, short="hold"))
    assert times(held.video)[-4:].tolist() == [19] * 4
    with pytest.raises(InputError, match=r"lasts 1 s; it has no 1.5 s"):
        load_clip(manifest, record, Window(start=1.5))


def test_file_and_row_must_agree(manifest):
    wrong = dataclasses.replace(manifest.records[0], frames=19)
    with pytest.raises(InputError, match=r"has 20 frames, the manifest says 19"):
        load_clip(manifest, wrong)


def test_other_shapes_are_padded_not_stretched(tmp_path):
    write_video(tmp_path / "wide.avi", np.full((3, 120, 160), 200, np.uint8), 20)
    video = load_file(tmp_path / "wide.avi").video
    assert video.shape == (3, 112, 112)
    assert (video[:, :13] == 0).all()
    assert (video[:, 15:97] >= 195).all()


def test_a_still_image_is_held(tmp_path):
    Image.fromarray(ramp(3)[2]).save(tmp_path / "still.png")
    clip = load_file(tmp_path / "still.png", Window(32, fps=16.0), view=View.PSAX)
    assert clip.video.shape == (32, 112, 112)
    assert (clip.video == 20).all()
    assert (clip.view, clip.fps, clip.uid) == (View.PSAX, 16.0, "still")
    assert len(load_file(tmp_path / "still.png", Window(fps=16.0)).video) == 1


def test_clips_are_grey(tmp_path):
    with pytest.raises(InputError, match="a clip is grey"):
        load_file(tmp_path / "x.avi", Window(gray="keep"))


def test_masks_from_image_files(tmp_path):
    mask = np.arange(112 * 112).reshape(112, 112) % 5 == 0
    Image.fromarray(mask).save(tmp_path / "bits.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "bytes.png")
    Image.fromarray(mask.astype(np.uint8) * 100).save(tmp_path / "grey.png")
    for name in ("bits.png", "bytes.png"):
        assert (load_mask(tmp_path / name) == mask).all()
    with pytest.raises(InputError, match=r"grey\.png: a mask must hold only 0 and 1.*got 0, 100"):
        load_mask(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"must be 28x28 pixels"):
        load_mask(tmp_path / "bits.png", 28)
    write_video(tmp_path / "film.gif", ramp(3), 10)
    with pytest.raises(InputError, match="has 3 frames; a mask is a single image"):
        load_mask(tmp_path / "film.gif")


@pytest.mark.skipif(not POOL, reason="needs the clip pool")
def test_foreign_clips_become_two_seconds():
    window = Window(32, fps=16.0)
    assert load_file(POOL[0], window, fps=8.0).video.shape == (32, 112, 112)
    with pytest.raises(InputError, match="too short: 32 frames at 16 fps"):
        load_file(POOL[0], window)  # as the page played it, the clip lasts 1.92 s
    held = load_file(POOL[0], dataclasses.replace(window, short="hold"))
    assert held.video.shape == (32, 112, 112)


def test_windows_from_a_random_place(manifest):
    rng = np.random.default_rng(0)
    starts = {
        int(times(load_clip(manifest, manifest.records[0], Window(5), rng).video)[0])
        for _ in range(60)
    }
    assert starts == set(range(16))
    late = [load_clip(manifest, manifest.records[0], Window(5, start=0.5), rng) for _ in range(20)]
    assert min(times(clip.video)[0] for clip in late) >= 10


def test_what_runs_backwards_is_turned_round(manifest):
    turned = dataclasses.replace(manifest, backwards=frozenset({"clip"}))
    clip = load_clip(turned, turned.records[0], Window(4))
    assert times(clip.video).tolist() == [19, 18, 17, 16]


def test_protocols_of_the_papers(manifest):
    record = manifest.records[0]
    shapes = {
        name: load_clip(manifest, record, window).video.shape
        for name, window in PROTOCOLS.items()
        if window.short != "refuse"
    }
    assert shapes == {
        "echonet-synthetic": (64, 112, 112),
        "echodiffusion": (64, 112, 112),
        "echodiffusion-metrics": (64, 128, 128),
        "free-echo": (24, 128, 128),
    }
    with pytest.raises(InputError, match="too short: 64 frames at 32 fps"):
        load_clip(manifest, record, PROTOCOLS["echoflow"])
    padded = load_clip(manifest, record, PROTOCOLS["free-echo"]).video
    assert padded[19].any()
    assert not padded[20:].any()


def test_all_of_a_video_by_another_method(manifest):
    record = manifest.records[0]
    assert len(load_clip(manifest, record, Window(fps=32, time="zoom")).video) == 32
    zoomed = load_clip(manifest, record, Window(fps=10, time="zoom")).video
    assert (zoomed[[0, -1], 0, 0] == [0, 190]).all()
