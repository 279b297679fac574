"""Clips with what is known of their LV, read in this process or ahead of it in others."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np

from echoflow.data.container import as_flaw
from echoflow.data.findings import Finding
from echoflow.data.manifest import Manifest
from echoflow.data.phantom.layout import read_truth, truth_path
from echoflow.data.prepare import Window, fit, load_clip
from echoflow.data.resample import resample_time
from echoflow.data.truths import lv_masks
from echoflow.files import sha256
from echoflow.types import Clip, InputError, Record

T = TypeVar("T")

WHOLE = Window()  # every frame at its own rate
_WAITING = 3  # clips per process that are asked for ahead

Labelled = tuple[Clip, np.ndarray | None]
"""A clip and its LV masks (t, h, w) bool, where every frame has one."""


@dataclass(frozen=True)
class Loaded:
    """A clip, the frames whose LV is known, (k,), their masks (k, h, w), and its file's SHA-256.

    `note` is a defect that was read around.
    """

    clip: Clip
    traced: np.ndarray
    masks: np.ndarray
    sha256: str
    note: Finding | None = None


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

    def only(self, number: int) -> Feed:
        """A feed of one clip, light enough to be sent to another process."""
        record = self.records[number]
        return Feed(_about(self.manifest, record), (record,), self.window)


def load(feed: Feed) -> Loaded | Finding:
    """The only clip of a feed, or why it cannot be used."""
    (record,) = feed.records
    path = feed.manifest.video(record)
    try:
        clip = load_clip(feed.manifest, record, feed.window)
        note = None
        try:
            masks = known_masks(feed.manifest, record, feed.window, clip)
        except InputError as error:  # the video is sound, and worth more than its drawing
            masks = np.arange(0), np.empty((0, *clip.video.shape[1:]), bool)
            note = Finding("bad-labels", record.path, _under(error, feed.manifest))
        return Loaded(clip, *masks, sha256(path), note)
    except InputError as error:
        kind = as_flaw(error, path, record.path).kind
        return Finding(kind, record.path, _under(error, feed.manifest), record.uid)
    except Exception as error:  # whatever a decoder raises is a reason to leave the video out
        reason = f"{type(error).__name__}: {_under(error, feed.manifest)}"
        return Finding("unreadable", record.path, f"cannot be read ({reason}).", record.uid)


def known_masks(
    manifest: Manifest, record: Record, window: Window, clip: Clip
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the clip (k,) whose LV is known, and their masks (k, size, size) bool.

    Every frame of a phantom is known, and those frames of a recording that are drawn. A drawn frame
    that the window skips stands for the one shown nearest to it, half a step away at most.
    """
    truth = truth_path(manifest.root, record.uid)
    if truth.is_file():
        whole = read_truth(truth).mask
        if whole.shape == (record.frames, record.height, record.width):
            fitted, _ = fit(_grey(whole), record.fps, window, str(truth))
            return np.arange(len(clip.video)), fitted > 127
    drawn = lv_masks(manifest, record)
    pairs = _shown(sorted(drawn), record, window, clip)
    if not pairs:
        return np.arange(0), np.empty((0, *clip.video.shape[1:]), bool)
    masks = _grey(np.stack([drawn[frame] for frame in pairs.values()]))
    return np.array(list(pairs)), window.space.fit(masks) > 127


def _shown(frames: list[int], record: Record, window: Window, clip: Clip) -> dict[int, int]:
    """Frame of the clip -> the one of `frames` of the video that it shows, in order."""
    held = "hold" if record.frames == 1 else window.short
    step, start = record.fps / clip.fps, window.start * record.fps
    numbers = np.arange(1, record.frames + 1)  # from 1: black frames come out as 0
    place = (record.fps, clip.fps, len(clip.video), window.time, start, held)
    shown = resample_time(numbers, *place) - 1
    pairs: dict[int, int] = {}
    for frame in frames:
        away = np.abs(shown - frame)
        if away.min() <= step / 2:
            pairs |= dict.fromkeys(np.flatnonzero(away == away.min()).tolist(), frame)
    return dict(sorted(pairs.items()))


def _grey(masks: np.ndarray) -> np.ndarray:
    return masks.astype(np.uint8) * 255


def _under(error: Exception, manifest: Manifest) -> str:
    """What an error says, with names relative to the root."""
    return " ".join(str(error).replace(f"{manifest.root}{os.sep}", "").split())


def _about(manifest: Manifest, record: Record) -> Manifest:
    """What a manifest knows of one video."""

    def of(table: Mapping[str, T]) -> Mapping[str, T]:
        return {record.uid: table[record.uid]} if record.uid in table else {}

    return replace(
        manifest,
        records=(record,),
        extras=of(manifest.extras),
        tracings=of(manifest.tracings),
        outlines=of(manifest.outlines),
        label_maps=of(manifest.label_maps),
        findings=(),
    )


class Reader:
    """Loads clips in order: in this process, or ahead of it in `workers` others.

    What waits in memory is a few clips for each. A video that ends the process which decodes it is
    the only one that is lost.
    """

    def __init__(self, feed: Feed, workers: int = 0):
        self.feed, self.workers = feed, workers
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, numbers: Iterable[int]) -> Iterator[Loaded | Finding]:
        feeds = map(self.feed.only, numbers)
        return self._ahead(feeds) if self.workers else map(load, feeds)

    def close(self) -> None:
        """Ends the processes; what they have not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _ahead(self, feeds: Iterator[Feed]) -> Iterator[Loaded | Finding]:
        flying: deque[tuple[Feed, Future[Loaded | Finding]]] = deque()
        while True:
            self._pool = self._pool or _processes(self.workers)
            try:
                room = _WAITING * self.workers - len(flying)
                for feed in islice(feeds, room):
                    flying.append((feed, self._pool.submit(load, feed)))
                if not flying:
                    return
                loaded = flying[0][1].result()
            except BrokenProcessPool:  # one of those in the air did it: find out which
                self.close()
                yield from (_alone(feed) for feed, _ in flying)
                flying.clear()
                continue
            flying.popleft()
            yield loaded


def _alone(feed: Feed) -> Loaded | Finding:
    with _processes(1) as pool:
        try:
            return pool.submit(load, feed).result()
        except BrokenProcessPool:
            (record,) = feed.records
            detail = f"{record.path} ends the process that reads it."
            return Finding("unreadable", record.path, detail, record.uid)


def _processes(workers: int) -> ProcessPoolExecutor:
    """Processes that begin anew: threads of this one would not survive a fork."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start)


def _start() -> None:
    """Ctrl-C is for the parent; several processes share the cores, so each has one thread."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
