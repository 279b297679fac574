"""The Inception score (Salimans et al. 2016) from class probabilities or logits.

exp of the mean KL divergence of p(class | image) from its mean over a split, averaged over splits.
How images fall into splits is a convention: `actual` cuts what is there into equal parts (torch-
fidelity, torchmetrics), `nominal` cuts as if there were the number of images the protocol asks for
(StyleGAN-V, whose scripts the published scores come from).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from echoflow.metrics.frechet import rows
from echoflow.types import InputError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class InceptionScore:
    """Mean and population standard deviation over `splits` (torchmetrics divides by splits - 1)."""

    mean: float
    std: float
    n: int
    splits: int


def inception_score(
    probabilities: ArrayLike,
    splits: int = 10,
    nominal: int | None = None,
    shuffle_seed: int | None = None,
) -> InceptionScore:
    """The score of class probabilities (n, classes).

    `nominal` is the number of images that the protocol's splits are cut for; left out, splits are
    cut from those there are. A split without images is refused: elsewhere it gives NaN.
    `shuffle_seed` shuffles first, so that frames of one video are not all in one split.
    """
    p = _checked(probabilities)
    if shuffle_seed is not None:
        p = p[np.random.default_rng(shuffle_seed).permutation(len(p))]
    whole = len(p) if nominal is None else nominal
    edges = [min(i * whole // splits, len(p)) for i in range(splits + 1)]
    parts = [p[low:high] for low, high in pairwise(edges)]
    empty = sum(not len(part) for part in parts)
    if empty:
        raise InputError(
            f"{empty} of {splits} splits of {whole} images are empty, as there are {len(p)} "
            "images; give more images or ask for fewer splits."
        )
    scores = [float(np.exp(_information(part))) for part in parts]
    used = sum(len(part) for part in parts)
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), used, splits)


def probabilities(logits: ArrayLike) -> Values:
    """Softmax of logits (n, classes) in float64."""
    return np.asarray(softmax(rows(logits), axis=1))


def _information(p: Values) -> float:
    """Mean over images of KL(p(class | image) || mean p), nats; 0 log 0 is 0."""
    marginal = p.mean(axis=0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.sum(p * np.log(ratio), axis=1).mean())


def _checked(values: ArrayLike) -> Values:
    p = rows(values)
    if len(p) and (p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-4):
        raise InputError(
            f"class probabilities must be at least 0 and sum to 1; sums run from "
            f"{p.sum(axis=1).min():.4g} to {p.sum(axis=1).max():.4g}. Logits go through "
            "`probabilities` first."
        )
    return p
