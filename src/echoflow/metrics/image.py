"""Image and video fidelity on 8-bit grey pictures: PSNR, SSIM, errors, and how steady time runs.

Pictures are uint8 (..., h, w): metrics are taken per picture on the [0, 1] scale, after the round
trip through 8 bits, and returned per picture; average them last (the mean of PSNRs, not the PSNR of
the mean error).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from echoflow.types import InputError

Picture = NDArray[np.uint8]
Values = NDArray[np.float64]

LEAST = 11  # pixels a side: the window of SSIM


def mse(a: Picture, b: Picture) -> Values:
    """Mean squared error per picture, [0, 1] scale."""
    x, y = _pair(a, b)
    return ((x - y) ** 2).mean(axis=(-2, -1))


def mae(a: Picture, b: Picture) -> Values:
    """Mean absolute error per picture, [0, 1] scale."""
    x, y = _pair(a, b)
    return np.abs(x - y).mean(axis=(-2, -1))


def psnr(a: Picture, b: Picture) -> Values:
    """Peak signal-to-noise ratio per picture in dB; identical pictures give infinity."""
    with np.errstate(divide="ignore"):
        return -10.0 * np.log10(mse(a, b))


def ssim(a: Picture, b: Picture) -> Values:
    """Structural similarity per picture: Gaussian window of 11 taps, sigma 1.5, interior only.

    The variant of the original paper: population covariance, K1 0.01, K2 0.03, data range 1.
    """
    x, y = _pair(a, b)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    cov = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    score = top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return score[..., 5:-5, 5:-5].mean(axis=(-2, -1))


def frame_correlations(video: Picture, lag: int = 1) -> Values:
    """Pearson correlation of frames `lag` apart of one video (t, h, w): (t - lag,)."""
    frames = _video(video, lag + 1)
    rows = frames.reshape(len(frames), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    return (rows[lag:] * rows[:-lag]).sum(axis=1) / (norm[lag:] * norm[:-lag])


def flicker(video: Picture) -> float:
    """Unsteady brightness of a video (t, h, w): RMS second difference of frame means, grey levels.

    A heart changes the mean brightness slowly, so its second difference is small; a generator that
    decodes frames at different gains is caught even where the eye sees only a shimmer.
    """
    means = 255.0 * _video(video, 3).mean(axis=(1, 2))
    return float(np.sqrt(np.mean(np.diff(means, 2) ** 2)))


def roughness(video: Picture) -> float:
    """Second over first temporal difference, as mean squares: 0 for steady motion, 3 for noise.

    Independent frames have var(second) = 6 s^2 and var(first) = 2 s^2, hence 3; frozen is 0.
    """
    frames = _video(video, 3)
    first, second = np.diff(frames, axis=0), np.diff(frames, 2, axis=0)
    power = float(np.mean(first**2))
    return float(np.mean(second**2)) / power if power > 0 else 0.0


def _pair(a: Picture, b: Picture) -> tuple[Values, Values]:
    if (
        a.shape != b.shape
        or a.dtype != np.uint8
        or b.dtype != np.uint8
        or min(a.shape[-2:]) < LEAST
    ):
        raise InputError(
            f"pictures must both be uint8, of one shape, at least {LEAST} pixels wide and high; "
            f"got {a.dtype} {a.shape} and {b.dtype} {b.shape}."
        )
    return a.astype(np.float64) / 255.0, b.astype(np.float64) / 255.0


def _video(video: Picture, frames: int) -> Values:
    if video.ndim != 3 or video.dtype != np.uint8 or len(video) < frames:
        raise InputError(
            f"a video here is uint8 (t, h, w) with at least {frames} frames; "
            f"got {video.dtype} {video.shape}."
        )
    return video.astype(np.float64) / 255.0


def _blur(x: Values) -> Values:
    rows = gaussian_filter1d(x, 1.5, axis=-2, radius=5)
    return gaussian_filter1d(rows, 1.5, axis=-1, radius=5)
