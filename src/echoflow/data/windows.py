"""The latents of a dataset, read from disk a few frames at a time.

Shards are mapped into memory: opening a folder costs the same for ten videos as for ten thousand,
and a frame that was read before comes from the system's cache, not from the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echoflow.data import shardfile
from echoflow.data.shardfile import MASK, TRACED, UNKNOWN, Row, damaged, open_shard, shard_name
from echoflow.latents import LatentStats
from echoflow.types import InputError, Record, Split


@dataclass(frozen=True)
class Latents:
    """The latents of a dataset, or of one split of it. Video i is `records[i]`.

    A video may have any number of frames. `draw`, `raw` and `mask` read what is asked for, while
    `moments` and `masks` hold everything in memory and need videos of one length.
    """

    records: tuple[Record, ...]
    stats: LatentStats
    folder: Path
    rows: tuple[Row, ...]
    _shards: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, folder: str | Path, split: Split | None = None) -> Latents:
        """Every video of a split."""
        folder = Path(folder)
        card = shardfile.read_card(folder)
        rows = tuple(
            row for row in shardfile.read_index(folder) if split in (None, row.record.split)
        )
        if not rows:
            raise InputError(
                f"{folder} has no latents of split {split}; encode that split, or all videos with "
                "--splits shuffled if they came without splits."
            )
        return cls(
            tuple(row.record for row in rows), shardfile.statistics(card, folder), folder, rows
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        """Without open files: a process that gets a copy opens its own."""
        return {**self.__dict__, "_shards": {}}

    @cached_property
    def lengths(self) -> np.ndarray:
        """Frames of every video, (n,) int64."""
        return np.array([record.frames for record in self.records])

    @cached_property
    def _names(self) -> frozenset[str]:
        """Every tensor of every shard."""
        some = {row.shard: video for video, row in enumerate(self.rows)}
        return frozenset().union(*(self._shard(video).keys() for video in some.values()))

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a latent."""
        _, double, height, width = self._tensor(0).get_shape()
        return double // 2, height, width

    @cached_property
    def moments(self) -> Tensor:
        """Every posterior, (n, t, 2c, h, w), in memory."""
        if self.lengths.min() < self.lengths.max():
            raise InputError(
                f"{self.folder} mixes videos of {self.lengths.min()} to {self.lengths.max()} "
                "frames; encode with a fixed number of frames to load them together."
            )
        return torch.stack([self.raw(i, 0, int(n)) for i, n in enumerate(self.lengths)])

    @cached_property
    def masks(self) -> Tensor | None:
        """LV masks (n, t, h, w) uint8 in memory; None unless every frame of every video has one."""
        if any(len(self.traced(i)) != n for i, n in enumerate(self.lengths)):
            return None
        return torch.stack([self._tensor(i, MASK)[:] for i in range(len(self))])

    def raw(self, video: int, start: int, stop: int) -> Tensor:
        """Posterior mean and std of frames `start` to `stop`, (f, 2c, h, w), as they are stored."""
        part = self._tensor(video)[start:stop]
        if len(part) != stop - start:
            raise self._misfit(video, f"frames {start} to {stop} of {self.lengths[video]}")
        return part

    def draw(
        self, index: np.ndarray, frames: np.ndarray, rng: np.random.Generator | None
    ) -> Tensor:
        """Normalised latents (b, f, c, h, w) of `frames` (b, f) of videos `index` (b,).

        Posterior draws, or its means when `rng` is None.
        """
        pairs = list(zip(index.tolist(), frames, strict=True))
        shape = (len(pairs), frames.shape[1], *self.shape)
        z = torch.empty(shape) if rng is None else _normal(rng, shape)
        for out, (video, numbers) in zip(z, pairs, strict=True):  # in place: a video fits a cache
            mean, std = self._picked(video, numbers).chunk(2, dim=1)
            out.copy_(mean) if rng is None else out.mul_(std).add_(mean)
        return self.stats.normalise(z.flatten(0, 1)).view_as(z)

    def traced(self, video: int) -> np.ndarray:
        """Frames of a video whose LV is known, (k,) int64; empty where none is."""
        known = self.rows[video].traced
        if known == UNKNOWN:  # a folder of format 1: masks of every frame, or none
            has = f"{self.records[video].uid}{MASK}" in self._names
            known = self.records[video].frames if has else 0
        if known in (0, self.records[video].frames):
            return np.arange(known)
        return self._tensor(video, TRACED)[:].numpy().astype(int)

    def mask(self, index: np.ndarray, frames: np.ndarray) -> Tensor | None:
        """LV masks (b, f, h, w) float32 of `frames` (b, f); zeros where a video has none at all.

        None if no video of the dataset has any.
        """
        if not self._any_traced:
            return None
        found = [self._masks_of(i, row) for i, row in zip(index.tolist(), frames, strict=True)]
        return torch.stack(found).float()

    @cached_property
    def _any_traced(self) -> bool:
        return any(len(self.traced(i)) for i in range(len(self)))

    def _masks_of(self, video: int, frames: np.ndarray) -> Tensor:
        known = self.traced(video)
        if not len(known):
            return torch.zeros(len(frames), *self.shape[1:], dtype=torch.uint8)
        place = np.searchsorted(known, frames).clip(0, len(known) - 1)
        if (known[place] != frames).any():
            raise InputError(f"{self.records[video].uid} has no LV mask in one of frames {frames}.")
        return self._tensor(video, MASK)[:][torch.from_numpy(place)]

    def _picked(self, video: int, frames: np.ndarray) -> Tensor:
        """Frames in any order, read in as few pieces as possible."""
        runs = [self.raw(video, int(run[0]), int(run[-1]) + 1) for run in _runs(frames)]
        return runs[0] if len(runs) == 1 else torch.cat(runs)

    def _tensor(self, video: int, suffix: str = "") -> Any:
        """A tensor of a video, of which slices are read."""
        name = f"{self.records[video].uid}{suffix}"
        try:
            return self._shard(video).get_slice(name)
        except Exception as error:  # the Rust binding has no narrower class for a missing name
            if isinstance(error, InputError):
                raise
            raise self._misfit(video, name) from error

    def _shard(self, video: int) -> Any:
        number = self.rows[video].shard
        if number not in self._shards:
            self._shards[number] = open_shard(self.folder / shard_name(number))
        return self._shards[number]

    def _misfit(self, video: int, what: str) -> InputError:
        row = self.rows[video]
        return damaged(self.folder / shard_name(row.shard), f"{row.record.uid}: no {what}")


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, np.float32))


def _runs(frames: np.ndarray) -> Iterator[np.ndarray]:
    """The frames cut where one does not follow the one before it."""
    yield from np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1)
