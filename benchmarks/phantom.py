"""Phantom frames per second on one core, from nothing to an MJPEG AVI in memory, with masks.

Usage: python benchmarks/phantom.py [--clips 6]. Prints a table and writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from where import where

from echoflow.data.phantom import PhantomPatient
from echoflow.data.video import encode
from echoflow.types import View

SETTINGS = ((128, 50.0), (64, 32.0), (32, 16.0))  # frames, frames/s


def measure(view: View, frames: int, fps: float, clips: int) -> dict:
    """CPU seconds of rendering and of coding, per clip."""
    render = code = 0.0
    size = 0
    for patient in range(clips):
        start = time.process_time()
        made = PhantomPatient.sample(9, patient).render(view, frames=frames, fps=fps)
        middle = time.process_time()
        size += len(encode(made.clip.video, fps, ".avi"))
        render += middle - start
        code += time.process_time() - middle
    return {
        "view": view.name,
        "frames": frames,
        "fps": fps,
        "render frames/s": round(frames * clips / render, 1),
        "with avi frames/s": round(frames * clips / (render + code), 1),
        "seconds per clip": round((render + code) / clips, 4),
        "kB per frame": round(size / frames / clips / 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure(View.A4C, 4, 50.0, 1)  # warm up
    rows = [measure(view, *setting, args.clips) for view in View for setting in SETTINGS]
    print(" ".join(f"{name:>18s}" for name in rows[0]))
    for row in rows:
        print(" ".join(f"{value!s:>18s}" for value in row.values()))
    args.out.mkdir(parents=True, exist_ok=True)
    note = "CPU seconds of one thread, including patient set-up and masks"
    text = json.dumps(
        {**where(), "note": note, "clips per row": args.clips, "rows": rows}, indent=2
    )
    (args.out / "phantom.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
