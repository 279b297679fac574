"""How sure is a number? Percentile bootstrap for means, block jackknife for distances of sets.

A statistic here takes the indices of the items it is computed from. Distances between sets must
not be bootstrapped: an item drawn twice makes its set look smaller and the distance larger. The
jackknife leaves blocks of items out instead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from echoflow.types import InputError

Interval = tuple[float, float]
Indices = NDArray[np.intp]


def bootstrapped(
    statistic: Callable[[Indices], float],
    n: int,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 90.0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of `n` items, `level` in percent."""
    index = np.random.default_rng(seed).integers(0, n, (resamples, n))
    values = [value for value in map(statistic, index) if np.isfinite(value)] or [np.nan]
    tail = (100.0 - level) / 2.0
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def jackknifed(
    statistic: Callable[[Indices], float],
    n: int,
    blocks: int = 20,
    seed: int = 0,
    level: float = 90.0,
) -> Interval:
    """Interval of a statistic of `n` items about its value, from leaving out one block each time.

    Standard error of the delete-one-block jackknife (Efron and Tibshirani 1993, 11.5) times
    Student's t of `blocks` - 1 degrees of freedom. It knows nothing of the statistic's own bias.
    """
    if n < 2:
        raise InputError(f"an interval needs at least 2 items; got {n}.")
    parts = np.array_split(np.random.default_rng(seed).permutation(n), min(blocks, n))
    everything = np.arange(n)
    left = np.array([statistic(np.delete(everything, part)) for part in parts])
    count = len(parts)
    error = float(np.sqrt((count - 1) / count * np.sum((left - left.mean()) ** 2)))
    value = statistic(everything)
    reach = float(student.ppf(0.5 + level / 200.0, count - 1)) * error
    return value - reach, value + reach
