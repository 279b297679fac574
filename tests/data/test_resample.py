"""Time and space of a video."""

from __future__ import annotations

import numpy as np
import pytest

from echoflow.data.resample import resample_time, resize, square
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
