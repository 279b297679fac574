"""Kernel distances of two feature sets: MMD^2 with any kernel, and KID.

The unbiased estimate has no term that falls with n, unlike the Frechet distance: two sets of one
distribution score 0 on average at any size, so it may be negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.metrics.frechet import pair
from echoflow.types import InputError

Values = NDArray[np.float64]
Kernel = Callable[[Values, Values], Values]
"""x (n, d), y (m, d) -> k(x_i, y_j) (n, m)."""

Estimate = Literal["unbiased", "biased"]

_ROWS = 1024  # of a Gram matrix that are held at a time


def polynomial(x: Values, y: Values) -> Values:
    """(x.y / d + 1)^3, the kernel of KID (Binkowski et al. 2018)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def gaussian(bandwidth: float) -> Kernel:
    """exp(-|x - y|^2 / (2 bandwidth^2)); `bandwidth` in units of the features."""
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise InputError(f"the bandwidth of a kernel must be positive; got {bandwidth}.")
    return lambda x, y: np.exp(squared_distances(x, y) / (-2.0 * bandwidth**2))


def median_distance(a: ArrayLike, b: ArrayLike, most: int = 2000) -> float:
    """The median distance of pairs of the pooled samples, a common bandwidth.

    Taken on at most `most` samples, evenly spaced.
    """
    pooled = np.concatenate(pair(a, b))
    chosen = pooled[np.linspace(0, len(pooled) - 1, min(most, len(pooled))).astype(int)]
    above = np.triu_indices(len(chosen), 1)
    return float(np.sqrt(np.median(squared_distances(chosen, chosen)[above])))


def squared_distances(x: Values, y: Values) -> Values:
    """|x_i - y_j|^2 (n, m) of x (n, d) and y (m, d), never negative.

    Products are taken about the mean of `x`, without which features far from the origin would
    cancel to noise.
    """
    centre = x.mean(axis=0)
    x, y = x - centre, y - centre
    squares = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2.0 * x @ y.T
    return np.maximum(squares, 0.0)


def mmd2(
    a: ArrayLike, b: ArrayLike, kernel: Kernel = polynomial, estimate: Estimate = "unbiased"
) -> float:
    """Squared maximum mean discrepancy of a (n, d) and b (m, d) (Gretton et al. 2012, lemma 6)."""
    x, y = pair(a, b)
    cross = _total(kernel, x, y) / (len(x) * len(y))
    return _within(kernel, x, estimate) + _within(kernel, y, estimate) - 2.0 * cross


@dataclass(frozen=True)
class KID:
    """Mean and standard deviation of MMD^2 over random subsets of `size` samples."""

    mean: float
    std: float
    subsets: int
    size: int
    notes: tuple[str, ...] = ()


def kid(a: ArrayLike, b: ArrayLike, subsets: int = 100, size: int = 1000, seed: int = 0) -> KID:
    """Kernel distance over `subsets` draws of `size` samples from either set, without replacement.

    The standard deviation (population) is that between subsets, not an error of the mean. Where a
    set is smaller than `size`, subsets have its size and a note says so; of two such sets of one
    size there is a single subset, and no deviation.
    """
    x, y = pair(a, b)
    least = min(len(x), len(y))
    notes = ()
    if least < size:
        notes = (f"KID subsets hold {least} samples instead of {size}: that is the smaller set.",)
    size, rng = min(size, least), np.random.default_rng(seed)
    if size == len(x) == len(y):  # there is one subset, and nothing between subsets
        return KID(mmd2(x, y), float("nan"), 1, size, notes)
    draws = [
        mmd2(x[rng.choice(len(x), size, False)], y[rng.choice(len(y), size, False)])
        for _ in range(subsets)
    ]
    return KID(float(np.mean(draws)), float(np.std(draws)), subsets, size, notes)


def _within(kernel: Kernel, x: Values, estimate: Estimate) -> float:
    """Mean of the Gram matrix of x (n, d), without its diagonal where unbiased."""
    n = len(x)
    if estimate == "biased":
        return _total(kernel, x, x) / n**2
    return _total(kernel, x, x, diagonal=False) / (n * (n - 1))


def _total(kernel: Kernel, x: Values, y: Values, diagonal: bool = True) -> float:
    """Sum of k(x_i, y_j), of which `_ROWS` rows are held at a time."""
    total = 0.0
    for start in range(0, len(x), _ROWS):
        gram = kernel(x[start : start + _ROWS], y)
        total += float(gram.sum()) - (0.0 if diagonal else float(np.trace(gram, offset=start)))
    return total
