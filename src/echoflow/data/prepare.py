"""From a file of any size and frame rate to the clip that the networks expect."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from echoflow.data.findings import Flaw
from echoflow.data.manifest import Manifest
from echoflow.data.masks import check_mask
from echoflow.data.resample import resample_time, resize, square
from echoflow.data.video import Gray, read_gray
from echoflow.types import Clip, InputError, Record, Split, View


@dataclass(frozen=True)
class Window:
    """What a clip is cut to: `frames` at `fps`, each `size` x `size` pixels.

    `fps=None` keeps the frame rate; `frames=None` takes all that the video has from `start`, in
    seconds. A video too short for `frames` is refused, or holds its last frame; a single image
    always holds.
    """

    frames: int | None = None
    fps: float | None = None
    size: int = 112
    start: float = 0.0
    short: Literal["refuse", "hold"] = "refuse"
    gray: Gray = "luma"


def load_clip(manifest: Manifest, record: Record, window: Window = Window()) -> Clip:
    """The video of a record in its window. `InputError` if file and record disagree on frames."""
    path = manifest.video(record)
    video, _ = _grey(path, window)
    if len(video) != record.frames:
        raise Flaw(
            "frame-count",
            f"{path} has {len(video)} frames, the manifest says {record.frames}; "
            "copy the file again or correct its row.",
        )
    video, fps = fit(video, record.fps, window, str(path))
    known = {f.name: getattr(record, f.name) for f in dataclasses.fields(Clip) if f.name != "video"}
    return Clip(video=video, **{**known, "fps": fps})


def load_file(
    path: str | Path,
    window: Window = Window(),
    view: View = View.A4C,
    fps: float | None = None,
) -> Clip:
    """One video, GIF or image in its window; `fps` overrules the file. An image is held still."""
    video, told = _grey(Path(path), window)
    video, rate = fit(video, fps or told, window, str(path))
    return Clip(Path(path).stem, video, rate, view, "file", Split.TEST)


def load_mask(path: str | Path, size: int = 112) -> np.ndarray:
    """A user's mask from an image file, bool (size, size); see `check_mask` for what is refused."""
    video, _ = read_gray(path)
    if len(video) > 1:
        raise InputError(f"{path} has {len(video)} frames; a mask is a single image.")
    try:
        return check_mask(video[0], size, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def fit(video: np.ndarray, fps: float, window: Window, name: str) -> tuple[np.ndarray, float]:
    """uint8 (t, h, w) at `fps` -> (frames, size, size) and its fps; padded to a square first.

    Only the frames in the window are resized. `name` is what an `InputError` calls the video.
    """
    rate = window.fps or fps
    start = window.start * fps
    if start >= len(video):
        seconds = f"{name} lasts {len(video) / fps:.3g} s; it has no {window.start:g} s."
        raise Flaw("too-short", seconds)
    still = len(video) == 1
    fitting = 1 if still else max(1, int((len(video) - start) / fps * rate + 1e-6))
    frames = window.frames or fitting
    short = "hold" if still else window.short
    try:
        video = resample_time(video, fps, rate, frames, start=start, short=short)
    except InputError as error:
        raise Flaw("too-short", f"{name}: {error}") from None
    return resize(square(video), window.size, window.size), rate


def _grey(path: Path, window: Window) -> tuple[np.ndarray, float]:
    if window.gray == "keep":
        raise InputError("a clip is grey; choose gray luma or mean.")
    return read_gray(path, window.gray)
