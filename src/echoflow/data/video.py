"""Reading and writing grey videos, GIFs and images.

Streams are decoded by `luma`, images by Pillow, which like PyAV is imported when first used; NIfTI
and DICOM files by the packages of the extra `medical`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoflow.data.luma import (
    FULL_RANGE,
    NEUTRAL,
    Gray,
    gray_of_rgb,
    opened,
    read_stream,
    truncated,
)
from echoflow.data.medical import medical_format, probe_medical, read_medical, refuse_huge
from echoflow.files import atomic_file
from echoflow.types import InputError, choose

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer

GRAYS = ("luma", "mean", "keep", "labels")
WRITABLE = (".avi", ".mp4", ".gif")
IMAGES = (".gif", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg")
STILL_FPS = 1.0  # what a single image reports as its frame rate

_WORK = 16  # bytes per pixel that turning colours into grey takes
_COMPRESS = np.rint(np.arange(256) * 219 / 255 + 16).astype(np.uint8)


def read_gray(
    path: str | Path, gray: Gray = "luma", strict: bool = False
) -> tuple[np.ndarray, float]:
    """The frames of a video, GIF or image file, uint8 (t, h, w), and its frames per second.

    `gray`: "luma" takes the brightness, "mean" the mean of the three channels (as the released
    encoders do), "keep" returns the colours, (t, h, w, 3); "labels" is brightness too, but leaves
    small wide numbers and the entries of a palette of colours as they are. A still image is one
    frame at `STILL_FPS`. `strict` also refuses damage that a decoder would paint over.
    `InputError`: no such file, no video, no frames, damaged or truncated.
    """
    choose(gray, GRAYS, "gray")
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one video or image file.")
    if not path.is_file():
        raise InputError(f"there is no file {path}; check the name.")
    if path.suffix.lower() in IMAGES:
        video, fps = _read_image(path, gray)
    elif medical_format(path):
        video, fps = read_medical(path, gray)
    else:
        video, fps = read_stream(path, gray, strict)
    if not len(video):
        raise InputError(f"{path} holds no frames; give a video with at least one.")
    return video, fps


def write_video(path: str | Path, video: np.ndarray, fps: float | Fraction) -> None:
    """Writes uint8 (t, h, w) or (t, h, w, 3); see `encode` for the formats. Atomic."""
    data = encode(video, fps, Path(path).suffix.lower())
    with atomic_file(path) as work:
        work.write_bytes(data)


def encode(video: np.ndarray, fps: float | Fraction, suffix: str) -> bytes:
    """A video file in memory, from uint8 (t, h, w) or (t, h, w, 3).

    `.avi` is MJPEG at its finest quality with neutral chroma, so grey decodes to three equal
    channels as in EchoNet-Dynamic; `.mp4` is H.264 yuv420p, which browsers play; `.gif` shows
    at most 50 frames per second, since browsers slow down faster ones.
    """
    choose(suffix, WRITABLE, "video suffix")
    colour = video.ndim == 4 and video.shape[-1] == 3
    if video.dtype != np.uint8 or not (colour or video.ndim == 3) or 0 in video.shape:
        raise InputError(
            "a video must be uint8 with axes (t, h, w) or (t, h, w, 3) and at least one frame; "
            f"got {video.dtype} {video.shape}."
        )
    if not 0 < float(fps) < 1e5:
        raise InputError(f"fps must be positive; got {fps}.")
    if colour and (video == video[..., :1]).all():
        video = video[..., 0]
    rate = Fraction(fps).limit_denominator(1001)
    if suffix == ".gif":
        return _encode_gif(video, rate)
    return _encode_mjpeg(video, rate) if suffix == ".avi" else _encode_h264(video, rate)


def probe(path: str | Path) -> tuple[int, int, int, float]:
    """Frames, height, width and fps; from the header alone where it tells them all."""
    import av

    path = Path(path)
    if path.is_file() and path.suffix.lower() not in IMAGES:
        if medical_format(path):
            return probe_medical(path)
        try:
            with opened(path) as container:
                (stream, *_) = container.streams.video
                if stream.frames and stream.average_rate:
                    rate = float(stream.average_rate)
                    return stream.frames, stream.height, stream.width, rate
        except (av.FFmpegError, ValueError):
            pass  # reading it in full says what is wrong
    video, fps = read_gray(path)
    frames, height, width = video.shape
    return frames, height, width, fps


def _read_image(path: Path, gray: Gray) -> tuple[np.ndarray, float]:
    from PIL import Image

    frames: list[np.ndarray] = []
    delays: list[float] = []
    try:
        with Image.open(path) as image:
            refuse_huge(path, 1, image.height, image.width, _WORK)
            for picture in _pictures(image):
                refuse_huge(path, len(frames) + 1, picture.height, picture.width)
                frames.append(_pixels(picture, gray, path))
                delays.append(float(picture.info.get("duration", 0)) or 100.0)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} claims more pixels than any picture has; copy it again."
        ) from error
    except (OSError, SyntaxError, ValueError, IndexError, struct.error) as error:
        if not frames:
            raise InputError(f"{path} is not an image that can be read; copy it again.") from error
        raise truncated(path, len(frames), 0) from error
    if len({frame.shape for frame in frames}) > 1:
        raise InputError(f"{path} holds pictures of several sizes; give one file for each.")
    if len(frames) < 2:
        return np.array(frames), STILL_FPS
    repeats = _repeats(np.array(delays))
    return np.repeat(frames, repeats, axis=0), 1000 * int(repeats.sum()) / sum(delays)


def _repeats(delays: np.ndarray) -> np.ndarray:
    """How many frames each one stands for: writers merge equal neighbours into one long delay.

    The shortest delay is a first guess of the pace, too short by the rounding to 10 ms.
    """
    counts = np.floor(delays / delays.min() + 0.4)
    pace = delays.sum() / counts.sum()
    return np.rint(delays / pace).astype(int).clip(1)


def _pictures(image: Any) -> Iterator[Any]:
    """The frames of a Pillow image, until it runs out of them."""
    index = 0
    while True:
        try:
            image.seek(index)
        except EOFError:
            return
        yield image
        index += 1


def _pixels(picture: Any, gray: Gray, path: Path) -> np.ndarray:
    if gray == "labels" and picture.mode.startswith(("I", "F")):
        return _numbers(np.asarray(picture), path)
    if gray == "labels" and picture.mode == "P" and not _grey_palette(picture):
        return np.asarray(picture)
    return gray_of_rgb(_rgb(picture), gray)


def _numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """Wide numbers as bytes: those of 0..255 as they are, those widened from bytes as these."""
    if values.max(initial=0) > 255:
        widened = next((by for by in (257, 256) if not (values % by).any()), 1)
        values = values // widened
    odd = values[(values != np.rint(values)) | (values < 0) | (values > 255)]
    if odd.size:
        raise InputError(
            f"{path}: the label map holds {odd[0]:g}, which is no label; labels are whole numbers "
            "of 0 to 255. Write them as such, without smoothing or scaling."
        )
    return values.astype(np.uint8)


def _grey_palette(picture: Any) -> bool:
    """Whether a picture of mode P shows nothing but greys."""
    shown = np.asarray(picture.convert("RGB"))
    return bool((shown == shown[..., :1]).all())


def _rgb(picture: Any) -> np.ndarray:
    if picture.mode.startswith("I;16"):  # Pillow would clip 16-bit grey instead of scaling it
        high = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=-1)
    return np.asarray(picture.convert("RGB"))


def _encode_mjpeg(video: np.ndarray, rate: Fraction) -> bytes:
    finest = {"qmin": "1", "qmax": "1", "flags": "+qscale", "threads": "1"}
    return _encode_stream(video, rate, ("avi", "mjpeg", "yuvj420p"), finest, None)


def _encode_h264(video: np.ndarray, rate: Fraction) -> bytes:
    # speckle is signal here: a low rate factor, and no smoothing of grain
    grain = {"crf": "18", "preset": "fast", "tune": "grain"}
    _, height, width = video.shape[:3]
    even = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)][: video.ndim]
    video = np.pad(video, even, mode="edge")
    return _encode_stream(video, rate, ("mp4", "libx264", "yuv420p"), grain, _COMPRESS)


def _encode_stream(
    video: np.ndarray,
    rate: Fraction,
    names: tuple[str, str, str],
    options: dict[str, str],
    levels: np.ndarray | None,
) -> bytes:
    """`names`: container, codec, pixel format; `levels` maps grey to the luma of the stream."""
    import av

    file_format, codec, pixels = names
    height, width = video.shape[1:3]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=file_format) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if pixels.startswith("yuvj"):
            stream.codec_context.color_range = FULL_RANGE
            stream.codec_context.qmin = stream.codec_context.qmax = 1
        for index, picture in enumerate(video):
            frame = _frame(picture, levels, pixels)
            frame.pts, frame.time_base = index, 1 / rate
            _mux(container, stream, frame)
        _mux(container, stream, None)
    return buffer.getvalue()


def _mux(container: OutputContainer, stream: Any, frame: VideoFrame | None) -> None:
    for packet in stream.encode(frame):
        container.mux(packet)


def _frame(picture: np.ndarray, levels: np.ndarray | None, pixels: str) -> VideoFrame:
    """One grey (h, w) or colour (h, w, 3) picture in the stream's pixel format."""
    from av import VideoFrame

    if picture.ndim == 3:
        return VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(
            format=pixels, dst_color_range=FULL_RANGE if pixels.startswith("yuvj") else 1
        )
    height, width = picture.shape
    frame = VideoFrame(width, height, pixels)
    luma, *chroma = frame.planes
    grey = picture if levels is None else levels[picture]
    if luma.line_size != width or luma.buffer_size != height * width:
        grey = np.pad(grey, ((0, luma.buffer_size // luma.line_size - height), (0, 0)))
        grey = np.pad(grey, ((0, 0), (0, luma.line_size - width)))
    luma.update(grey.tobytes())
    for plane in chroma:
        plane.update(bytes([NEUTRAL]) * plane.buffer_size)
    return frame


def _encode_gif(video: np.ndarray, rate: Fraction) -> bytes:
    from PIL import Image

    if rate > 50:
        keep = np.arange(int(len(video) * 50 / rate) or 1) * float(rate / 50)
        video, rate = video[np.floor(keep).astype(int)], Fraction(50)
    # a GIF counts hundredths of a second: round the running time, not each delay
    clock = np.rint(np.arange(len(video) + 1) * 100 / float(rate)).astype(int)
    pictures = [Image.fromarray(picture) for picture in video]
    buffer = io.BytesIO()
    delays = [int(delay) for delay in np.diff(clock) * 10]
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=delays, loop=0
    )
    return buffer.getvalue()
