"""Two sets of features into one report: every distance, its interval, and what to read it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from echoflow.metrics.features import Features
from echoflow.metrics.frechet import Covariance, Statistics, frechet, pair
from echoflow.metrics.intervals import two_sample
from echoflow.metrics.kernels import gaussian, kid, median_distance, mmd2
from echoflow.metrics.manifold import manifold
from echoflow.metrics.report import Report, plain
from echoflow.types import InputError

Values = NDArray[np.float64]
Distance = Callable[[Values, Values], float]

BOUNDS = {
    "kid": (-np.inf, np.inf),
    "mmd": (-np.inf, np.inf),
    **dict.fromkeys(("precision", "recall", "coverage"), (0.0, 1.0)),
}
"""What a number can be, where that is not [0, infinity): an interval ends there."""


def distribution(
    real: Features,
    generated: Features,
    covariance: Covariance = "sample",
    k: int = 5,
    blocks: int = 10,
    seed: int = 0,
) -> Report:
    """Frechet distance, KID, MMD, precision, recall, density and coverage, 90 % intervals.

    Refused when extractor or settings differ. The bandwidth of the MMD is the median distance of
    the pooled samples. Intervals leave out `blocks` blocks of videos in turn, of either set.
    """
    _comparable(real, generated)
    a, b = pair(real.values, generated.values, least=k + 2)  # an interval leaves one out
    bandwidth = median_distance(a, b)
    whole, kernel = frechet(Statistics.of(a), Statistics.of(b), covariance, seed), kid(a, b)
    distances: dict[str, Distance] = {
        "fd": lambda x, y: _frechet(x, y, covariance),
        "kid": mmd2,
        "mmd": lambda x, y: mmd2(x, y, gaussian(bandwidth)),
    }
    metrics = {"fd": whole.value, "fd_means": whole.means, "kid": kernel.mean}
    metrics |= {"kid_std": kernel.std, "mmd": distances["mmd"](a, b)}
    metrics |= {name: v for name, v in asdict(manifold(a, b, k)).items() if name != "k"}
    for name in ("precision", "recall", "density", "coverage"):
        distances[name] = lambda x, y, name=name: getattr(manifold(x, y, k), name)
    per_video = (len(a) // real.videos, len(b) // generated.videos)
    for name, distance in distances.items():
        low, high = two_sample(distance, a, b, per_video, blocks, seed)
        floor, top = BOUNDS.get(name, (0.0, np.inf))
        metrics |= {f"{name}_low": max(low, floor), f"{name}_high": min(high, top)}
    metrics |= _about(kernel.mean, mmd2(a, b), metrics)
    settings = {
        **real.settings,
        "extractor": real.extractor.name,
        "extractor_sha256": real.extractor.sha256,
        "samples": [len(a), len(b)],
        "covariance": covariance,
        "neighbours": k,
        "kid": {"subsets": kernel.subsets, "size": kernel.size},
        "interval": {"level": 90, "blocks": blocks, "of": "videos"},
        "seed": seed,
    }
    caveat = (real.extractor.caveat,) if real.extractor.caveat else ()
    notes = (*caveat, *whole.notes, *kernel.notes)
    return Report("distribution", metrics, generated.videos, settings, notes=notes)


def _about(kid: float, whole: float, metrics: Mapping[str, float]) -> dict[str, float]:
    """The interval of KID, a mean over subsets, from that of the same distance of whole sets."""
    return {f"kid_{end}": metrics[f"kid_{end}"] - whole + kid for end in ("low", "high")}


def _frechet(x: Values, y: Values, covariance: Covariance) -> float:
    """Without the note of a small set, which costs a simulation."""
    return frechet(Statistics.of(x), Statistics.of(y), covariance, chance_of=False).value


def _comparable(real: Features, generated: Features) -> None:
    """Refuses features of two networks, or of videos prepared in two ways."""
    theirs = {"extractor": real.extractor.name, "sha256": real.extractor.sha256, **real.settings}
    ours = {"extractor": generated.extractor.name, "sha256": generated.extractor.sha256}
    ours |= generated.settings
    keys = [key for key in {**theirs, **ours} if plain(theirs.get(key)) != plain(ours.get(key))]
    if keys:
        what = ", ".join(f"{key} {theirs.get(key)!r} and {ours.get(key)!r}" for key in keys)
        raise InputError(
            f"the two sets of features cannot be compared: {what}. Prepare and extract both alike."
        )
