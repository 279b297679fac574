"""Clips with what is known of their LV, read in this process or ahead of it in others."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from echoflow.data.findings import Finding, Kind
from echoflow.data.manifest import Manifest
from echoflow.data.phantom.layout import read_truth, truth_path
from echoflow.data.prepare import Window, fit, load_clip
from echoflow.files import sha256
from echoflow.types import Clip, InputError, Record

WHOLE = Window()  # every frame at its own rate

Labelled = tuple[Clip, np.ndarray | None]
"""A clip and its LV masks (t, h, w) bool, where every frame has one."""


@dataclass(frozen=True)
class Loaded:
    """A clip, the frames whose LV is known, (k,), their masks (k, h, w), and its file's SHA-256."""

    clip: Clip
    traced: np.ndarray
    masks: np.ndarray
    sha256: str


Read = Callable[[Iterable[int]], Iterator[Loaded | Finding]]


@dataclass(frozen=True)
class Feed:
    """The clips of `records` in their window; iterating gives them with their LV masks."""

    manifest: Manifest
    records: tuple[Record, ...]
    window: Window = WHOLE

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Labelled]:
        for record in self.records:
            clip = load_clip(self.manifest, record, self.window)
            traced, masks = known_masks(self.manifest, record, self.window, clip)
            yield clip, masks if len(traced) == len(clip.video) else None

    def load(self, number: int) -> Loaded | Finding:
        """Clip `number`, or why it cannot be used."""
        record = self.records[number]
        try:
            clip = load_clip(self.manifest, record, self.window)
            masks = known_masks(self.manifest, record, self.window, clip)
            return Loaded(clip, *masks, sha256(self.manifest.video(record)))
        except (InputError, OSError) as error:
            return Finding(_kind(error), record.path, _sentence(error), record.uid)


def known_masks(
    manifest: Manifest, record: Record, window: Window, clip: Clip
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the clip (k,) whose LV is known, and their masks (k, size, size) bool."""
    truth = truth_path(manifest.root, record.uid)
    if truth.is_file():
        whole = read_truth(truth).mask
        if whole.shape == (record.frames, record.height, record.width):
            fitted, _ = fit(whole.astype(np.uint8) * 255, record.fps, window, str(truth))
            return np.arange(len(clip.video)), fitted > 127
    return np.arange(0), np.empty((0, window.size, window.size), bool)


@contextmanager
def reader(feed: Feed, workers: int = 0) -> Iterator[Read]:
    """Yields a function from numbers to what they load, in order.

    With `workers`, as many processes read ahead; what waits in memory is a few clips for each.
    """
    if workers < 1:
        yield lambda numbers: map(feed.load, numbers)
        return
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(feed,))
    try:
        yield lambda numbers: _ahead(pool, numbers, 2 * workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(pool: Executor, numbers: Iterable[int], ahead: int) -> Iterator[Loaded | Finding]:
    waiting: deque[Future[Loaded | Finding]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(_load, number))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process that reads videos was killed, most often for want of memory; ask for fewer "
            "workers."
        ) from error


_feed: list[Feed] = []  # in a worker process: what it reads from


def _start(feed: Feed) -> None:
    """Ctrl-C is for the parent; several processes share the cores, so each has one thread."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    _feed[:] = [feed]


def _load(number: int) -> Loaded | Finding:
    return _feed[0].load(number)


def _kind(error: Exception) -> Kind:
    told = str(error)
    if "the manifest says" in told:
        return "frame-count"
    return "truncated" if "truncated" in told else "unreadable"


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())
