"""Latents: random windows from disk, batches for training, and encoding that can be killed.

Three claims, each with its table:

1. A random window of 64 frames from 400 videos takes at most 1.5 ms from a cold cache and 0.1 ms
   from a warm one; batches of 32 such windows keep a training step from waiting (< 5 %).
2. Checking and encoding 1,000 phantom videos needs the memory of a few hundred.
3. A process killed on the way costs what its last shard was, and nothing is made twice.

The autoencoder of 2 and 3 is tiny and untrained: what is measured is all that lies around it.
Usage: python benchmarks/latents.py [--videos 1000] [--parts reading] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from where import where

from echoflow.data.check import check
from echoflow.data.clips import ClipSource
from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.data.prepare import Window
from echoflow.data.shards import Latents, encode_clips, labelled
from echoflow.data.shardwriter import PER_SHARD, Item, write_latents
from echoflow.data.sources import open_source
from echoflow.latents import Moments
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.types import Batch, Record, Split, View

OUT = Path(__file__).parent / "results" / "latents.json"
FRAMES, BATCH = 64, 32
PARTS = ("reading", "encoding")
ENCODED = 8  # frames of each phantom that go through the network; all are decoded
SHAPE = (4, 28, 28)
SPAWN = multiprocessing.get_context("spawn")


class Noise:
    """Latents of EchoNet-Dynamic's size and lengths, at random."""

    findings = ()

    def __init__(self, videos: int):
        lengths = np.random.default_rng(0).integers(100, 252, videos).tolist()
        known = (None, 50.0), (112, 112, 55.0, None, None)
        self.records = tuple(
            Record(f"v{i}", f"v{i}", "noise", View.A4C, Split.TRAIN, *known[0], n, *known[1])
            for i, n in enumerate(lengths)
        )

    def __len__(self) -> int:
        return len(self.records)

    def plan(self) -> dict[str, Any]:
        """Nothing that could change."""
        return {}

    def items(self, numbers: range) -> Iterator[Item]:
        """Noise of the right shape."""
        none = torch.empty(0, *SHAPE[1:], dtype=torch.uint8)
        for i in numbers:
            mean = torch.randn(self.records[i].frames, *SHAPE)
            yield Item(self.records[i], Moments(mean, mean.abs()), np.arange(0), none, "")


def forget(folder: Path) -> None:
    """Asks the system to drop the files of a folder from its cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(work: Callable[[], Any]) -> float:
    """Seconds of the wall clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def windows(folder: Path, cold: bool, n: int) -> list[float]:
    """Milliseconds of `n` random windows; the bytes are really read, not only mapped."""
    if cold:
        forget(folder)
    latents = Latents.read(folder)
    rng = np.random.default_rng(1)
    out = torch.empty(FRAMES, 2 * SHAPE[0], *SHAPE[1:], dtype=torch.float16)
    if not cold:
        for i in range(len(latents)):
            latents.raw(i, 0, int(latents.lengths[i])).sum()
    times = []
    for i in rng.choice(len(latents), n, replace=not cold).tolist():
        start = int(rng.integers(latents.lengths[i] - FRAMES))
        times.append(1000 * timed(lambda: out.copy_(latents.raw(i, start, start + FRAMES))))  # noqa: B023
    return times


class Batches(Dataset[Batch]):
    """Endless batches of windows."""

    def __init__(self, source: ClipSource):
        self.source = source

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, step: int) -> Batch:
        torch.set_num_threads(1)
        rng = np.random.default_rng(step)
        return self.source.batch(rng.integers(len(self.source), size=BATCH), rng)


def waiting(folder: Path, step: float, workers: int, steps: int = 20) -> float:
    """Share of the time that a step of `step` seconds, on another device, waits for its batch."""
    source = ClipSource(Latents.read(folder), FRAMES)
    loader = DataLoader(Batches(source), batch_size=None, num_workers=workers, prefetch_factor=2)
    batches = iter(loader)
    for _ in range(2 * workers):  # the first ones start the processes
        next(batches)
    time.sleep(2 * step * workers)
    waited = 0.0
    for _ in range(steps):
        waited += timed(lambda: next(batches))
        time.sleep(step)
    return waited / (waited + steps * step)


def reading(work: Path, videos: int) -> dict[str, Any]:
    """The first claim."""
    folder = work / "noise"
    seconds = timed(lambda: write_latents(Noise(videos), folder))
    size = sum(path.stat().st_size for path in folder.iterdir())
    cold = windows(folder, True, min(150, videos))
    warm = windows(folder, False, 2000)
    source = ClipSource(Latents.read(folder), FRAMES)
    batches = Batches(source)
    cpu = time.process_time()
    for step in range(5):
        batches[step]
    cpu = (time.process_time() - cpu) / 5
    opening = timed(lambda: Latents.read(folder))
    return {
        "videos": videos,
        "GB": round(size / 1e9, 2),
        "write GB/s": round(size / 1e9 / seconds, 2),
        "open ms": round(1000 * opening, 1),
        "cold ms median": round(float(np.median(cold)), 3),
        "cold ms 90 %": round(float(np.quantile(cold, 0.9)), 3),
        "warm ms median": round(float(np.median(warm)), 3),
        "warm ms 90 %": round(float(np.quantile(warm, 0.9)), 3),
        f"CPU s per batch of {BATCH}": round(cpu, 3),
        "waiting": {
            f"{step} s per step, {workers} workers": round(waiting(folder, step, workers), 4)
            for step, workers in ((0.25, 2), (0.5, 1), (1.0, 1))
        },
    }


