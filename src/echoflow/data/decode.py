"""Every frame of a dataset, decoded once to see whether it can be.

A header may promise what its file does not hold. With several workers each video is decoded in a
process of its own kind, so that not even a decoder that crashes ends the check.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from echoflow.data.container import as_flaw
from echoflow.data.findings import Finding, Kind
from echoflow.data.manifest import Manifest
from echoflow.data.video import read_gray
from echoflow.types import InputError, Record

_WAITING = 4  # videos per worker that are handed out ahead


@dataclass(frozen=True)
class Decoded:
    """How many videos and frames were decoded in how many seconds, and what could not be."""

    videos: int
    frames: int
    seconds: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Job:
    """One video to decode, `path` relative to `root`, and what its record says of it."""

    root: Path
    uid: str
    path: str
    frames: int
    height: int
    width: int

    @classmethod
    def of(cls, manifest: Manifest, record: Record) -> Job:
        """The job of a record."""
        shape = (record.frames, record.height, record.width)
        return cls(manifest.root, record.uid, record.path, *shape)


Outcome = tuple[int, Finding | None]
"""Frames that were decoded, and why the video has to be left out, if it has to."""


def decode_all(
    manifest: Manifest, workers: int = 1, progress: Callable[[int, int], None] = lambda *_: None
) -> Decoded:
    """Decodes every video of a manifest, in this process or in several; one at a time in each."""
    started = time.perf_counter()
    jobs = [Job.of(manifest, record) for record in manifest.records]
    frames = 0
    findings: list[Finding] = []
    outcomes = map(decode, jobs) if workers == 1 else in_processes(jobs, workers)
    for done, (count, finding) in enumerate(outcomes, 1):
        frames += count
        findings += [] if finding is None else [finding]
        progress(done, len(jobs))
    return Decoded(len(jobs), frames, time.perf_counter() - started, tuple(findings))


def decode(job: Job) -> Outcome:
    """Decodes one video. Whatever a decoder raises is a reason to leave the video out."""
    try:
        video, _ = read_gray(job.root / job.path, strict=True)
    except InputError as error:
        flaw = as_flaw(error, job.root / job.path, job.path)
        return 0, flaw.found(job.path, job.uid)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".replace(str(job.root), "").strip()
        return 0, _finding(job, "unreadable", f"cannot be decoded ({reason})")
    frames, height, width = video.shape
    if frames != job.frames:
        return frames, _finding(job, "frame-count", f"has {frames} frames, not {job.frames}")
    if (height, width) != (job.height, job.width):
        sizes = f"{width}x{height} pixels, not {job.width}x{job.height}"
        return frames, _finding(job, "wrong-size", f"has {sizes}")
    return frames, None


def in_processes(
    jobs: Iterable[Job], workers: int, work: Callable[[Job], Outcome] = decode
) -> Iterator[Outcome]:
    """`work` for every job, in order. A job whose process dies is the only one that is lost."""
    waiting = deque(jobs)
    while waiting:
        flying: deque[tuple[Job, Future[Outcome]]] = deque()
        with _pool(workers) as pool:
            try:
                while waiting or flying:
                    while waiting and len(flying) < _WAITING * workers:
                        flying.append((waiting[0], pool.submit(work, waiting[0])))
                        waiting.popleft()
                    yield flying[0][1].result()
                    flying.popleft()
                return
            except BrokenProcessPool:  # somebody in the air did it: find out who
                suspects = [job for job, _ in flying]
        yield from (_alone(job, work) for job in suspects)


def _alone(job: Job, work: Callable[[Job], Outcome]) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(work, job).result()
        except BrokenProcessPool:
            return 0, _finding(job, "unreadable", "ends the decoder that reads it")


def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes that begin anew: threads of this one would not survive a fork."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def _finding(job: Job, kind: Kind, what: str) -> Finding:
    return Finding(kind, job.path, f"{job.path} {what}.", job.uid)
