"""Time and space of a video."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoflow.data.resample import (
    SPACES,
    lasting,
    pace,
    random_start,
    resample_time,
    resize,
    square,
)
from echoflow.types import InputError


def ramp(frames: int) -> np.ndarray:
    """Frame i is uniformly 10 * i."""
    return np.full((frames, 4, 6), 10, np.uint8) * np.arange(frames, dtype=np.uint8)[:, None, None]


def times(video: np.ndarray) -> list[int]:
    return video[:, 0, 0].tolist()


def test_same_rate_is_the_identity():
    assert (resample_time(ramp(9), 25, 25, 9) == ramp(9)).all()
    assert times(resample_time(ramp(9), 25, 25, 3, start=4)) == [40, 50, 60]


def test_every_other_frame_and_between():
    assert times(resample_time(ramp(9), 50, 25, 5)) == [0, 20, 40, 60, 80]
    assert times(resample_time(ramp(4), 10, 20, 7, "linear")) == [0, 5, 10, 15, 20, 25, 30]
    assert times(resample_time(ramp(4), 10, 30, 7)) == [0, 0, 10, 10, 10, 20, 20]


def test_a_video_lasts_until_the_end_of_its_last_frame():
    assert times(resample_time(ramp(4), 8, 16, 8)) == [0, 10, 10, 20, 20, 30, 30, 30]
    with pytest.raises(InputError, match=r"too short: 9 frames at 16 fps .* it has 4"):
        resample_time(ramp(4), 8, 16, 9)
    held = resample_time(ramp(4), 8, 16, 12, short="hold")
    assert times(held)[-5:] == [30] * 5
    with pytest.raises(InputError, match="unknown way with a short video 'loop'"):
        resample_time(ramp(4), 8, 16, 8, short="loop")  # type: ignore[arg-type]


def test_shrinking_is_the_mean_over_the_area():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (2, 12, 8), dtype=np.uint8)
    blocks = video.reshape(2, 4, 3, 4, 2).mean((2, 4))
    assert np.abs(resize(video, 4, 4) - blocks).max() <= 0.5
    uneven = resize(video, 5, 7)
    assert np.abs(uneven.mean((1, 2)) - video.mean((1, 2))).max() < 1


def test_growing_is_bilinear():
    import torch

    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (2, 8, 6), dtype=np.uint8)
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(video)[:, None].float(), (20, 9), mode="bilinear"
    )
    assert np.abs(resize(video, 20, 9) - grown[:, 0].numpy()).max() <= 0.51
    assert resize(video, 8, 6) is video


def test_square_keeps_the_picture_in_the_middle():
    wide, tall = square(np.ones((1, 4, 7), np.uint8)), square(np.ones((1, 6, 2), np.uint8), 9)
    assert wide.shape == (1, 7, 7)
    assert wide[0, :, 0].tolist() == [0, 1, 1, 1, 1, 0, 0]
    assert tall.shape == (1, 6, 6)
    assert tall[0, 0].tolist() == [9, 9, 1, 1, 9, 9]


def test_zoom_is_that_of_scipy():
    """EchoDiffusion resamples time with `scipy.ndimage.zoom` of order 1."""
    zoom = pytest.importorskip("scipy.ndimage").zoom
    video = np.random.default_rng(0).integers(0, 256, (23, 3, 4), dtype=np.uint8)
    for fps_in, fps_out in ((50, 32), (25, 32), (32, 32), (61.7, 8)):
        expected = zoom(video, (fps_out / fps_in, 1, 1), order=1)
        n = lasting(len(video), fps_in, fps_out, "zoom")
        assert n == len(expected)
        ours = resample_time(video, fps_in, fps_out, n, "zoom")
        assert np.abs(ours.astype(int) - expected).max() <= 1  # halves round to even here
        assert (ours[0] == video[0]).all()
        assert (ours[-1] == video[-1]).all()


def test_the_two_protocols_give_other_frames():
    nearest = times(resample_time(ramp(11), 10, 8, 8))
    assert nearest == [0, 10, 30, 40, 50, 60, 80, 90]  # 1.25 frames a step
    assert times(resample_time(ramp(11), 10, 8, 8, "linear")) == [0, 12, 25, 38, 50, 62, 75, 88]
    assert lasting(11, 10, 8, "zoom") == 9
    assert times(resample_time(ramp(11), 10, 8, 9, "zoom"))[::4] == [0, 50, 100]


def test_what_is_missing_is_refused_held_or_black():
    assert times(resample_time(ramp(4), 8, 8, 6, start=1, short="hold")) == [10, 20, 30, 30, 30, 30]
    assert times(resample_time(ramp(4), 8, 8, 6, start=1, short="black")) == [10, 20, 30, 0, 0, 0]
    assert times(resample_time(ramp(4), 8, 8, 6, "zoom", 1, "black")) == [10, 20, 30, 0, 0, 0]
    with pytest.raises(InputError, match="too short: 5 frames at 8 fps from frame 0"):
        resample_time(ramp(4), 8, 8, 5, "zoom")


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 80),
    fps=st.floats(8, 120),
    frames=st.integers(1, 70),
    method=st.sampled_from(["nearest", "linear", "zoom"]),
    seed=st.integers(0, 999),
)
def test_random_windows_fit_whenever_they_can(n, fps, frames, method, seed):
    start = random_start(n, fps, 32, frames, np.random.default_rng(seed), method)
    assert 0 <= start < n
    video = np.arange(n, dtype=np.uint8)[:, None, None]
    if frames <= lasting(n, fps, 32, method):
        taken = resample_time(video, fps, 32, frames, method, start)
        assert (np.diff(taken[:, 0, 0].astype(int)) >= 0).all()
    else:
        resample_time(video, fps, 32, frames, method, start, "hold")


def test_a_random_window_has_a_random_phase():
    """Nearest at 50 to 32 fps: with phases between the frames, every pattern of gaps occurs."""
    rng = np.random.default_rng(0)
    starts = np.array([random_start(200, 50, 32, 64, rng) for _ in range(400)])
    assert len(np.unique(starts)) == 400
    phases = starts % (50 / 32)
    assert phases.min() < 0.05 < 1.5 < phases.max()
    assert starts.max() > 90
    assert starts.max() + 63 * 50 / 32 < 200
    whole = [random_start(200, 50, 32, 64, rng, "zoom") for _ in range(50)]
    steps = np.array(whole) / pace(200, 50, 32, "zoom")
    assert np.abs(steps - np.rint(steps)).max() < 1e-9
    assert random_start(20, 50, 32, 64, rng) == 0


def test_named_spaces():
    wide = np.full((2, 90, 160), 200, np.uint8)
    assert {name: space.side for name, space in SPACES.items()} == {
        "112": 112, "128-padded": 128, "128": 128,
    }  # fmt: skip
    plain, padded = SPACES["112"].fit(wide), SPACES["128-padded"].fit(wide)
    assert (padded[:, 8:-8, 8:-8] == plain).all()
    assert not padded[:, :8].any()
    assert not padded[:, :, -8:].any()
    assert SPACES["128"].fit(wide).shape == (2, 128, 128)
    square_112 = np.random.default_rng(0).integers(0, 256, (1, 112, 112), dtype=np.uint8)
    assert (SPACES["112"].fit(square_112) == square_112).all()


def test_masks_go_with_their_pictures():
    mask = np.zeros((1, 448, 336), bool)
    mask[:, 100:300, 120:220] = True
    small = SPACES["112"].fit_masks(mask)
    assert small.shape == (1, 112, 112)
    assert small.sum() == pytest.approx(mask.sum() / 16, rel=0.03)
    rows, columns = np.nonzero(small[0])
    assert (rows.min(), columns.min()) == (25, (120 + 56) // 4)
