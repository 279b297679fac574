"""Speed and fidelity of video files: frames per second in and out, PSNR, bytes per frame.

The pixels are phantom clips of the three views, 112 x 112. Speeds are frames per second of one
processor core (CPU time, the median of several passes in one process). The claim is 10,000 frames
read per second from AVI, both as this program writes it, at the finest quality, and at the quality
of recordings, MJPEG at its usual quantiser. Usage: python benchmarks/video_io.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from where import where

from echoflow.data.phantom import PhantomPatient
from echoflow.data.video import WRITABLE, encode, read_gray, write_video
from echoflow.types import View

OUT = Path(__file__).parent / "results" / "video_io.json"
FPS = 50.0


def material(frames: int) -> np.ndarray:
    """(3 * frames, 112, 112) uint8: one patient, one clip per view."""
    patient = PhantomPatient.sample(0, 0)
    clips = [patient.render(view, frames=frames, fps=FPS).clip.video for view in View]
    return np.concatenate(clips)


def seconds(work: Callable[[], Any], passes: int) -> float:
    """Median CPU time of a pass."""
    times = []
    for _ in range(passes):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def psnr(a: np.ndarray, b: np.ndarray) -> float | str:
    """dB; "lossless" where nothing is lost."""
    error = float(np.mean((a.astype(float) - b) ** 2))
    return round(10 * np.log10(255**2 / error), 1) if error else "lossless"


def row(video: np.ndarray, suffix: str, folder: Path, passes: int) -> dict[str, Any]:
    """What one format does with the clip."""
    path = folder / f"clip{suffix}"
    encoding = seconds(lambda: encode(video, FPS, suffix), passes)
    writing = seconds(lambda: write_video(path, video, FPS), passes)
    reading = seconds(lambda: read_gray(path), passes)
    mean = seconds(lambda: read_gray(path, "mean"), max(1, passes // 2))
    back, _ = read_gray(path)
    return {
        "format": suffix,
        "encode frames/s": round(len(video) / encoding),
        "write frames/s": round(len(video) / writing),
        "read luma frames/s": round(len(video) / reading),
        "read mean frames/s": round(len(video) / mean),
        "PSNR dB": psnr(video, back),
        "bytes/frame": round(path.stat().st_size / len(video)),
    }


def usual(video: np.ndarray, path: Path) -> None:
    """MJPEG as other programs write it: quantiser 3, three channels of equal values."""
    import av

    options = {"qmin": "3", "qmax": "3"}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=int(FPS), options=options)
        stream.height, stream.width = video.shape[1:]
        stream.pix_fmt = "yuvj420p"
        for picture in video:
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, -1), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def usual_row(video: np.ndarray, folder: Path, passes: int) -> dict[str, Any]:
    """Reading alone, since this program writes no such files."""
    path = folder / "usual.avi"
    usual(video, path)
    return {
        "format": ".avi, quantiser 3",
        "encode frames/s": None,
        "write frames/s": None,
        "read luma frames/s": round(len(video) / seconds(lambda: read_gray(path), passes)),
        "read mean frames/s": round(len(video) / seconds(lambda: read_gray(path, "mean"), passes)),
        "PSNR dB": psnr(video, read_gray(path)[0]),
        "bytes/frame": round(path.stat().st_size / len(video)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names)]
    lines += [[str(row[name]) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=128, help="per view")
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    video = material(options.frames)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(video, suffix, Path(folder), options.passes) for suffix in WRITABLE]
        rows.insert(1, usual_row(video, Path(folder), options.passes))
    print(table(rows))
    options.out.parent.mkdir(exist_ok=True)
    settings = {
        **where(),
        "frames": len(video),
        "size": list(video.shape[1:]),
        "passes": options.passes,
        "per": "core, CPU time",
    }
    options.out.write_text(json.dumps({**settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
