"""NIfTI pictures and label maps as arrays with the axes of every other video here.

On disk the axes are (x, y) or (x, y, time), sometimes (x, y, 1, time): CAMUS writes the second.
In memory they are (t, h, w). The direction cosines are not looked at, as no reader of CAMUS does.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoflow.data.medical import package, parsing, refuse_huge
from echoflow.data.video import STILL_FPS
from echoflow.types import InputError

_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Picture:
    """What a header says. `fps` is None where it does not say; mm per pixel are of x and y."""

    frames: int
    height: int
    width: int
    fps: float | None
    mm_per_px: tuple[float, float]


def describe(path: Path) -> Picture:
    """The header of a NIfTI file; `InputError` if it is none, or shorter than it says."""
    _, picture = _open(path)
    return picture


def read_pictures(path: Path) -> tuple[np.ndarray, float]:
    """uint8 (t, h, w) and frames per second.

    Values in 0..255 are rounded; others are spread so that the least is 0 and the most 255.
    """
    values, picture = _values(path)
    return _grey(values, path), picture.fps or STILL_FPS


def read_labels(path: Path) -> np.ndarray:
    """A label map, uint8 (t, h, w), t = 1 for a still; `InputError` unless 0, 1, 2 ... 255."""
    values, _ = _values(path)
    with np.errstate(invalid="ignore"):  # what is not finite is no label either
        labels = values.astype(np.uint8)
    if not (labels == values).all():
        raise InputError(f"{path} is no label map: it holds other values than 0, 1, 2 ... 255.")
    return labels


def _open(path: Path) -> tuple[Any, Picture]:
    nibabel = package("nibabel")
    with parsing(path, nibabel.imageglobals.logger):
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise InputError(f"{path} is a {type(image).__name__}; give pictures in NIfTI.")
        shape = tuple(int(n) for n in image.shape)
        zooms = tuple(float(zoom) for zoom in image.header.get_zooms())
        stored = np.dtype(image.header.get_data_dtype())
        unit = image.header.get_xyzt_units()[1]
    if len(shape) == 4 and shape[2] == 1:
        frames, seconds = shape[3], zooms[3] * _SECONDS.get(unit, math.nan)
    elif len(shape) in (2, 3):
        frames, seconds = (*shape, 1)[2], math.nan
    else:
        raise InputError(f"{path} has the axes {shape}; give (x, y) or (x, y, time).")
    if stored.kind not in "biuf":
        raise InputError(f"{path} holds {stored} values; give grey pictures or labels.")
    refuse_huge(path, frames, *shape[:2], stored.itemsize)
    _refuse_short(path, image, frames * shape[0] * shape[1] * stored.itemsize)
    fps = 1 / seconds if seconds > 0 and 1e-2 <= 1 / seconds <= 1e4 else None
    return image, Picture(frames, shape[1], shape[0], fps, (zooms[0], zooms[1]))


def _values(path: Path) -> tuple[np.ndarray, Picture]:
    """The stored numbers, scaled as the header says, (t, h, w)."""
    image, picture = _open(path)
    with parsing(path, package("nibabel").imageglobals.logger):
        stored = np.asarray(image.dataobj.get_unscaled())
        if path.suffix.lower() == ".gz":
            _check_sum(path)
        slope, inter = (float(x) for x in (image.dataobj.slope, image.dataobj.inter))
        values = np.moveaxis(stored.reshape(picture.width, picture.height, -1), (1, 0), (1, 2))
        if (slope, inter) != (1.0, 0.0):
            values = values * np.float32(slope) + np.float32(inter)
    return values, picture


def _grey(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    values = values.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low + high):
        raise InputError(f"{path} holds values that are not finite; write it again.")
    if low < 0 or high > 255:
        values = (values - low) * (255 / (high - low))
    return np.rint(values).astype(np.uint8)


def _refuse_short(path: Path, image: Any, pixels: int) -> None:
    """`InputError` unless the file has all its bytes.

    The last four of a compressed file hold its length, unless it has several parts: only where
    they disagree is it unpacked.
    """
    needed = int(image.dataobj.offset) + pixels
    if path.suffix.lower() != ".gz":
        there = path.stat().st_size
    else:
        with path.open("rb") as file:
            file.seek(-4, 2)
            there = int.from_bytes(file.read(4), "little")
        if there != needed % (1 << 32):
            there = _unpacked(path, needed)
    if there < needed:
        raise InputError(
            f"{path} is damaged or truncated: {there:,} of {needed:,} bytes are there; "
            "copy it again."
        )


def _check_sum(path: Path) -> None:
    """Raises if a compressed file is not what was packed: its last bytes tell."""
    with gzip.open(path, "rb") as file:
        while file.read(_CHUNK):
            pass


def _unpacked(path: Path, enough: int) -> int:
    """How many bytes a compressed file really holds, counted up to `enough`."""
    count = 0
    try:
        with gzip.open(path, "rb") as file:
            while count < enough and (chunk := file.read(_CHUNK)):
                count += len(chunk)
    except (OSError, EOFError, zlib.error):
        pass  # what came before the damage counts
    return count
