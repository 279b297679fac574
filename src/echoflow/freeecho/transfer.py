"""From the greys of one picture to those of another by optimal transport.

Free-Echo carries the greys of a painted label map over to those of a reference frame: entropic
transport between pixels of both, squared differences over three equal channels as the cost, each
grey going to the mean of what its mass goes to (Cuturi 2013; Ferradans et al. 2014).

    entropic  that map for any grey, from the potential of the reference (Seguy et al. 2018); POT
              does so from 0.9.4 on
    nearest   the map of the nearest sampled grey, and the difference from it: POT before, so
              probably the paper's figures
    quantile  the limit without entropy, in closed form: greys of equal rank

Greys are one-dimensional and few, so that equal samples are counted instead of repeated, which
changes nothing and leaves a matrix of at most 500 x 256.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy.special import logsumexp

from echoflow.types import InputError, choose

Method = Literal["entropic", "nearest", "quantile"]
Carry = Callable[[np.ndarray], np.ndarray]
"""Greys of any shape -> greys, both as shares of full brightness."""

CHANNELS = 3  # equal ones, over which the released cost is summed
ROUNDS, PRODUCTS, TOLERANCE = 400, 50, 1e-9
SETTLED = 1e-3  # share of the pixels that may be astray when the rounds are over

# fmt: off
_QUANTILES = (
    *[0] * 30, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 19, 23, 26, 31, 35, 40, 46, 51, 57, 63, 69, 75,
    82, 89, 96, 103, 111, 120, 129, 140, 152, 168, 190, 255,
)
# fmt: on
PHANTOM = np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, 65), _QUANTILES)[None]
"""The greys of phantoms as a picture (1, 256), darkest first: quantiles of 40 apical views. No
patient is in them, so they serve where no reference frame is given."""


@dataclass(frozen=True)
class Transfer:
    """How greys are carried over. `reg` weighs the entropy: 0.1 in the released code, 1e-3 in the
    paper. `samples` pixels of each picture are drawn by `seed`, as released; none takes them all.
    """

    method: Method = "entropic"
    reg: float = 0.1
    samples: int | None = 500
    seed: int = 42

    def __post_init__(self) -> None:
        choose(self.method, get_args(Method), "intensity transfer")
        if not (math.isfinite(self.reg) and self.reg > 0):
            raise InputError(
                f"reg must be a positive number; got {self.reg}. The released code has 0.1, the "
                "paper 0.001; for none at all choose the transfer quantile."
            )
        if self.samples is not None and self.samples < 2:
            raise InputError(f"samples must be at least 2 pixels; got {self.samples}.")

    def between(self, source: np.ndarray, target: np.ndarray) -> Carry:
        """What carries the greys of one picture to those of another, both in [0, 1]."""
        if self.samples is None and self.method == "quantile":
            return ranked(source, target)
        x, y = self.drawn(source, target)
        if self.method == "quantile":
            return matched(x, y)
        plan = Sinkhorn.of(x, y, self.reg)
        return plan.entropic if self.method == "entropic" else plan.nearest

    def drawn(self, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels that are looked at, with replacement, first those of the source."""
        x, y = source.ravel(), target.ravel()
        if self.samples is not None:
            # the released draws are those of NumPy's legacy generator
            rng = np.random.RandomState(self.seed)
            x, y = (pixels[rng.randint(0, pixels.size, self.samples)] for pixels in (x, y))
        return x.astype(np.float64), y.astype(np.float64)


RELEASED = Transfer()
PAPER = Transfer(reg=1e-3)


@dataclass(frozen=True)
class Sinkhorn:
    """Entropic transport from greys `x` (n,) to `y` (m,), each once and ascending.

    `drawn` (n,) is when each x was drawn first, `potential` (m,) the logarithm of what the
    reference's side is scaled by, and `means` (n,) where the mass of each x goes on average.
    """

    x: np.ndarray
    y: np.ndarray
    drawn: np.ndarray
    reg: float
    potential: np.ndarray
    means: np.ndarray

    @classmethod
    def of(cls, source: np.ndarray, target: np.ndarray, reg: float) -> Sinkhorn:
        """Sinkhorn's iterations to convergence. Every so often they go through logarithms, so that
        no `reg` is too small for numbers, and between as products, which are fifty times faster.
        `InputError`: they would take longer than anybody waits."""
        x, drawn, a = np.unique(source, return_index=True, return_counts=True)
        y, b = np.unique(target, return_counts=True)
        a, b = a / a.sum(), b / b.sum()
        kernel = -CHANNELS * (x[:, None] - y) ** 2 / reg
        u, v, astray = np.zeros(len(x)), np.zeros(len(y)), math.inf
        for _ in range(ROUNDS):
            v = np.log(b) - logsumexp(kernel + u[:, None], axis=0)
            row = logsumexp(kernel + v, axis=1)
            astray = np.abs(np.exp(u + row) - a).max()
            if astray < TOLERANCE:
                break
            u = np.log(a) - row
            plan, rows = np.exp(kernel + u[:, None] + v), np.ones(len(x))
            for _ in range(PRODUCTS):
                rows = a / (plan @ (b / (rows @ plan)))
            u = u + np.log(rows)
        if astray > SETTLED:
            raise InputError(
                f"with reg={reg:g} the transport of these greys does not settle; take a larger "
                "reg, or the transfer quantile, its limit without entropy."
            )
        done = cls(x, y, drawn, reg, v, np.empty(0))
        return replace(done, means=done.entropic(x))

    def entropic(self, greys: np.ndarray) -> np.ndarray:
        """The mean of the reference's greys, weighed by nearness and potential."""
        values, where = np.unique(greys, return_inverse=True)
        log_w = self.potential - CHANNELS * (values[:, None] - self.y) ** 2 / self.reg
        weights = np.exp(log_w - log_w.max(1, keepdims=True))
        return (weights @ self.y / weights.sum(1))[where].reshape(greys.shape)

    def nearest(self, greys: np.ndarray) -> np.ndarray:
        """Where the nearest of `x` goes, and the difference from it. Of two that are as near the
        one drawn first counts, as released."""
        between = (self.x[1:] + self.x[:-1]) / 2
        low, high = (np.searchsorted(between, greys, side=side) for side in ("left", "right"))
        index = np.where(self.drawn[low] < self.drawn[high], low, high)
        return self.means[index] + (greys - self.x[index])


def matched(source: np.ndarray, target: np.ndarray) -> Carry:
    """Exact transport of as many greys (n,) to as many: the k-th to the k-th, equal ones to the
    mean of theirs; linear between them."""
    x, where, count = np.unique(source, return_inverse=True, return_counts=True)
    order = np.argsort(where, kind="stable")
    y = np.bincount(where[order], np.sort(target)) / count
    return lambda greys: np.interp(greys, x, y)


def ranked(source: np.ndarray, target: np.ndarray) -> Carry:
    """Every grey to the one below which there is the same share of the reference's pixels."""
    (x, a), (y, b) = (np.unique(part, return_counts=True) for part in (source, target))
    carried = np.interp(np.cumsum(a) / a.sum(), np.cumsum(b) / b.sum(), y)
    return lambda greys: np.interp(greys, x, carried)
