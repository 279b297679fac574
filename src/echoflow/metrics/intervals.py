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
Values = NDArray[np.float64]


def bootstrapped(
    statistic: Callable[[Indices], float],
    n: int,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 90.0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of `n` items, `level` in percent.

    Not a number for a single item, all of whose resamples are equal: nothing is known of its error.
    """
    if n < 2:
        return np.nan, np.nan
    index = np.random.default_rng(seed).integers(0, n, (resamples, n))
    values = [value for value in map(statistic, index) if not np.isnan(value)] or [np.nan]
    tail = (100.0 - level) / 2.0
    whole = bool(np.isfinite(values).all())  # between infinite ones nothing can be interpolated
    ends = np.percentile(values, [tail, 100.0 - tail], method="linear" if whole else "nearest")
    return float(ends[0]), float(ends[1])


def jackknifed(
    statistic: Callable[[Indices], float],
    n: int,
    blocks: int = 20,
    seed: int = 0,
    level: float = 90.0,
) -> Interval:
    """Interval of a statistic of `n` items about its value, from leaving out one block each time.

    Standard error of the jackknife times Student's t of `blocks` - 1 degrees of freedom. It knows
    nothing of the statistic's own bias.
    """
    error = _error(statistic, n, blocks, np.random.default_rng(seed))
    return _about(statistic(np.arange(n)), error, min(blocks, n), level)


def two_sample(
    statistic: Callable[[Values, Values], float],
    a: Values,
    b: Values,
    rows: tuple[int, int] = (1, 1),
    blocks: int = 10,
    seed: int = 0,
    level: float = 90.0,
) -> Interval:
    """Interval of a statistic of two independent sets (n, d) and (m, d), by jackknife of either.

    `rows` are the consecutive rows that belong together in either set (the frames of a video):
    they are left out together. The two squared errors add up.
    """
    rng = np.random.default_rng(seed)
    first = _error(lambda kept: statistic(_of(a, kept, rows[0]), b), len(a) // rows[0], blocks, rng)
    second = _error(
        lambda kept: statistic(a, _of(b, kept, rows[1])), len(b) // rows[1], blocks, rng
    )
    fewest = min(blocks, len(a) // rows[0], len(b) // rows[1])
    return _about(statistic(a, b), float(np.hypot(first, second)), fewest, level)


def _error(
    statistic: Callable[[Indices], float], n: int, blocks: int, rng: np.random.Generator
) -> float:
    """Standard error by the delete-one-block jackknife (Efron and Tibshirani 1993, 11.5)."""
    if n < 2:
        raise InputError(f"an interval needs at least 2 items; got {n}.")
    parts = np.array_split(rng.permutation(n), min(blocks, n))
    left = np.array([statistic(np.delete(np.arange(n), part)) for part in parts])
    return float(np.sqrt((len(parts) - 1) / len(parts) * np.sum((left - left.mean()) ** 2)))


def _about(value: float, error: float, blocks: int, level: float) -> Interval:
    reach = float(student.ppf(0.5 + level / 200.0, blocks - 1)) * error
    return value - reach, value + reach


def _of(values: Values, kept: Indices, rows: int) -> Values:
    """The rows (n, d) of the items kept, `rows` consecutive ones for each."""
    return values[(kept[:, None] * rows + np.arange(rows)).ravel()]
