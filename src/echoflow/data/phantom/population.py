"""Many phantom patients: who they are, and their clips rendered by several processes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.patient import COHORTS, PhantomPatient
from echoflow.types import InputError, View, check_ef, choose


@dataclass(frozen=True)
class Population:
    """`patients` hearts, each seen in every view. Member i depends on (seed, i) alone.

    `cohorts` are drawn with equal chance per entry: repeat a name to weigh it. `ef` replaces every
    EF by a uniform draw from the range (percent), so that anatomy says nothing about it. `phase` 0
    starts every clip at the R wave, None at random.
    """

    patients: int
    seed: int = 0
    cohorts: tuple[str, ...] = ("adult",)
    views: tuple[View, ...] = (View.A4C,)
    frames: int = 64
    fps: float = 50.0
    quality: int = 2
    phase: float | None = None
    ef: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.patients < 1 or not self.views:
            raise InputError("a population needs at least one patient and one view.")
        for cohort in self.cohorts:
            choose(cohort, COHORTS, "cohort")
        for bound in self.ef or ():
            check_ef(bound)

    def __len__(self) -> int:
        """Number of clips."""
        return self.patients * len(self.views)

    def member(self, index: int) -> PhantomPatient:
        """Patient number `index`."""
        rng = np.random.default_rng([self.seed, index, 7])
        cohort = self.cohorts[int(rng.integers(len(self.cohorts)))]
        patient = PhantomPatient.sample(self.seed, index, cohort)
        return patient.with_ef(float(rng.uniform(*self.ef))) if self.ef else patient

    def render(self, number: int) -> PhantomClip:
        """Clip `number` of the population: views run fastest."""
        index, view = divmod(number, len(self.views))
        return self.member(index).render(
            self.views[view], self.frames, self.fps, quality=self.quality, phase=self.phase
        )

    def clips(self, workers: int = 1, first: int = 0) -> Iterator[PhantomClip]:
        """Every clip in order from `first` on, the same whatever the number of `workers`."""
        numbers = range(first, len(self))
        if workers <= 1:
            yield from map(self.render, numbers)
            return
        with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
            yield from pool.map(self.render, numbers, chunksize=4)

    def spec(self) -> dict[str, Any]:
        """The population as plain values, for the card of a dataset."""
        return {**dataclasses.asdict(self), "views": [view.name for view in self.views]}


def _one_thread() -> None:
    """Rendering is many small operations: one thread per process is fastest."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
