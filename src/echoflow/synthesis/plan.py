"""The plan of a synthetic dataset: how many of what, and the seed of everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, isclose, lcm

import numpy as np

from echoflow.sampling import SamplingPlan
from echoflow.types import InputError, Split, View, above_fractions, check_ef

GOLDEN = (5**0.5 - 1) / 2
SPLITS = ((Split.TRAIN, 0.75), (Split.VAL, 0.125), (Split.TEST, 0.125))  # as EchoNet-Dynamic
ANATOMY, MOTION, EF = range(3)  # streams of seeds that never meet


@dataclass(frozen=True)
class DatasetPlan:
    """What to make: `n` videos, views taking turns, `per_anatomy` videos of each heart.

    `ef` is a range in percent that is covered evenly (what falls between 0 and 1 is 1), or several
    values (three or more) to cycle through; the cycle moves on by one whenever it would meet the
    same views again. `anatomy` and `motion` say how to sample; None is what the weights were tuned
    for. `patience` is how many candidates in a row may be rejected for one anatomy. `splits` are
    shares of the hearts, which add up to 1.
    """

    n: int = 24
    views: tuple[View, ...] = tuple(View)
    ef: tuple[float, ...] = (15.0, 75.0)
    seed: int = 0
    per_anatomy: int = 1
    anatomy: SamplingPlan | None = None
    motion: SamplingPlan | None = None
    batch: int = 8
    patience: int = 50
    splits: tuple[tuple[Split, float], ...] = SPLITS

    def __post_init__(self) -> None:
        for name in ("n", "per_anatomy", "batch", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if self.seed < 0:
            raise InputError(f"seed must be a non-negative whole number; got {self.seed}.")
        if not self.views or not self.ef:
            raise InputError("a plan needs at least one view and one EF.")
        for ef in self.ef:
            check_ef(ef)
        if len(self.ef) == 2 and self.ef[0] > self.ef[1]:
            raise InputError(f"the EF range must go from low to high; got {self.ef}.")
        shares = [share for _, share in self.splits]
        if min(shares, default=-1) < 0 or not isclose(sum(shares), 1):
            raise InputError(
                f"shares of splits must not be negative and must add up to 1; got {shares}."
            )

    def item(self, index: int) -> Item:
        """Sample `index`: it does not depend on `n`."""
        base, clip = divmod(index, self.per_anatomy)
        return Item(
            index=index,
            anatomy=base,
            name=f"sample_{base:06d}_{clip:02d}",
            base=f"sample_{base:06d}",
            view=self.views[base % len(self.views)],
            ef=self._ef(index),
            split=_split(base, self.splits),
            seed=sample_seed(self.seed, MOTION, base, clip),
        )

    def parts(self) -> list[range]:
        """Samples that are made together, `batch` at most: several hearts, or a piece of one.

        No part needs anything of another, so that each can be made alone with the same result.
        """
        whole = max(1, self.batch // self.per_anatomy) * self.per_anatomy
        return [
            range(i, min(i + self.batch, first + whole, self.n))
            for first in range(0, self.n, whole)
            for i in range(first, min(first + whole, self.n), self.batch)
        ]

    def _ef(self, index: int) -> float:
        if len(self.ef) != 2:
            efs, turn = len(self.ef), len(self.views) * self.per_anatomy
            again = index // lcm(efs, turn) if gcd(efs, turn) > 1 else 0
            return float(self.ef[(index + again) % efs])
        start = np.random.default_rng([self.seed, EF]).uniform()
        low, high = self.ef
        drawn = low + (high - low) * ((start + index * GOLDEN) % 1.0)
        return above_fractions(round(drawn, 2))


@dataclass(frozen=True)
class Item:
    """One video to make. `anatomy` counts hearts, `index` counts videos."""

    index: int
    anatomy: int
    name: str
    base: str
    view: View
    ef: float
    split: Split
    seed: int


def sample_seed(seed: int, stream: int, *index: int) -> int:
    """A seed of these arguments only; 53 bits, so CSV, JSON and spreadsheets keep it exact."""
    words = np.random.SeedSequence([seed, stream, *index]).generate_state(1, np.uint64)
    return int(words[0]) >> 11


def _split(anatomy: int, splits: Sequence[tuple[Split, float]]) -> Split:
    """Splits by heart, so that no heart is in two; a second irrational keeps shares exact."""
    position, edge = (0.5 + anatomy * 2**0.5) % 1.0, 0.0
    for split, share in splits:
        edge += share
        if position < edge:
            return split
    return splits[-1][0]
