"""The Frechet distance of two Gaussians, from statistics that are streamed and merged.

FID, FVD and FD-DINOv2 are this distance on different features (Heusel et al. 2017; Unterthiner et
al. 2018). Statistics are float64 and exact under merging, so that batches, workers and machines
agree with one pass over everything; memory is dims^2 whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.types import InputError

Values = NDArray[np.float64]

Covariance = Literal["sample", "population"]
"""`sample` divides by n - 1 (numpy, torchmetrics, torch-fidelity), `population` by n (StyleGAN-V,
whose script the published FVDs come from). They differ by the factor n / (n - 1)."""


def rows(features: ArrayLike) -> Values:
    """Features as float64 (n, d), d >= 1; `InputError` for another shape or a value not finite."""
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise InputError(f"features are (n, d), one row per sample; got {x.shape}.")
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise InputError(
            f"{int(bad.sum())} of {len(x)} feature rows hold NaN or infinity, the first is row "
            f"{int(bad.argmax())}; leave those samples out and say so, or mend their videos."
        )
    return x


def pair(a: ArrayLike, b: ArrayLike, least: int = 2) -> tuple[Values, Values]:
    """Two feature sets of one width with at least `least` samples each."""
    x, y = rows(a), rows(b)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"the sets have {x.shape[1]} and {y.shape[1]} features per sample; extract both with "
            "the same network."
        )
    if min(len(x), len(y)) < least:
        raise InputError(
            f"each set needs at least {least} samples; got {len(x)} and {len(y)}. Give more videos."
        )
    return x, y


@dataclass(frozen=True)
class Statistics:
    """Count, mean (d,) and scatter (d, d), the sum of (x - mean)(x - mean)^T, of samples seen."""

    n: int
    mean: Values
    scatter: Values

    @classmethod
    def of(cls, features: ArrayLike) -> Statistics:
        """Statistics of features (n, d); n may be 0."""
        x = rows(features)
        mean = x.mean(axis=0) if len(x) else np.zeros(x.shape[1])
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    @classmethod
    def streamed(cls, batches: Iterable[ArrayLike]) -> Statistics:
        """Statistics of all batches (n_i, d), holding one at a time."""
        total: Statistics | None = None
        for batch in batches:
            part = cls.of(batch)
            total = part if total is None else total.merged(part)
        if total is None:
            raise InputError("no features to take statistics of; give at least one batch.")
        return total

    def merged(self, other: Statistics) -> Statistics:
        """Statistics of both sets of samples together (Chan, Golub and LeVeque 1979)."""
        if self.mean.shape != other.mean.shape:
            raise InputError(
                f"statistics of {len(self.mean)} and {len(other.mean)} features cannot be merged; "
                "extract both with the same network."
            )
        n = self.n + other.n
        gap = other.mean - self.mean
        share = other.n / n if n else 0.0
        scatter = self.scatter + other.scatter + self.n * share * np.outer(gap, gap)
        return Statistics(n, self.mean + share * gap, scatter)

    def covariance(self, kind: Covariance = "sample") -> Values:
        """Covariance (d, d); `InputError` with fewer than two samples."""
        if self.n < 2:
            raise InputError(
                f"a covariance needs at least 2 samples; got {self.n}. Give more videos."
            )
        return self.scatter / (self.n - 1 if kind == "sample" else self.n)


@dataclass(frozen=True)
class Frechet:
    """A squared Frechet distance and its two terms; `notes` say what it must be read with."""

    value: float
    means: float
    covariances: float
    notes: tuple[str, ...] = ()


def frechet(
    a: Statistics,
    b: Statistics,
    kind: Covariance = "sample",
    seed: int = 0,
    chance_of: bool = True,
) -> Frechet:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), as published: squared, not its root.

    With C = F F^T the last trace is the sum of the singular values of F_a^T F_b: real and right
    also where the covariances are singular. A set with no more samples than features gets a note
    with the distance that chance alone would give (`chance`), unless `chance_of` is off.
    """
    if len(a.mean) != len(b.mean):
        raise InputError(
            f"statistics of {len(a.mean)} and {len(b.mean)} features have no distance; extract "
            "both with the same network."
        )
    cov_a, cov_b = a.covariance(kind), b.covariance(kind)
    means = float(np.sum((a.mean - b.mean) ** 2))
    covariances = _bures(_factor(cov_a), _factor(cov_b))
    dims = len(a.mean)
    notes: tuple[str, ...] = ()
    if chance_of and min(a.n, b.n) <= dims:
        floor = chance(_within(a, b), a.n, b.n, kind, seed)
        notes = (
            f"{a.n} and {b.n} samples are too few for {dims} features: two sets of these sizes "
            f"from one Gaussian would already be {floor:.4g} apart, or more.",
        )
    return Frechet(means + covariances, means, covariances, notes)


def _within(a: Statistics, b: Statistics) -> Statistics:
    """Both sets about their own means: what lies between the means is distance, not chance."""
    return Statistics(a.n + b.n - 1, np.zeros_like(a.mean), a.scatter + b.scatter)


def chance(
    pooled: Statistics, n_a: int, n_b: int, kind: Covariance = "sample", seed: int = 0
) -> float:
    """The Frechet distance of two sets of `n_a` and `n_b` samples of one and the same Gaussian.

    Simulated once with the covariance of `pooled`. What a perfect generator would score: the
    distance falls with n only as 1 / n (Chong and Forsyth 2020), so a small set looks bad. Rather
    too low where `pooled` itself has few samples, for its spectrum is then wider than the truth's.
    """
    rng = np.random.default_rng(seed)
    scales = np.sqrt(_spectrum(pooled.covariance())[0])
    factors = [
        scales[:, None] * _wishart(len(scales), n - 1, rng) / np.sqrt(n - (kind == "sample"))
        for n in (n_a, n_b)
    ]
    gap = scales * rng.standard_normal(len(scales)) * np.sqrt(1 / n_a + 1 / n_b)
    return float(np.sum(gap**2)) + _bures(*factors)


def _bures(f_a: Values, f_b: Values) -> float:
    """tr(A + B - 2 (A B)^(1/2)) of A = F_a F_a^T and B = F_b F_b^T."""
    overlap = float(np.linalg.svd(f_a.T @ f_b, compute_uv=False).sum())
    return max(float(np.sum(f_a**2) + np.sum(f_b**2)) - 2.0 * overlap, 0.0)


def _factor(covariance: Values) -> Values:
    """F (d, rank) with F F^T = covariance."""
    values, vectors = _spectrum(covariance)
    return vectors * np.sqrt(values)


def _spectrum(covariance: Values) -> tuple[Values, Values]:
    """Eigenvalues (rank,) and vectors (d, rank), without those that are rounding errors."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    return values[kept], vectors[:, kept]


def _wishart(dims: int, freedom: int, rng: np.random.Generator) -> Values:
    """F (dims, min(dims, freedom)) with F F^T the scatter of `freedom` standard normal vectors."""
    if freedom <= dims:
        return rng.standard_normal((dims, freedom))
    factor = np.tril(rng.standard_normal((dims, dims)), -1)  # Bartlett's decomposition
    factor[np.diag_indices(dims)] = np.sqrt(rng.chisquare(freedom - np.arange(dims)))
    return factor
