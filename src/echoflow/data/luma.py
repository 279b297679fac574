"""Decoded frames to grey, quickly: the luma plane as the decoder leaves it.

That is several times faster than a colour conversion and, for grey material, the same pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from echoflow.types import InputError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

Gray = Literal["luma", "mean", "keep", "labels"]

NEUTRAL = 128  # chroma of grey
FULL_RANGE = 2  # AVCOL_RANGE_JPEG: luma 0..255, not 16..235

_PLANAR = ("gray", "yuv4", "yuvj4", "yuva4")
_EXPAND = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
_THIRD = np.rint(np.arange(3 * 255 + 1) / 3).astype(np.uint8)
_BT601 = (19595, 38470, 7471)  # luma of red, green, blue in 16-bit fixed point, as in JPEG
_BELIEVED = 64 << 20  # bytes: headers lie, memory is finite
# what a video may be, whatever its suffix: no playlist, which would make the decoder read others
_CONTAINERS = "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,mpeg,mpegts,mpegvideo"


def opened(path: Path) -> InputContainer:
    """The container in a file, and in no other: its text, not its name, could ask for more."""
    import av

    only = {"format_whitelist": _CONTAINERS}
    return av.open(f"file:{path}", options=only, metadata_errors="replace")


def read_stream(path: Path, gray: Gray, strict: bool = False) -> tuple[np.ndarray, float]:
    """Every frame of the first picture stream and its frames per second; none: (0, 0, 0).

    Decoders paint over damage and say nothing; if `strict` they refuse it. `InputError`: no video,
    damaged or truncated, a size that changes, no frame rate.
    """
    import av

    frames = _Block(path)
    packets = 0
    try:
        with opened(path) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no picture in it; give a video or image file.")
            stream = container.streams.video[0]
            if strict:
                stream.codec_context.options = {"err_detect": "explode"}
            frames.expected = stream.frames
            rate = stream.average_rate or stream.guessed_rate or stream.base_rate
            fps = float(rate) if rate else 0.0
            for packet in container.demux(stream):
                packets += packet.size > 0
                for frame in packet.decode():
                    frames.add(*_picture(frame, gray))
    except av.FFmpegError as error:
        if not packets:
            raise InputError(
                f"{path} is not a video that can be read ({error.strerror}); copy it again or "
                "convert it to .avi or .mp4."
            ) from error
        raise truncated(path, frames.n, frames.expected) from error
    if packets < frames.expected:
        raise truncated(path, frames.n, frames.expected)
    if frames.n and fps <= 0:
        raise InputError(f"{path} does not say its frame rate; write it again with one.")
    return frames.whole(), fps


def truncated(path: Path, decoded: int, declared: int) -> InputError:
    """The error for a file that ends too early; `declared` 0 where its header does not count."""
    of = f" of {declared}" if declared else ""
    return InputError(
        f"{path} is damaged or truncated: {decoded}{of} frames could be decoded; copy it again."
    )


def gray_of_rgb(rgb: np.ndarray, gray: Gray) -> np.ndarray:
    """(h, w, 3) -> (h, w), or unchanged for "keep"; equal channels stay exactly as they are."""
    if gray == "keep":
        return rgb
    if gray == "mean":
        return _THIRD[rgb[..., 0].astype(np.uint16) + rgb[..., 1] + rgb[..., 2]]
    total = np.full(rgb.shape[:-1], 0x8000, np.uint32)  # rounds
    for channel, weight in enumerate(_BT601):
        total += rgb[..., channel].astype(np.uint32) * np.uint32(weight)
    return (total >> 16).astype(np.uint8)


class _Block:
    """Pictures of one size in a block that grows by doubling, so that none is copied twice.

    The number of frames that a header tells is a first size, as far as memory is cheap.
    """

    def __init__(self, path: Path):
        self.path, self.expected, self.n = path, 0, 0
        self.rows = np.empty((0, 0, 0), np.uint8)

    def add(self, picture: np.ndarray, levels: np.ndarray | None) -> None:
        """Takes (h, w) or (h, w, 3), through the table `levels` if there is one."""
        if not self.n:
            room = max(1, min(self.expected, _BELIEVED // max(1, picture.size)))
            self.rows = np.empty((room, *picture.shape), np.uint8)
        if picture.shape != self.rows.shape[1:]:
            old, new = (
                "x".join(map(str, shape[:2])) for shape in (self.rows[0].shape, picture.shape)
            )
            raise InputError(
                f"{self.path} changes its size from {old} to {new} pixels at frame {self.n}; "
                "write it again with one size."
            )
        if self.n == len(self.rows):
            self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
        if levels is None:
            self.rows[self.n] = picture
        else:
            np.take(levels, picture, out=self.rows[self.n], mode="clip")  # "raise" would buffer
        self.n += 1

    def whole(self) -> np.ndarray:
        """The pictures, in memory of their own size."""
        return self.rows if self.n == len(self.rows) else self.rows[: self.n].copy()


def _picture(frame: VideoFrame, gray: Gray) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture, maybe a view of the decoder's memory, and the table it has to go through."""
    name = frame.format.name
    planar = name.startswith(_PLANAR) and frame.format.components[0].bits == 8
    if not planar or gray == "keep" or (gray == "mean" and not _neutral(frame)):
        return gray_of_rgb(frame.to_ndarray(format="rgb24"), gray), None
    full = name.startswith(("gray", "yuvj")) or frame.color_range == FULL_RANGE
    return _plane(frame.planes[0]), None if full else _EXPAND


def _neutral(frame: VideoFrame) -> bool:
    """Whether a planar frame has no colour: then all three channels equal the luma."""
    return all((_plane(plane) == NEUTRAL).all() for plane in frame.planes[1:3])


def _plane(plane: Any) -> np.ndarray:
    """A view (h, w) of the samples of a plane, without the padding of its lines."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
        : plane.height, : plane.width
    ]
