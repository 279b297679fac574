"""Fitting a video in time and space: frame rate, length, size, shape.

In time there are the protocols of two papers, which do not give equal frames, and one between:

    nearest  the frame that is shown at each time, from a random phase    EchoNet-Synthetic (2024)
    zoom     linear, first and last frame kept: `scipy.ndimage.zoom`      EchoDiffusion
    linear   linear, at the times of "nearest"                            none

In space a picture is padded to a square, and each new pixel is the mean over its area; `SPACES`
names the sizes of the papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from echoflow.types import InputError, choose

TimeMethod = Literal["nearest", "linear", "zoom"]
Short = Literal["refuse", "hold", "black"]
"""What becomes of a video that ends too early: an error, its last frame held, or black frames."""


def resample_time(
    video: np.ndarray,
    fps_in: float,
    fps_out: float,
    frames: int,
    method: TimeMethod = "nearest",
    start: float = 0.0,
    short: Short = "refuse",
) -> np.ndarray:
    """`frames` frames at `fps_out` from `video` (t, ...) at `fps_in`, the first at frame `start`.

    A video of n frames lasts n / `fps_in` seconds, with "zoom" until its last frame begins; what
    becomes of one that ends too early is up to `short`.
    """
    choose(method, get_args(TimeMethod), "time resampling")
    choose(short, get_args(Short), "way with a short video")
    last = len(video) - 1
    position = start + np.arange(frames) * pace(len(video), fps_in, fps_out, method)
    over = position > last + 1e-6 if method == "zoom" else position >= last + 1
    if short == "refuse" and (over.any() or start < 0):
        raise InputError(
            f"the video is too short: {frames} frames at {fps_out:g} fps from frame {start:g} need "
            f"{int(np.ceil(position[-1] + 1e-9))} frames at {fps_in:g} fps; it has {len(video)}."
        )
    position = position.clip(0, last)
    low = np.floor(position + 0.5 * (method == "nearest")).astype(int).clip(0, last)
    if method == "nearest":
        out = video[low]
    else:
        high = (low + 1).clip(0, last)
        part = (position - low).astype(np.float32).reshape(-1, *[1] * (video.ndim - 1))
        out = np.rint(video[low] * (1 - part) + video[high] * part).astype(video.dtype)
    if short == "black":
        out[over] = 0
    return out


def pace(n: int, fps_in: float, fps_out: float, method: TimeMethod = "nearest") -> float:
    """Frames of a video of `n` frames per frame that is taken from it."""
    if method != "zoom":
        return fps_in / fps_out
    taken = round(n * fps_out / fps_in)
    return (n - 1) / (taken - 1) if min(n, taken) > 1 else float(n)


def lasting(
    n: int, fps_in: float, fps_out: float, method: TimeMethod = "nearest", start: float = 0.0
) -> int:
    """How many frames at `fps_out` a video of `n` lasts from frame `start`; at least one."""
    if method == "zoom":
        return max(1, int((n - 1 - start) / pace(n, fps_in, fps_out, method) + 1e-6) + 1)
    return max(1, int((n - start) / fps_in * fps_out + 1e-6))


def random_start(
    n: int,
    fps_in: float,
    fps_out: float,
    frames: int,
    rng: np.random.Generator,
    method: TimeMethod = "nearest",
) -> float:
    """Where `frames` frames begin in a video of `n`: 0 if they do not fit.

    As the loader of EchoNet-Synthetic does it: a phase within the first step, then any window of
    the frames that follow from it. The other methods have no phase.
    """
    step = pace(n, fps_in, fps_out, method)
    ends = n - 0.5 if method == "nearest" else n - 1.0  # beyond, frames would only be repeated
    room = float(np.nextafter(ends, 0)) - (frames - 1) * step
    if room <= 0:
        return 0.0
    phase = float(rng.uniform(0, min(step, room))) if method == "nearest" else 0.0
    return phase + step * int(rng.integers(int((room - phase) / step + 1e-6) + 1))


@dataclass(frozen=True)
class Space:
    """A square picture of `size` pixels a side, in a black border of `border` pixels."""

    size: int = 112
    border: int = 0

    @property
    def side(self) -> int:
        """Pixels a side, border included."""
        return self.size + 2 * self.border

    def fit(self, video: np.ndarray) -> np.ndarray:
        """uint8 (t, h, w) -> (t, side, side), padded to a square first."""
        sized = resize(square(video), self.size, self.size)
        if not self.border:
            return sized
        return np.pad(sized, ((0, 0), *((self.border, self.border),) * 2))

    def fit_masks(self, masks: np.ndarray) -> np.ndarray:
        """bool (t, h, w) -> (t, side, side): pixels of which at least half is inside."""
        return self.fit(np.asarray(masks, np.uint8) * 255) >= 128


SPACES: Mapping[str, Space] = {
    "112": Space(),  # EchoNet-Dynamic, EchoFlow, EchoNet-Synthetic
    "128-padded": Space(112, 8),  # what EchoDiffusion measures FID and FVD on
    "128": Space(128),  # Free-Echo
}


def resize(video: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (t, h, w) to another size: the mean over the area where it shrinks, else bilinear."""
    if video.shape[1:] == (height, width):
        return video
    rows = _weights(video.shape[1], height)
    columns = _weights(video.shape[2], width).T
    sized = (rows @ frame.astype(np.float32) @ columns for frame in video)
    return np.stack([np.rint(frame).clip(0, 255).astype(np.uint8) for frame in sized])


def square(video: np.ndarray, fill: int = 0) -> np.ndarray:
    """(t, h, w) padded with `fill` to a square, the picture in the middle."""
    _, height, width = video.shape
    tall, wide = max(width - height, 0), max(height - width, 0)
    pads = ((0, 0), (tall // 2, tall - tall // 2), (wide // 2, wide - wide // 2))
    return np.pad(video, pads, constant_values=fill)


def _weights(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) float32, rows sum to 1: share of each old pixel in each new one."""
    scale = n_in / n_out
    old = np.arange(n_in)[None, :]
    new = np.arange(n_out)[:, None]
    if scale > 1:
        share = np.minimum(old + 1, (new + 1) * scale) - np.maximum(old, new * scale)
    else:
        centre = ((new + 0.5) * scale - 0.5).clip(0, n_in - 1)
        share = 1 - np.abs(old - centre)
    share = share.clip(0)
    return (share / share.sum(1, keepdims=True)).astype(np.float32)
