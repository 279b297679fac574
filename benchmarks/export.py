"""Writing and checking a generated dataset: speed and memory against its size, and what kills cost.

The networks are left out: anatomies are noise, videos and cavities come from a shelf of eight
phantom hearts. What is measured is the rest: the privacy filter, tracings, video files, tables, the
Parquet manifest, the check by both tools' rules (every video decoded) and the card.
Each size runs in a process of its own, for its peak memory. Then a dataset is written by processes
that are killed at random moments, and compared with the undisturbed one.

Usage: python benchmarks/export.py [--sizes 100 300 1000] [--killed 300]. Prints, writes results/.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from where import where

from echoflow.data.phantom import PhantomPatient
from echoflow.privacy import Gallery, PrivacyFilter
from echoflow.sampling import SamplingPlan, noise_like
from echoflow.synthesis import DatasetPlan, check, synthesise
from echoflow.types import View

FRAMES, FPS, HEARTS = 64, 32.0, 8
TAU = 0.75  # rejects a few per cent of noise


@dataclass
class Shelf:
    """An engine whose videos are rendered already; heart i follows from the first seed's value."""

    videos: Tensor
    masks: np.ndarray  # (hearts, t, h, w)
    privacy: PrivacyFilter
    fps: float = FPS
    anatomy: SamplingPlan = field(default_factory=SamplingPlan)
    motion: SamplingPlan = field(default_factory=SamplingPlan)
    log: Path = Path(os.devnull)  # a byte for every video that is made
    untraced: tuple[View, ...] = ()

    @classmethod
    def filled(cls) -> Shelf:
        patients = [PhantomPatient.sample(1001, i) for i in range(HEARTS)]
        made = [p.render(View.A4C, frames=FRAMES, fps=FPS, phase=0.0) for p in patients]
        videos = torch.from_numpy(np.stack([one.clip.video for one in made]))
        masks = np.stack([one.truth.mask for one in made])
        features = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
        gallery = Gallery(features, tuple(f"0X{i:04d}" for i in range(len(features))))
        return cls(videos, masks, PrivacyFilter(lambda z: z.flatten(1)[:, :16], gallery, TAU))

    def anatomies(
        self,
        views: Sequence[View],
        masks: Tensor | None,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
    ) -> Tensor:
        z = noise_like((4, 28, 28), seeds)
        z[:, 0, -1, -1] = torch.tensor([seed % HEARTS for seed in seeds])
        return z

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor:
        with self.log.open("a") as log:
            log.write("." * len(seeds))
        return frame[:, :, None]

    def decode(self, z: Tensor) -> Tensor:
        return self.videos[z[:, 0, 0, -1, -1].long()]

    def regressor(self, video: Tensor) -> Tensor:
        return torch.full((len(video),), 50.0)

    def mask(self, view: View, seed: int) -> np.ndarray:
        return self.masks[seed % HEARTS, 0]

    def finder(self, video: np.ndarray, asked: np.ndarray) -> np.ndarray:
        heart = next(i for i in range(HEARTS) if np.array_equal(self.masks[i, 0], asked))
        return self.masks[heart]


def measure(n: int) -> dict[str, object]:
    """One dataset of `n` videos, in this process."""
    shelf = Shelf.filled()
    before = _peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = synthesise(shelf, DatasetPlan(n=n), Path(folder, "out"), shelf.mask)
        whole = time.perf_counter() - start
        peak = _peak_mb()
        start = time.perf_counter()
        faults = check(made).faults
        checked = time.perf_counter() - start
        size = sum(path.stat().st_size for path in made.root.rglob("*") if path.is_file())
    assert not faults
    return {
        "videos": n,
        "frames": n * FRAMES,
        "videos/s, all": round(n / whole, 1),
        "videos/s, check alone": round(n / checked, 1),
        "MB on disk": round(size / 1e6, 1),
        "MB of memory before": round(before),
        "MB at most": round(peak),
    }


def killed(n: int, kills: int = 5) -> dict[str, object]:
    """A dataset of `n` videos whose writer is killed again and again, and an undisturbed one."""
    shelf, plan = Shelf.filled(), DatasetPlan(n=n)
    moments = sorted(random.Random(0).sample(range(1, n + 1), kills))
    with tempfile.TemporaryDirectory() as folder:
        whole, cut, log = Path(folder, "whole"), Path(folder, "cut"), Path(folder, "log")
        undisturbed = _seconds(lambda: synthesise(shelf, plan, whole, shelf.mask))
        shelf = replace(shelf, log=log)
        start = time.perf_counter()
        for moment in moments:
            _die(shelf, plan, cut, moment)
        last = _seconds(lambda: synthesise(shelf, plan, cut, shelf.mask))
        files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
        there = [path.relative_to(cut) for path in cut.rglob("*") if path.is_file()]
        same = all((whole / name).read_bytes() == (cut / name).read_bytes() for name in files)
        return {
            "videos": n,
            "killed at video": moments,
            "made again, in all": log.stat().st_size - n,
            "seconds undisturbed": round(undisturbed, 1),
            "seconds with kills": round(time.perf_counter() - start, 1),
            "seconds of the last start": round(last, 1),
            "bit for bit as undisturbed": same and sorted(files) == sorted(there),
        }


def _die(shelf: Shelf, plan: DatasetPlan, out: Path, moment: int) -> None:
    """Goes on in a process that kills itself when so many videos are there."""

    def die(done: int, total: int) -> None:
        if done >= moment:
            os.kill(os.getpid(), signal.SIGKILL)

    work = multiprocessing.get_context("fork").Process(
        target=synthesise, args=(shelf, plan, out, shelf.mask, die)
    )
    work.start()
    work.join()
    assert work.exitcode == -signal.SIGKILL


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(work: str, n: int) -> dict[str, object]:
    """One of the measurements above in a process of its own."""
    words = [sys.executable, __file__, f"--{work}", str(n)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--killed", type=int, default=300)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one-killed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.one or args.one_killed:
        print(json.dumps(measure(args.one) if args.one else killed(args.one_killed)))
        return
    rows = [alone("one", n) for n in args.sizes]
    print("  ".join(rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>{len(name)}s}" for name, value in row.items()))
    restart = alone("one-killed", args.killed)
    print(*(f"{name}: {value}" for name, value in restart.items()), sep="\n")
    args.out.mkdir(parents=True, exist_ok=True)
    note = f"one thread; {FRAMES} frames of 112x112 at {FPS:g} Hz per video; wall time"
    text = json.dumps({**where(), "note": note, "rows": rows, "killed": restart}, indent=2)
    (args.out / "export.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
