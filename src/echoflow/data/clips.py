"""Training sources: videos in memory and latents on disk that give batches by index.

A source is deterministic: the batch follows from the indices and the random generator alone, so a
resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch

from echoflow.condition import Condition
from echoflow.data import augment
from echoflow.data.pixels import to_float
from echoflow.data.shards import Latents
from echoflow.types import Batch, InputError, Record


class Source(Protocol):
    """Something to train on."""

    def __len__(self) -> int: ...
    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        """The examples at `index`, their random choices made with `rng`."""
        ...


@dataclass(frozen=True)
class FrameSource:
    """Single frames of videos (n, t, h, w) uint8, for the A-VAE: x (b, 1, h, w) in [-1, 1]."""

    videos: np.ndarray
    uids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.videos)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        frames = self.videos[index, rng.integers(self.videos.shape[1], size=len(index))]
        x = torch.from_numpy(to_float(frames))[:, None]
        return Batch(x, Condition(), tuple(self.uids[i] for i in index.tolist()))


@dataclass(frozen=True)
class VideoSource:
    """Whole pixel clips with their EF, for regression: x (b, t, h, w) in [-1, 1].

    `frames` in a row are cut from a random place, the last possible one if not `augment`. With it
    a clip is also shifted by up to 6 pixels, its gain and contrast change, and it may be softened
    in space or time and get further speckle: the EF must be read from the walls, because generated
    clips have other speckle than recorded ones.
    """

    videos: np.ndarray
    records: Sequence[Record]
    frames: int
    augment: bool = False

    def __post_init__(self) -> None:
        if self.videos.shape[1] < self.frames:
            raise InputError(
                f"clips of {self.frames} frames are needed; these videos have "
                f"{self.videos.shape[1]}."
            )

    def __len__(self) -> int:
        return len(self.videos)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        last = self.videos.shape[1] - self.frames
        starts = rng.integers(last + 1, size=len(index)) if self.augment else [last] * len(index)
        cut = [self.videos[i, s : s + self.frames] for i, s in zip(index, starts, strict=True)]
        x = torch.from_numpy(to_float(np.stack(cut)))
        if self.augment:
            x = torch.stack([augment.clip(clip, rng) for clip in x])
        ef = torch.tensor([_known_ef(self.records[i]) for i in index])
        return Batch(x, Condition(ef=ef), tuple(self.records[i].uid for i in index))


@dataclass(frozen=True)
class MaskedSource:
    """Single frames and their LV masks, (n, t, h, w) each, for segmentation: x (b, 1, h, w).

    With `augment` both are shifted, turned and zoomed a little, every other frame is softened,
    because generated frames are softer than recorded ones, and every other looks as if it had been
    recorded less well: another display curve, and noise in the blood.
    """

    videos: np.ndarray
    masks: np.ndarray
    uids: tuple[str, ...]
    augment: bool = False

    def __len__(self) -> int:
        return len(self.videos)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        frames = rng.integers(self.videos.shape[1], size=len(index))
        x = torch.from_numpy(to_float(self.videos[index, frames]))
        mask = torch.from_numpy(self.masks[index, frames]).float()
        if self.augment:
            x, mask = augment.masked(x, mask, rng)
        uids = tuple(self.uids[i] for i in index.tolist())
        return Batch(x[:, None], Condition(mask=mask[:, None]), uids)


@dataclass(frozen=True)
class AnatomySource:
    """Single latent frames with view and LV mask, for the LIFM: x (b, c, h, w).

    Of a video that is traced in some frames only, those are taken; of one that is not traced at
    all, any frame with an empty mask, as EchoFlow does for EchoNet-LVH.
    """

    latents: Latents
    sampled: bool = True  # posterior draws; else its means

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        frame = self._frames(index, rng)
        x = self.latents.draw(index, frame, rng if self.sampled else None)[:, 0]
        mask = self.latents.mask(index, frame)
        if mask is None:
            mask = torch.zeros(len(index), 1, *x.shape[-2:])
        views = torch.tensor([int(self.latents.records[i].view) for i in index])
        return Batch(x, Condition(view=views, mask=mask), _uids(self.latents, index))

    def _frames(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One frame of each video, (b, 1)."""
        known = [self.latents.traced(i) for i in index.tolist()]
        some = [len(k) or n for k, n in zip(known, self.latents.lengths[index], strict=True)]
        chosen = rng.integers(np.array(some)[:, None])
        for row, frames in zip(chosen, known, strict=True):
            row[:] = frames[row] if len(frames) else row
        return chosen


@dataclass(frozen=True)
class ClipSource:
    """Latent clips with an anatomy frame and the EF, for the LVFM: x (b, c, t, h, w).

    The anatomy is never among the target frames. `anatomy="first"` takes the first frame of the
    video and the `frames` after it (gated loops, which start at end-diastole); "outside" takes a
    random window and any frame outside it. Videos too short for that are passed over.
    """

    latents: Latents
    frames: int
    anatomy: Literal["first", "outside"] = "outside"
    sampled: bool = True  # posterior draws; else its means

    def __post_init__(self) -> None:
        if not len(self.long):
            raise InputError(
                f"clips of {self.frames} frames and an anatomy frame need videos of at least "
                f"{self.frames + 1} frames; these have {self.latents.lengths.max()}."
            )

    def __len__(self) -> int:
        return len(self.long)

    @cached_property
    def long(self) -> np.ndarray:
        """The videos that are long enough, (n,)."""
        return np.flatnonzero(self.latents.lengths > self.frames)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        index = self.long[index]
        rows = np.stack([self._frames(int(n), rng) for n in self.latents.lengths[index]])
        z = self.latents.draw(index, rows, rng if self.sampled else None)
        ef = torch.tensor([_known_ef(self.latents.records[i]) for i in index])
        clip = z[:, 1:].transpose(1, 2).contiguous()
        return Batch(clip, Condition(ef=ef, frame=z[:, 0]), _uids(self.latents, index))

    def _frames(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """The anatomy frame, then the target frames, of a video of `length` frames."""
        if self.anatomy == "first":
            return np.arange(self.frames + 1)
        start = int(rng.integers(length - self.frames + 1))
        window = np.arange(start, start + self.frames)
        return np.concatenate([[rng.choice(np.setdiff1d(np.arange(length), window))], window])


@dataclass(frozen=True)
class PairSource:
    """Two frames of each video, for re-identification: x (b, 2, c, h, w).

    Stills are passed over. `InputError`: nothing but stills.
    """

    latents: Latents
    sampled: bool = True  # posterior draws; else its means

    def __post_init__(self) -> None:
        if not len(self):
            raise InputError("re-identification needs videos of at least 2 frames; there are none.")

    @cached_property
    def videos(self) -> np.ndarray:
        """The indices of the latents that have a pair of frames."""
        return np.flatnonzero(self.latents.lengths > 1)

    def __len__(self) -> int:
        return len(self.videos)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        index = self.videos[index]
        lengths = self.latents.lengths[index].tolist()
        frames = np.stack([rng.choice(length, 2, replace=False) for length in lengths])
        z = self.latents.draw(index, frames, rng if self.sampled else None)
        return Batch(z, Condition(), _uids(self.latents, index))


def _uids(latents: Latents, index: np.ndarray) -> tuple[str, ...]:
    return tuple(latents.records[i].uid for i in index)


def _known_ef(record: Record) -> float:
    if record.ef is None:
        raise InputError(f"video {record.uid} has no EF; this training needs one for every video.")
    return record.ef
