"""Joint differential entropy of a latent space: how much there is for a generator to learn.

EchoFlow (4.2.5) prints 164, 1456 and 1695 nats for latents of 3136 numbers and does not say how
they were estimated. Here one Gaussian is fitted to whole latents; the settings that change the
number by thousands of nats are arguments, and no agreement with those values is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.metrics.frechet import rows
from echoflow.types import InputError

Values = NDArray[np.float64]

Normalise = Literal["none", "channel", "scalar"]
"""Divide latents by nothing, by the deviation of each channel, or by that of all numbers."""

Shrinkage = Literal["none", "ledoit-wolf"]


@dataclass(frozen=True)
class Entropy:
    """Entropy of `dims` numbers together in nats, from `n` latents."""

    nats: float
    dims: int
    n: int
    normalise: Normalise
    shrinkage: float
    notes: tuple[str, ...] = ()

    @property
    def per_dim(self) -> float:
        """Nats per number, comparable between latents of other sizes."""
        return self.nats / self.dims


def joint_entropy(
    latents: ArrayLike, normalise: Normalise = "none", shrinkage: Shrinkage = "ledoit-wolf"
) -> Entropy:
    """Entropy of the Gaussian fitted to latents (n, c, h, w): (d ln(2 pi e) + ln det C) / 2.

    An upper bound on the true entropy for the covariance C given. Ledoit-Wolf shrinkage keeps C
    invertible with few latents; without it n must exceed d = c h w.
    """
    z = np.asarray(latents, np.float64)
    if z.ndim < 2 or len(z) < 2:
        raise InputError(f"latents are (n, c, h, w) with n of at least 2; got {z.shape}.")
    x = rows(_scaled(z, normalise).reshape(len(z), -1))
    n, dims = x.shape
    covariance, amount = _covariance(x, shrinkage)
    sign, log_det = np.linalg.slogdet(covariance)
    if sign <= 0 or (amount == 0 and n <= dims):
        raise InputError(
            f"the covariance of {n} latents of {dims} numbers is singular, so their entropy is "
            "minus infinity; give more latents, or use the shrinkage ledoit-wolf."
        )
    nats = 0.5 * (dims * np.log(2.0 * np.pi * np.e) + float(log_det))
    return Entropy(float(nats), dims, n, normalise, amount, _notes(n, dims, amount))


def _scaled(z: Values, normalise: Normalise) -> Values:
    axes = {"none": None, "scalar": tuple(range(z.ndim)), "channel": (0, *range(2, z.ndim))}
    if normalise not in axes:
        raise InputError(f"normalise is one of {', '.join(axes)}; got {normalise!r}.")
    if normalise == "none":
        return z
    deviation = z.std(axis=axes[normalise], keepdims=True)
    if np.any(deviation == 0):
        raise InputError("a channel of the latents is constant, so it cannot be normalised.")
    return z / deviation


def _covariance(x: Values, shrinkage: Shrinkage) -> tuple[Values, float]:
    """Covariance (d, d) and the share in [0, 1] of the multiple of the identity in it."""
    if shrinkage == "none":
        return np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]), 0.0
    from sklearn.covariance import ledoit_wolf

    covariance, amount = ledoit_wolf(x)
    return np.asarray(covariance), float(amount)


def _notes(n: int, dims: int, amount: float) -> tuple[str, ...]:
    if n > 10 * dims:
        return ()
    if amount == 0.0:  # E ln det of a Wishart matrix: a sum of digamma functions
        from scipy.special import digamma

        halves = (n - 1 - np.arange(dims)) / 2.0
        bias = 0.5 * float(np.sum(digamma(halves) + np.log(2.0 / (n - 1))))
        return (f"{n} latents of {dims} numbers: the fit is too narrow by {-bias:.4g} nats.",)
    return (
        f"{n} latents of {dims} numbers: {100 * amount:.1f} % of the covariance is shrinkage, "
        "and the entropy depends on it.",
    )
