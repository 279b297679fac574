"""Fidelity and variety apart: precision, recall, density and coverage of generated samples.

Every sample stands for a ball that reaches to its k-th nearest neighbour in its own set; the balls
of a set are its manifold (Kynkaanniemi et al. 2019; Naeem et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.metrics.frechet import pair
from echoflow.metrics.kernels import squared_distances
from echoflow.types import InputError

Values = NDArray[np.float64]

_ROWS = 1024  # samples whose distances to a whole set are held at a time


@dataclass(frozen=True)
class Manifold:
    """All in [0, 1] but density, which is 1 for equal distributions and may exceed it.

    `precision`: share of generated samples inside the real manifold; `recall`: of real samples
    inside the generated one; `coverage`: of real balls that hold a generated sample; `density`:
    real balls per generated sample, over k.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


def manifold(real: ArrayLike, generated: ArrayLike, k: int = 5) -> Manifold:
    """The four scores of real (n, d) and generated (m, d) features, with balls of k neighbours.

    A sample is not its own neighbour. Balls are closed, as in the code of Kynkaanniemi et al.
    """
    if k < 1:
        raise InputError(f"a ball needs at least 1 neighbour; got k = {k}.")
    x, y = pair(real, generated, least=k + 1)
    radii_x, radii_y = _radii(x, k), _radii(y, k)
    inside_real, covered = np.zeros(len(y)), np.zeros(len(x), bool)
    recalled = np.zeros(len(x), bool)
    for block, distances in _distances(x, y):
        held = distances <= radii_x[block, None]
        inside_real += held.sum(axis=0)
        covered[block] = held.any(axis=1)
        recalled[block] = (distances <= radii_y).any(axis=1)
    return Manifold(
        precision=float((inside_real > 0).mean()),
        recall=float(recalled.mean()),
        density=float(inside_real.mean()) / k,
        coverage=float(covered.mean()),
        k=k,
    )


def _radii(x: Values, k: int) -> Values:
    """Squared distance (n,) of every sample to its k-th nearest neighbour other than itself."""
    radii = np.empty(len(x))
    for block, distances in _distances(x, x):
        own = np.arange(len(x))[block]
        distances[np.arange(len(own)), own] = np.inf
        radii[block] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return radii


def _distances(x: Values, y: Values) -> Iterator[tuple[slice, Values]]:
    """Squared distances of blocks of `x` to all of `y`, about one centre for all blocks."""
    centre = x.mean(axis=0)
    x, y = x - centre, y - centre
    for start in range(0, len(x), _ROWS):
        block = slice(start, min(start + _ROWS, len(x)))
        yield block, squared_distances(x[block], y)