def tiny() -> torch.nn.Module:
    """An A-VAE 4f4 that costs next to nothing."""
    torch.manual_seed(0)
    return zoo.build(AVAEConfig(4, (4, 4, 4), 1, 2, False, 1)).eval()


def encode(dataset: Path, out: Path, videos: int, workers: int, kill_at: int | None = None) -> Any:
    """Encode the first `videos` of a dataset, in this process."""
    torch.set_num_threads(1)
    manifest = open_source(dataset)
    feed = labelled(manifest, manifest.records[:videos], Window(frames=ENCODED))
    told: list[int] = []

    def progress(done: int) -> None:
        told.append(done)
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    net = tiny()
    cpu = time.process_time()
    seconds = timed(
        lambda: encode_clips(feed, net, out, "tiny", progress=progress, workers=workers)
    )
    return {
        "seconds": round(seconds, 1),
        "CPU s": round(time.process_time() - cpu, 1),
        "resumed at": told[0],
        "encoded": max(0, len(told) - 2),
    }


def look(dataset: Path, decode: bool) -> Any:
    """`data check` in this process."""
    cpu = time.process_time()
    seconds = timed(lambda: check(dataset, decode=decode))
    return {"seconds": round(seconds, 2), "CPU s": round(time.process_time() - cpu, 2)}


def _child(queue: Any, work: Callable[..., Any], words: tuple[Any, ...]) -> None:
    told = work(*words)
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    queue.put({**told, "peak MB": round(int(peak) / 1024)})


def alone(work: Callable[..., Any], *words: Any) -> dict[str, Any]:
    """`work` in a process of its own, with the memory that it took; empty if it was killed."""
    queue = SPAWN.SimpleQueue()
    process = SPAWN.Process(target=_child, args=(queue, work, words))
    process.start()
    process.join()
    return {} if process.exitcode else queue.get()


def phantoms(root: Path, videos: int, frames: int) -> Path:
    """A dataset of simulated hearts, all different."""
    if not root.exists():
        population = Population(patients=videos, seed=5, frames=frames, fps=50.0, quality=1)
        write_dynamic(population.clips(os.cpu_count() or 1), root, population.spec())
    return root


def encoding(work: Path, videos: int, frames: int) -> dict[str, Any]:
    """The second and the third claim."""
    dataset = phantoms(work / "phantoms", videos, frames)
    rows = []
    for n in (videos // 4, videos):
        done = alone(encode, dataset, work / f"latents-{n}", n, 0)
        rows.append({"videos": n, "videos/CPU s": round(n / done["CPU s"]), **done})
    ahead = alone(encode, dataset, work / "ahead", videos // 4, 1)
    kill_at = videos // 2 + 3
    died = timed(lambda: alone(encode, dataset, work / "killed", videos, 0, kill_at))
    again = alone(encode, dataset, work / "killed", videos, 0)
    same = [
        (work / "killed" / path.name).read_bytes() == path.read_bytes()
        for path in (work / f"latents-{videos}").iterdir()
    ]
    checks = {"headers": alone(look, dataset, False), "every frame": alone(look, dataset, True)}
    return {
        "videos": videos,
        "frames": frames,
        "of which encoded": ENCODED,
        "per shard": PER_SHARD,
        "encode": rows,
        "encode a quarter, 1 process reads ahead": ahead,
        "killed": {
            "at video": kill_at,
            "seconds until then": round(died, 1),
            "encoded again": again["encoded"],
            "of which twice": kill_at - again["resumed at"],
            "bit for bit as undisturbed": all(same),
        },
        "check": {
            name: {**told, "videos/CPU s": round(videos / told["CPU s"])}
            for name, told in checks.items()
        },
    }


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=32, help="per phantom video")
    parser.add_argument("--noise", type=int, default=400, help="videos of the first claim")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="others stay")
    parser.add_argument("--keep", type=Path, help="work here, and use what lies there")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(exist_ok=True)
        parts = {
            "reading": lambda: reading(work, options.noise),
            "encoding": lambda: encoding(work, options.videos, options.frames),
        }
        told = json.loads(options.out.read_text()) if options.out.is_file() else {}
        for name in options.parts:
            told[name] = parts[name]()
            busy = os.getloadavg()[0] > 2.5
            told[name]["note"] = "beside another job on the same cores" if busy else "idle machine"
            print(json.dumps(told[name], indent=2))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({**where(), **told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
