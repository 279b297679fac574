"""From a file of any size and frame rate to the clip that the networks expect."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoflow.data.findings import Flaw
from echoflow.data.manifest import Manifest
from echoflow.data.masks import check_mask
from echoflow.data.resample import Short, Space, TimeMethod, lasting, random_start, resample_time
from echoflow.data.video import Gray, read_gray
from echoflow.types import Clip, InputError, Record, Split, View


@dataclass(frozen=True)
class Window:
    """What a clip is cut to: `frames` at `fps`, each `size` x `size` pixels.

    `fps=None` keeps the frame rate; `frames=None` takes all that the video has from `start`, in
    seconds. `time` says how frames are made that fall between others, `short` what becomes of a
    video too short for `frames`; a single image always holds. `border` black pixels are put around
    the picture.
    """

    frames: int | None = None
    fps: float | None = None
    size: int = 112
    start: float = 0.0
    short: Short = "refuse"
    gray: Gray = "luma"
    time: TimeMethod = "nearest"
    border: int = 0

    @property
    def space(self) -> Space:
        """Size and border of the picture."""
        return Space(self.size, self.border)


# How the papers cut clips. All but the last two take them from a random place: give `rng`.
PROTOCOLS: Mapping[str, Window] = {
    "echonet-synthetic": Window(64, 32.0, short="black", gray="mean"),
    "echoflow": Window(64, 32.0),
    "echodiffusion": Window(64, 32.0, short="black", time="zoom"),
    "echodiffusion-metrics": Window(64, 32.0, short="black", time="zoom", border=8),
    "free-echo": Window(24, size=128, short="black"),
}


def load_clip(
    manifest: Manifest,
    record: Record,
    window: Window = Window(),
    rng: np.random.Generator | None = None,
) -> Clip:
    """The video of a record in its window, forwards; with `rng` from a random place after `start`.

    `InputError` if file and record disagree on the number of frames.
    """
    path = manifest.video(record)
    video, _ = _grey(path, window)
    if len(video) != record.frames:
        raise Flaw(
            "frame-count",
            f"{path} has {len(video)} frames, the manifest says {record.frames}; "
            "copy the file again or correct its row.",
        )
    if record.uid in manifest.backwards:
        video = video[::-1]
    video, fps = fit(video, record.fps, window, str(path), rng)
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


def fit(
    video: np.ndarray,
    fps: float,
    window: Window,
    name: str,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, float]:
    """uint8 (t, h, w) at `fps` -> (frames, side, side) and its fps; padded to a square first.

    Only the frames in the window are resized. `name` is what an `InputError` calls the video.
    """
    rate = window.fps or fps
    start = window.start * fps
    if start >= len(video):
        seconds = f"{name} lasts {len(video) / fps:.3g} s; it has no {window.start:g} s."
        raise Flaw("too-short", seconds)
    still = len(video) == 1
    whole = 1 if still else lasting(len(video), fps, rate, window.time, start)
    frames = window.frames or whole
    if rng is not None and not still:
        left = len(video) - int(start)
        start += random_start(left, fps, rate, frames, rng, window.time)
    try:
        video = resample_time(
            video, fps, rate, frames, window.time, start, "hold" if still else window.short
        )
    except InputError as error:
        raise Flaw("too-short", f"{name}: {error}") from None
    return window.space.fit(video), rate


def _grey(path: Path, window: Window) -> tuple[np.ndarray, float]:
    if window.gray == "keep":
        raise InputError("a clip is grey; choose gray luma or mean.")
    return read_gray(path, window.gray)
