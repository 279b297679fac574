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
from typing import Any, Literal

import numpy as np

from echoflow.data.medical import package, parsing, refuse_huge
from echoflow.data.video import STILL_FPS
from echoflow.types import InputError

SIZE_TAGS = ("Rows", "Columns", "NumberOfFrames")
PICTURE_TAGS = (
    *SIZE_TAGS,
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
_PIXELS = (0x7FE0, 0x0010)
_END = b"\xfe\xff\xdd\xe0"  # of a sequence of compressed frames


@dataclass(frozen=True)
class Region:
    """Where the two-dimensional picture is, in pixels; `mm_per_px` (x, y) where the file says."""

    top: int
    left: int
    bottom: int
    right: int
    mm_per_px: tuple[float, float] | None

    @property
    def rows(self) -> slice:
        """From top to bottom."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """From left to right."""
        return slice(self.left, self.right)


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

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """The part of a whole frame (rows, columns, ...) that is read: (h, w, ...)."""
        region = self.region
        return frame if region is None else frame[region.rows, region.columns]


def describe(path: Path) -> Loop:
    """The loop in a DICOM file, by its header. `InputError`: no DICOM, no pictures, cut short."""
    with parsing_dicom(path):
        header = read_header(path, LOOP_TAGS + PICTURE_TAGS)
        loop = loop_of(path, header)
        _refuse_short(path, header, loop)
    return loop


def fingerprint(path: Path) -> str:
    """16 hexadecimal digits that follow from the pixels alone, read in part: a name for the clip.

    Whoever has not the pixels learns nothing from it, and other tags do not change it.
    """
    with parsing_dicom(path):
        header = read_header(path, SIZE_TAGS)
        start, end = pixel_bytes(path, header)
        with path.open("rb") as file:
            file.seek(start)
            head = file.read(min(_SAMPLE, end - start))
            file.seek(max(start, end - _SAMPLE))
            tail = file.read(min(_SAMPLE, end - start))
    sizes = " ".join(str(header.get(tag)) for tag in SIZE_TAGS)
    return hashlib.sha256(sizes.encode() + head + tail).hexdigest()[:16]


def person(path: Path) -> str | None:
    """Who was scanned, only to find clips of one person: to be compared, never to be kept."""
    with parsing_dicom(path):
        header = read_header(path, ("PatientID", "IssuerOfPatientID"))
        told = [str(header.get(tag) or "").strip() for tag in ("PatientID", "IssuerOfPatientID")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest() if told[0] else None


@contextmanager
def parsing_dicom(path: Path) -> Iterator[None]:
    """As `parsing`, and values that break the rules of the standard are taken as they are."""
    config = package("pydicom").config
    with parsing(path, config.logger), config.disable_value_validation():
        yield


def read_header(path: Path, tags: tuple[str, ...]) -> Any:
    """The given tags of a file, as far as they stand before its pixels, and no others."""
    pydicom = package("pydicom")
    try:
        header = pydicom.dcmread(path, specific_tags=list(tags), stop_before_pixels=True)
    except pydicom.errors.InvalidDicomError:
        raise InputError(f"{path} is no DICOM file; copy it again.") from None
    if header.file_meta.TransferSyntaxUID.is_deflated:
        raise InputError(f"{path} is compressed as a whole (deflated); unpack it first.")
    return header


def pixel_bytes(path: Path, header: Any) -> tuple[int, int]:
    """Where the pixels begin and end in the file; compressed ones are taken to end with it."""
    pydicom = package("pydicom")
    syntax = header.file_meta.TransferSyntaxUID
    order: Literal["little", "big"] = "little" if syntax.is_little_endian else "big"
    size = path.stat().st_size
    with path.open("rb") as file:
        pydicom.dcmread(file, specific_tags=[], stop_before_pixels=True)  # stops right there
        start, mark = file.tell(), file.read(12)
    tag = tuple(int.from_bytes(mark[i : i + 2], order) for i in (0, 2))
    if tag != _PIXELS:
        raise InputError(f"{path} holds no pictures; a report or a waveform is no video.")
    at = slice(4, 8) if syntax.is_implicit_VR else slice(8, 12)
    length = int.from_bytes(mark[at], order)
    start += at.stop
    return start, size if length == _UNDEFINED else min(start + length, size)


def loop_of(path: Path, header: Any) -> Loop:
    """What a header with `LOOP_TAGS` and `PICTURE_TAGS` says of the pictures."""
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
    return Loop(frames, height, width, _rate(header, frames), region, bool(len(marks)), burnt_in)


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
