"""Fitting a video in time and space: frame rate, length, size, shape."""

from __future__ import annotations

from typing import Literal

import numpy as np

from echoflow.types import InputError, choose


def resample_time(
    video: np.ndarray,
    fps_in: float,
    fps_out: float,
    frames: int,
    method: Literal["nearest", "linear"] = "nearest",
    start: float = 0.0,
    short: Literal["refuse", "hold"] = "refuse",
) -> np.ndarray:
    """`frames` frames at `fps_out` from `video` (t, ...) at `fps_in`, the first at frame `start`.

    A video of n frames lasts n / `fps_in` seconds; one that ends too early is refused
    (`InputError`) or holds its last frame.
    """
    choose(method, ("nearest", "linear"), "time resampling")
    choose(short, ("refuse", "hold"), "way with a short video")
    last = len(video) - 1
    position = start + np.arange(frames) * (fps_in / fps_out)
    if short == "refuse" and (position[-1] >= last + 1 or start < 0):
        raise InputError(
            f"the video is too short: {frames} frames at {fps_out:g} fps from frame {start:g} need "
            f"{int(np.ceil(position[-1] + 1e-9))} frames at {fps_in:g} fps; it has {len(video)}."
        )
    position = position.clip(0, last)
    if method == "nearest":
        return video[np.floor(position + 0.5).astype(int).clip(0, last)]
    low = np.floor(position).astype(int)
    high = (low + 1).clip(0, last)
    part = (position - low).astype(np.float32).reshape(-1, *[1] * (video.ndim - 1))
    mixed = video[low] * (1 - part) + video[high] * part
    return np.rint(mixed).astype(video.dtype)


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
