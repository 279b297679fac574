"""Samples in memory: anatomies that pass the filter, animated, decoded and relabelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from echoflow.metrics.cavity import Finder
from echoflow.privacy import Privacy, Verdict
from echoflow.sampling import SamplingPlan
from echoflow.synthesis.masks import MaskSource
from echoflow.synthesis.plan import ANATOMY, DatasetPlan, Item, sample_seed
from echoflow.types import InputError, View

Regressor = Callable[[Tensor], Tensor]
"""uint8 video (b, t, h, w) -> EF in percent (b,); nan where it cannot be told."""


class Engine(Protocol):
    """What synthesis needs of a pipeline."""

    @property
    def fps(self) -> float: ...

    @property
    def privacy(self) -> Privacy: ...

    @property
    def finder(self) -> Finder: ...

    @property
    def regressor(self) -> Regressor: ...

    @property
    def untraced(self) -> tuple[View, ...]: ...

    @property
    def anatomy(self) -> SamplingPlan: ...

    @property
    def motion(self) -> SamplingPlan: ...

    def anatomies(
        self,
        views: Sequence[View],
        masks: Tensor | None,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
    ) -> Tensor: ...

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor: ...

    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Anatomy:
    """An accepted or rejected candidate: latent (c, h, w), its mask (h, w), seed and verdict."""

    index: int
    view: View
    attempt: int
    seed: int
    mask: np.ndarray
    z: Tensor
    verdict: Verdict


@dataclass(frozen=True)
class Sample:
    """A finished video (t, h, w) uint8 with what was asked and what was measured (nan: nothing)."""

    item: Item
    anatomy: Anatomy
    video: np.ndarray
    ef: float


def candidates(
    engine: Engine, plan: DatasetPlan, attempts: Sequence[tuple[int, int]], masks: MaskSource
) -> list[Anatomy]:
    """One candidate with its verdict for every (anatomy index, attempt)."""
    seeds = [sample_seed(plan.seed, ANATOMY, index, attempt) for index, attempt in attempts]
    views = [plan.views[index % len(plan.views)] for index, _ in attempts]
    asked = [masks(view, seed) for view, seed in zip(views, seeds, strict=True)]
    pixels = torch.from_numpy(np.stack(asked).astype(np.float32))[:, None]
    z = engine.anatomies(views, pixels, seeds, plan.anatomy)
    verdicts = engine.privacy.verdicts(z, views)
    return [
        Anatomy(index, views[i], attempt, seeds[i], asked[i], z[i], verdicts[i])
        for i, (index, attempt) in enumerate(attempts)
    ]


def accepted(
    engine: Engine, plan: DatasetPlan, indices: Sequence[int], masks: MaskSource
) -> tuple[list[Anatomy], list[Anatomy]]:
    """The first accepted candidate of every anatomy in `indices`, and all that were rejected.

    Candidate k of anatomy i is drawn from a seed of (plan.seed, i, k), so a rejection moves one
    anatomy on to its next seed and leaves the others alone.
    """
    found: dict[int, Anatomy] = {}
    rejected: list[Anatomy] = []
    for attempt in range(plan.patience):
        open_ = [(index, attempt) for index in indices if index not in found]
        if not open_:
            break
        for candidate in candidates(engine, plan, open_, masks):
            if candidate.verdict.accepted:
                found[candidate.index] = candidate
            else:
                rejected.append(candidate)
    missing = [index for index in indices if index not in found]
    if missing:
        raise _too_many_rejections(plan, missing[0], rejected)
    return [found[index] for index in indices], rejected


def _too_many_rejections(plan: DatasetPlan, index: int, rejected: Sequence[Anatomy]) -> InputError:
    last = next(a for a in reversed(rejected) if a.index == index)
    return InputError(
        f"the privacy filter rejected {plan.patience} candidates in a row for anatomy {index} "
        f"({last.view.name}; the last has similarity {last.verdict.similarity:.4f} to "
        f"{last.verdict.nearest}, tau is {last.verdict.tau:.4f}). The image model copies its "
        "training data or tau is too strict: train on more patients, calibrate tau again, or "
        "choose another seed or other masks."
    )


def videos(
    engine: Engine, plan: DatasetPlan, items: Sequence[Item], anatomies: dict[int, Anatomy]
) -> list[Sample]:
    """Animates and decodes the items of one batch, and measures the EF of what came out."""
    frames = torch.stack([anatomies[item.anatomy].z for item in items])
    asked = torch.tensor([item.ef for item in items])
    seeds, views = [item.seed for item in items], [item.view for item in items]
    z = engine.animate(frames, asked, seeds, plan.motion, views=views)
    decoded = engine.decode(z)
    # one at a time: a label must not depend on who else was in the batch
    measured = [float(engine.regressor(video[None])[0].clamp(0, 100)) for video in decoded]
    return [
        Sample(item, anatomies[item.anatomy], video.cpu().numpy(), round(ef, 4))
        for item, video, ef in zip(items, decoded, measured, strict=True)
    ]


def part_of(
    engine: Engine, plan: DatasetPlan, part: range, masks: MaskSource
) -> tuple[list[Sample], list[Anatomy]]:
    """The samples of one of `plan.parts()`, and the candidates that were rejected for them."""
    items = [plan.item(index) for index in part]
    hearts = list(dict.fromkeys(item.anatomy for item in items))
    anatomies, rejected = accepted(engine, plan, hearts, masks)
    return videos(engine, plan, items, {one.index: one for one in anatomies}), rejected


def generate(engine: Engine, plan: DatasetPlan, masks: MaskSource) -> Iterator[Sample]:
    """All samples of a plan in order."""
    for part in plan.parts():
        yield from part_of(engine, plan, part, masks)[0]
