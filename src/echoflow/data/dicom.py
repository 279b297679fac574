"""DICOM ultrasound: the picture, its rate and its scale, and nothing that names a patient.

Only the tags listed here are parsed. Where a file marks the region of its two-dimensional picture,
frames are cut to it, which also removes names, dates and scales written around it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoflow.data.luma import Gray, gray_of_rgb
from echoflow.data.medical import package, parsing, refuse_huge
from echoflow.data.video import STILL_FPS
from echoflow.types import InputError

PICTURE_TAGS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)
LOOP_TAGS = (
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "SequenceOfUltrasoundRegions",
    "BurnedInAnnotation",
)
_TWO_D, _TISSUE, _CM = 1, 1, 3  # PS3.3 C.8.5.5: spatial format, data type, physical units
_SAMPLE = 1 << 20  # bytes at either end of the pixels that tell two clips apart
_UNDEFINED = 0xFFFFFFFF
_END = b"\xfe\xff\xdd\xe0"  # of a sequence of compressed frames


@dataclass(frozen=True)
class Region:
    """Where the two-dimensional picture is, in pixels; `mm_per_px` (x, y) where the file says."""

    top: int
    left: int
    bottom: int
    right: int
    mm_per_px: tuple[float, float] | None

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """The part (h, w, ...) of a frame."""
        return frame[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Loop:
    """What a file says of its pictures. `height` and `width` are those of the region, if any.

    `marked`: the file marks regions at all. `burnt_in`: it says that there is writing in the
    pictures. `fps` is None where it does not say.
    """

    frames: int
    height: int
    width: int
    fps: float | None
    region: Region | None
    marked: bool
    burnt_in: bool


def describe(path: Path) -> Loop:
    """The loop in a DICOM file, by its header. `InputError`: no DICOM, no pictures, cut short."""
    with _parsing(path):
        loop, header = _loop(path, _header(path, LOOP_TAGS + PICTURE_TAGS))
        _refuse_short(path, header, loop)
    return loop


def read_pictures(path: Path, gray: Gray = "luma") -> tuple[np.ndarray, float]:
    """uint8 (t, h, w), or (t, h, w, 3) for "keep", cut to the region; frames per second.

    Pictures of more than 8 bits keep their upper 8. A rate that is not told is `STILL_FPS`.
    """
    with _parsing(path):
        header = _header(path, LOOP_TAGS + PICTURE_TAGS)
        loop, _ = _loop(path, header)
        colours = (3,) if gray == "keep" else ()
        video = np.empty((loop.frames, loop.height, loop.width, *colours), np.uint8)
        count = 0
        for frame in _frames(path, header, gray):
            if count == loop.frames:
                break
            video[count] = loop.region.cut(frame) if loop.region else frame
            count += 1
    if count < loop.frames:
        raise InputError(
            f"{path} is damaged or truncated: {count} of {loop.frames} frames could be decoded; "
            "copy it again."
        )
    return video, loop.fps or STILL_FPS


def fingerprint(path: Path) -> str:
    """16 hexadecimal digits that follow from the pixels alone, read in part: a name for the clip.

    Whoever has not the pixels learns nothing from it, and other tags do not change it.
    """
    with _parsing(path):
        header = _header(path, ("Rows", "Columns", "NumberOfFrames", "PixelData"), _SAMPLE)
        if "PixelData" not in header:
            raise InputError(f"{path} holds no pictures; a report or a waveform is no video.")
        sizes = f"{header.get('Rows')} {header.get('Columns')} {header.get('NumberOfFrames')}"
        head, tail = _ends(path, header.get_item("PixelData"))
    return hashlib.sha256(sizes.encode() + head + tail).hexdigest()[:16]


def _ends(path: Path, stored: Any) -> tuple[bytes, bytes]:
    """The first and the last bytes of an element, `_SAMPLE` of each; all of a small one."""
    if stored.value is not None:
        return bytes(stored.value), b""
    size = path.stat().st_size
    start = stored.value_tell
    end = size if stored.length == _UNDEFINED else min(start + stored.length, size)
    with path.open("rb") as file:
        file.seek(start)
        head = file.read(_SAMPLE)
        file.seek(max(start, end - _SAMPLE))
        return head, file.read(_SAMPLE)


def person(path: Path) -> str | None:
    """Who was scanned, only to find clips of one person: to be compared, never to be kept."""
    with _parsing(path):
        header = _header(path, ("PatientID", "IssuerOfPatientID"))
        told = [str(header.get(tag) or "").strip() for tag in ("PatientID", "IssuerOfPatientID")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest() if told[0] else None


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """As `parsing`, and values that break the rules of the standard are taken as they are."""
    config = package("pydicom").config
    with parsing(path, config.logger), config.disable_value_validation():
        yield


def _header(path: Path, tags: tuple[str, ...], pixels: int = 0) -> Any:
    """The given tags; of PixelData, if asked for, up to `pixels` bytes at once."""
    pydicom = package("pydicom")
    try:
        header = pydicom.dcmread(
            path,
            specific_tags=list(tags),
            stop_before_pixels=not pixels,
            defer_size=pixels or None,
        )
    except pydicom.errors.InvalidDicomError:
        raise InputError(f"{path} is no DICOM file; copy it again.") from None
    if header.file_meta.TransferSyntaxUID.is_deflated:
        raise InputError(f"{path} is compressed as a whole (deflated); unpack it first.")
    return header


def _loop(path: Path, header: Any) -> tuple[Loop, Any]:
    if "Rows" not in header or "Columns" not in header:
        raise InputError(f"{path} holds no pictures; a report or a waveform is no video.")
    frames = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.Rows), int(header.Columns)
    refuse_huge(path, frames, rows, columns)
    marks = header.get("SequenceOfUltrasoundRegions") or []
    region = _region(marks, rows, columns)
    height, width = rows, columns
    if region:
        height, width = region.bottom - region.top, region.right - region.left
    burnt_in = str(header.get("BurnedInAnnotation") or "").upper() == "YES"
    loop = Loop(frames, height, width, _rate(header, frames), region, bool(len(marks)), burnt_in)
    return loop, header


def _region(marks: Any, rows: int, columns: int) -> Region | None:
    """The largest two-dimensional tissue picture of those that are marked."""
    regions = [
        _placed(mark, rows, columns)
        for mark in marks
        if mark.get("RegionSpatialFormat") == _TWO_D and mark.get("RegionDataType") == _TISSUE
    ]
    sound = [r for r in regions if r and r.bottom - r.top > 1 and r.right - r.left > 1]
    return max(sound, key=lambda r: (r.bottom - r.top) * (r.right - r.left), default=None)


def _placed(mark: Any, rows: int, columns: int) -> Region | None:
    corners = [mark.get(f"RegionLocation{c}") for c in ("MinY0", "MinX0", "MaxY1", "MaxX1")]
    if any(corner is None for corner in corners):
        return None
    top, left, bottom, right = (int(corner) for corner in corners)
    steps = [abs(float(mark.get(f"PhysicalDelta{axis}") or 0)) * 10 for axis in "XY"]
    in_cm = all(mark.get(f"PhysicalUnits{axis}Direction") == _CM for axis in "XY")
    known = in_cm and all(math.isfinite(step) and step > 0 for step in steps)
    return Region(
        max(top, 0),
        max(left, 0),
        min(bottom + 1, rows),
        min(right + 1, columns),
        (steps[0], steps[1]) if known else None,
    )


def _rate(header: Any, frames: int) -> float | None:
    """Frames per second from the frame time in ms, else from a rate that the file gives."""
    if frames == 1:
        return STILL_FPS
    vector = header.get("FrameTimeVector")
    steps = np.atleast_1d(np.array(vector if vector is not None else [], float))[1:]
    period = float(header.get("FrameTime") or 0) or (float(steps.mean()) if len(steps) else 0.0)
    rates = [1000 / period if period > 0 else 0.0]
    rates += [float(header.get(tag) or 0) for tag in ("CineRate", "RecommendedDisplayFrameRate")]
    return next((rate for rate in rates if math.isfinite(rate) and rate > 0), None)


def _refuse_short(path: Path, header: Any, loop: Loop) -> None:
    """`InputError` unless uncompressed frames have all their bytes, and others their end mark."""
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _SAMPLE))
            if _END not in file.read():
                raise EOFError
        return
    samples = int(header.get("SamplesPerPixel") or 1)
    bits = int(header.get("BitsAllocated") or 8)
    shares = 2 if header.get("PhotometricInterpretation") == "YBR_FULL_422" else samples
    needed = loop.frames * int(header.Rows) * int(header.Columns) * shares * bits // 8
    there = path.stat().st_size
    if there < needed:
        raise InputError(
            f"{path} is damaged or truncated: {there:,} of {needed:,} bytes are there; "
            "copy it again."
        )


def _frames(path: Path, header: Any, gray: Gray) -> Iterator[np.ndarray]:
    """Whole frames, uint8 (h, w) or (h, w, 3), one at a time."""
    pixels = package("pydicom.pixels")
    kind = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    first_is_luma = gray == "luma" and kind in ("YBR_FULL", "YBR_FULL_422")
    for stored in pixels.iter_pixels(path, raw=first_is_luma):
        if kind == "PALETTE COLOR":
            stored = pixels.apply_color_lut(stored, header)
            yield gray_of_rgb(_bytes(stored, 16 if stored.dtype.itemsize > 1 else 8), gray)
        elif first_is_luma:
            yield stored[..., 0]
        elif stored.ndim == 3:
            yield gray_of_rgb(_bytes(stored, int(header.BitsStored)), gray)
        else:
            yield _monochrome(stored, header, kind, gray)


def _monochrome(stored: np.ndarray, header: Any, kind: str, gray: Gray) -> np.ndarray:
    bits = int(header.BitsStored)
    if int(header.get("PixelRepresentation") or 0):  # signed
        stored = stored.astype(np.int32) + (1 << (bits - 1))
    frame = _bytes(stored, bits)
    if kind == "MONOCHROME1":  # 0 is white
        frame = 255 - frame
    return np.repeat(frame[..., None], 3, axis=-1) if gray == "keep" else frame


def _bytes(stored: np.ndarray, bits: int) -> np.ndarray:
    """The upper 8 of `bits` bits."""
    shifted = stored >> (bits - 8) if bits > 8 else stored << (8 - bits)
    return shifted.astype(np.uint8)
