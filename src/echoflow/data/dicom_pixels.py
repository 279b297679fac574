"""The frames of a DICOM file, one at a time, as grey levels of eight bits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoflow.data.dicom import (
    LOOP_TAGS,
    PICTURE_TAGS,
    Loop,
    loop_of,
    parsing_dicom,
    pixel_bytes,
    read_header,
)
from echoflow.data.luma import Gray, gray_of_rgb
from echoflow.data.medical import package
from echoflow.data.video import STILL_FPS
from echoflow.types import InputError

_LUMA_FIRST = ("YBR_FULL", "YBR_FULL_422")
_JPEG = "1.2.840.10008.1.2.4.50"  # baseline: what ultrasound machines write


def read_pictures(path: Path, gray: Gray = "luma") -> tuple[np.ndarray, float]:
    """uint8 (t, h, w), or (t, h, w, 3) for "keep", cut to the region; frames per second.

    Pictures of more than 8 bits keep their upper 8. A rate that is not told is `STILL_FPS`.
    """
    with parsing_dicom(path):
        header = read_header(path, LOOP_TAGS + PICTURE_TAGS)
        loop = loop_of(path, header)
        video = np.empty((loop.frames, loop.height, loop.width, *_colours(gray)), np.uint8)
        count = 0
        for frame in _frames(path, header, loop, gray):
            if count == loop.frames:
                break
            video[count] = frame
            count += 1
    if count < loop.frames:
        raise InputError(
            f"{path} is damaged or truncated: {count} of {loop.frames} frames could be decoded; "
            "copy it again."
        )
    return video, loop.fps or STILL_FPS


def _colours(gray: Gray) -> tuple[int, ...]:
    return (3,) if gray == "keep" else ()


def _frames(path: Path, header: Any, loop: Loop, gray: Gray) -> Iterator[np.ndarray]:
    """Frames cut to their region, uint8 (h, w) or (h, w, 3)."""
    kind = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    if gray == "luma" and header.file_meta.TransferSyntaxUID == _JPEG and kind != "PALETTE COLOR":
        for frame in _luma_of_jpeg(path, header, loop.frames):
            yield loop.cut(255 - frame if kind == "MONOCHROME1" else frame)
        return
    pixels = package("pydicom.pixels")
    raw = gray == "luma" and kind in _LUMA_FIRST
    for stored in pixels.iter_pixels(path, raw=raw, view_only=True):
        frame = loop.cut(stored)
        if kind == "PALETTE COLOR":
            frame = pixels.apply_color_lut(frame, header)
            yield gray_of_rgb(_upper(frame, 8 * frame.dtype.itemsize), gray)
        elif raw:
            yield frame[..., 0]
        elif frame.ndim == 3:
            yield gray_of_rgb(_upper(frame, int(header.BitsStored)), gray)
        else:
            yield _monochrome(frame, header, kind, gray)


def _luma_of_jpeg(path: Path, header: Any, frames: int) -> Iterator[np.ndarray]:
    """Brightness as the pictures store it: their colours, which take most of the time, stay put."""
    from PIL import Image

    encaps = package("pydicom.encaps")
    with path.open("rb") as file:
        file.seek(pixel_bytes(path, header)[0])
        for data in encaps.generate_frames(file, number_of_frames=frames):
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
                if picture.size != (header.Columns, header.Rows):
                    return  # not the frames that the header speaks of
                picture.draft("L", None)
                yield np.asarray(picture.convert("L"))


def _monochrome(stored: np.ndarray, header: Any, kind: str, gray: Gray) -> np.ndarray:
    bits = int(header.BitsStored)
    if int(header.get("PixelRepresentation") or 0):  # signed
        stored = stored.astype(np.int32) + (1 << (bits - 1))
    frame = _upper(stored, bits)
    if kind == "MONOCHROME1":  # 0 is white
        frame = 255 - frame
    return np.repeat(frame[..., None], 3, axis=-1) if gray == "keep" else frame


def _upper(stored: np.ndarray, bits: int) -> np.ndarray:
    """The upper 8 of `bits` bits."""
    if bits == 8:
        return stored.astype(np.uint8, copy=False)
    return (stored >> (bits - 8) if bits > 8 else stored << (8 - bits)).astype(np.uint8)
