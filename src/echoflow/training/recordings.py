"""Recordings to train on, as many and as long as they come: read from disk when they are needed.

The protocols of echonet-dynamic: every n-th frame of a clip, mean grey where there is no picture,
and the two drawn frames of a video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.clips import FrameSource, Source
from echoflow.data.feed import Feed, Reader
from echoflow.data.findings import Finding
from echoflow.data.manifest import Manifest
from echoflow.data.masks import area, ed_es
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.stream import joined
from echoflow.data.truths import lv_masks
from echoflow.training.options import Grey
from echoflow.types import Batch, Clip, InputError, Record

WHOLE = Window()  # all frames, 112 x 112
BASE = "BaseName"  # the column of synthetic datasets that names the heart of a video


@dataclass(frozen=True)
class Several:
    """Sources one after the other."""

    parts: tuple[Source, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        ends = np.cumsum([len(part) for part in self.parts])
        which = np.searchsorted(ends, index, side="right").tolist()
        firsts = ends - [len(part) for part in self.parts]
        return joined(
            [
                self.parts[k].batch(np.array([i - firsts[k]]), rng)
                for k, i in zip(which, index.tolist(), strict=True)
            ]
        )


@dataclass(frozen=True)
class Clips:
    """Clips with their EF: x (b, frames, h, w) in [-1, 1].

    An example is a heart, of whose videos a random one is taken, and of that every n-th frame from
    a random place: so many that a second has about `fps`, or every one. `grey` fills up videos that
    are too short, and surrounds the picture by `pad` pixels before a random part of the former size
    is cut out.
    """

    manifest: Manifest
    hearts: tuple[tuple[Record, ...], ...]
    frames: int
    fps: float | None = None
    pad: int = 0
    grey: float = -1.0

    def __post_init__(self) -> None:
        without = [record.uid for heart in self.hearts for record in heart if record.ef is None]
        if without or not self.hearts:
            found = f"{len(without)} have none, such as {without[0]}" if without else "there are no"
            raise InputError(
                f"{self.manifest.root}: EF regression needs videos with an EF; {found}."
            )

    def __len__(self) -> int:
        return len(self.hearts)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        chosen = [self.hearts[i][rng.integers(len(self.hearts[i]))] for i in index.tolist()]
        x = torch.stack([self._clip(record, rng) for record in chosen])
        ef = torch.tensor([record.ef for record in chosen], dtype=torch.float32)
        return Batch(x, Condition(ef=ef), tuple(record.uid for record in chosen))

    def _clip(self, record: Record, rng: np.random.Generator) -> Tensor:
        video = torch.from_numpy(to_float(load_clip(self.manifest, record, WHOLE).video))
        every = 1 if self.fps is None else period(record.fps, self.fps)
        return shifted(self._cut(video, every, rng), self.pad, self.grey, rng)

    def _cut(self, video: Tensor, every: int, rng: np.random.Generator) -> Tensor:
        missing = self.frames * every - len(video)
        if missing > 0:
            video = torch.cat([video, video.new_full((missing, *video.shape[1:]), self.grey)])
        start = rng.integers(len(video) - (self.frames - 1) * every)
        return video[start::every][: self.frames]


@dataclass(frozen=True)
class Drawn:
    """End-diastole and end-systole of recordings and their LV: x (b, 2, h, w), mask (b, 2, h, w).

    `frames` are the two of each record, `masks` (n, 2, h, w) bool.
    """

    manifest: Manifest
    records: tuple[Record, ...]
    frames: tuple[tuple[int, int], ...]
    masks: np.ndarray

    @classmethod
    def of(cls, manifest: Manifest, records: Iterable[Record]) -> Drawn:
        """The records that are drawn in two frames or more; others are passed over."""
        kept, frames, masks = [], [], []
        for record in records:
            drawn = lv_masks(manifest, record)
            if len(drawn) < 2:
                continue
            numbers = sorted(drawn)
            pair = ed_es(area(np.stack([drawn[n] for n in numbers])))
            frames.append((numbers[pair[0]], numbers[pair[1]]))
            masks.append(WHOLE.space.fit_masks(np.stack([drawn[n] for n in frames[-1]])))
            kept.append(record)
        if not kept:
            raise InputError(
                f"{manifest.root}: no video of this split has its LV drawn in two frames; "
                "use a dataset with tracings, or lv.frames=all for phantoms."
            )
        return cls(manifest, tuple(kept), tuple(frames), np.stack(masks))

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        videos = [load_clip(self.manifest, self.records[i], WHOLE).video for i in index.tolist()]
        pairs = [v[list(self.frames[i])] for v, i in zip(videos, index.tolist(), strict=True)]
        mask = torch.from_numpy(self.masks[index]).float()
        uids = tuple(self.records[i].uid for i in index.tolist())
        return Batch(torch.from_numpy(to_float(np.stack(pairs))), Condition(mask=mask), uids)


def period(fps: float, wanted: float) -> int:
    """Which frames of a video are about as far apart as those of `wanted` a second: every n-th."""
    return max(1, round(fps / wanted))


def shifted(clip: Tensor, pad: int, grey: float, rng: np.random.Generator) -> Tensor:
    """A random part of (t, h, w), of the same size, after `pad` pixels of grey all around."""
    if not pad:
        return clip
    height, width = clip.shape[-2:]
    top, left = rng.integers(2 * pad + 1, size=2).tolist()
    wide = torch.nn.functional.pad(clip, (pad,) * 4, value=grey)
    return wide[:, top : top + height, left : left + width]


def hearts(
    manifest: Manifest, records: Sequence[Record], by_anatomy: bool
) -> tuple[tuple[Record, ...], ...]:
    """The videos of each heart: one each, or those that share a `BaseName`."""
    if not by_anatomy:
        return tuple((record,) for record in records)
    groups: dict[str, list[Record]] = {}
    for record in records:
        base = manifest.extras.get(record.uid, {}).get(BASE)
        if not base:
            raise InputError(
                f"{manifest.root}: {record.uid} has no {BASE}, which says whose video it is; set "
                "ef.by_anatomy=false to take every video by itself."
            )
        groups.setdefault(base, []).append(record)
    return tuple(tuple(group) for group in groups.values())


def every_frame(
    manifest: Manifest, records: Sequence[Record], every: int, workers: int
) -> FrameSource:
    """One frame in `every` of all videos, in memory: 12.5 kB each. `workers` processes read."""
    count = sum(-(-record.frames // every) for record in records)
    frames, uids = np.empty((count, 1, WHOLE.size, WHOLE.size), np.uint8), []
    for clip in _read(manifest, records, workers):
        some = clip.video[::every]
        frames[len(uids) : len(uids) + len(some), 0] = some
        uids += [clip.uid] * len(some)
    return FrameSource(frames, tuple(uids))


def grey_statistics(
    manifest: Manifest, records: Sequence[Record], videos: int, workers: int
) -> tuple[Grey, Grey]:
    """Mean and std of the grey levels 0..255 of `videos` of the records, the same ones always."""
    order = np.random.default_rng(2).permutation(len(records))[:videos].tolist()
    sums = np.zeros(3)
    for clip in _read(manifest, [records[i] for i in order], workers):
        x = clip.video.astype(np.float64)
        sums += x.size, x.sum(), np.square(x).sum()
    mean = float(sums[1] / sums[0])
    std = float(np.sqrt(sums[2] / sums[0] - mean**2))
    return (mean, mean, mean), (std, std, std)


def _read(manifest: Manifest, records: Sequence[Record], workers: int) -> Iterator[Clip]:
    reader = Reader(Feed(manifest, tuple(records), WHOLE), workers)
    try:
        for loaded in reader(range(len(records))):
            if isinstance(loaded, Finding):
                raise InputError(f"{manifest.root / loaded.path}: {loaded.detail}")
            yield loaded.clip
    finally:
        reader.close()
