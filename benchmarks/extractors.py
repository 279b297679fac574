"""Feature networks: frames per second, and memory that does not grow with the number of videos.

Usage: python benchmarks/extractors.py [--names ef,random,r2plus1d] [--videos 4] [--batch 2]
                                       [--device cpu] [--folder WEIGHTS]

Videos of 112 x 112 are made as they are asked for, so that what memory there is belongs to the
network and its features. Every network is measured in a process of its own, over 4 N videos: the
growth is that of the peak from the Nth to the last, per video. Published networks whose file
is not at hand are measured without weights, which changes nothing of this. Frames a second are
also given as a share of the first network's, named in the table: the machine's speed and whatever
else it does are in both. Prints a table and writes results/extractors.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from where import where

from echoflow.distances import EXTRACTORS, extractor
from echoflow.encoders import TRUNKS, untrained
from echoflow.files import atomic_file
from echoflow.metrics.features import FeatureExtractor, extracted
from echoflow.types import InputError

NAMES = ("ef", "random", *TRUNKS, "inception", "i3d")
SIDE = 112
WARM = 3  # until the allocator has what it needs


def opened(name: str, folder: str | None, device: str) -> tuple[FeatureExtractor, bool]:
    """The network, and whether it has its weights; `InputError` if it cannot be built at all."""
    try:
        return extractor(name, folder=folder), True
    except InputError:
        if name not in TRUNKS:
            raise
        return untrained(name, device), False


def videos(count: int, frames: int) -> Iterator[np.ndarray]:
    """Noise: the values do not matter."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (frames, SIDE, SIDE), np.uint8)


def measured(name: str, count: int, args: argparse.Namespace) -> dict[str, object]:
    """One network over 4 `count` videos in this process, after `WARM` batches, not timed."""
    network, filled = opened(name, args.folder, args.device)
    frames = 32 if name in ("ef", "echoprime") else 16
    extracted(network, videos(WARM * args.batch, frames), batch=args.batch)
    few: list[float] = []

    def tell(done: int) -> None:
        if done >= count and not few:
            few.append(peak_mb())

    start = time.perf_counter()
    found = extracted(network, videos(4 * count, frames), batch=args.batch, tell=tell)
    seconds = time.perf_counter() - start
    return {
        "extractor": name,
        "weights": filled,
        "frames": frames,
        "features": int(found.values.shape[1]),
        "frames_per_s": 4 * count * frames / seconds,
        "peak_mb_few": few[0],
        "peak_mb": peak_mb(),
        "growth_mb_per_video": (peak_mb() - few[0]) / (3 * count),
    }


def peak_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(name: str, count: int) -> dict[str, object] | str:
    """`measured` in a process of its own; the reason if it cannot be."""
    words = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--count", str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", default=",".join(NAMES))
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/extractors.json"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.one, args.count, args)))
        return
    print(
        f"of {', '.join(EXTRACTORS)}; {args.videos} and {4 * args.videos} videos, {args.device}\n"
    )
    names = args.names.split(",")
    head = ("extractor", "weights", "frames", "frames/s", f"of {names[0]}'s", "peak, MB")
    print("| " + " | ".join((*head, "growth, MB per video")) + " |\n" + "| --- " * 7 + "|")
    rows: list[dict[str, object]] = []
    for name in names:
        found = apart(name, args.videos)
        if isinstance(found, str):
            rows.append({"extractor": name, "left_out": found})
            print(f"| {name} | - | - | - | - | - | - | {found}", flush=True)
            continue
        rows.append(found)
        base = float(str(rows[0].get("frames_per_s", "nan")))
        found["of_first"] = float(str(found["frames_per_s"])) / base
        print(
            f"| {name} | {'its own' if found['weights'] else 'none'} | {found['frames']} | "
            f"{found['frames_per_s']:.1f} | {found['of_first']:.3g} | {found['peak_mb']:.0f} | "
            f"{found['growth_mb_per_video']:+.3f} |",
            flush=True,
        )
    card = {**where(), "device": args.device, "videos": args.videos, "batch": args.batch}
    args.out.parent.mkdir(exist_ok=True)
    with atomic_file(args.out) as work:
        work.write_text(json.dumps({**card, "size": [SIDE, SIDE], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
