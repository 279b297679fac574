"""How the videos of a dataset look: how steady they are, and how bright."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from echoflow.data.manifest import Manifest
from echoflow.data.video import read_gray
from echoflow.distances import used
from echoflow.metrics.image import flicker, frame_correlations, roughness
from echoflow.metrics.intervals import bootstrapped, two_sample
from echoflow.types import InputError

STEADINESS = ("flicker", "roughness", "frame_correlation")
RESAMPLES = 2000


@dataclass(frozen=True)
class Looks:
    """Of every video: how steady it is, (n, 3), nan below 3 frames, and its greys (n, 256)."""

    steady: np.ndarray
    greys: np.ndarray
    notes: tuple[str, ...]

    def metrics(self, seed: int) -> dict[str, float]:
        """Means over videos with their intervals."""
        rows = self.steady[np.isfinite(self.steady).all(axis=1)]
        found: dict[str, float] = {}
        for name, values in zip(STEADINESS, rows.T, strict=True):
            found |= mean(name, values, seed)
        return found


def looks(manifest: Manifest, tell: Callable[[int], None]) -> Looks:
    """Every video once, one in memory at a time."""
    steady, greys, left = [], [], Counter[str]()
    for done, record in enumerate(manifest.records, 1):
        try:
            video, _ = read_gray(manifest.video(record))
        except InputError:
            left["unreadable"] += 1
            continue
        finally:
            tell(done)
        greys.append(np.bincount(video.ravel(), minlength=256) / video.size)
        scores = (flicker, roughness, lambda v: float(frame_correlations(v).mean()))
        steady.append([f(video) if len(video) >= 3 else np.nan for f in scores])
    if not greys:
        raise InputError(f"{manifest.root}: none of {len(manifest.records)} videos can be read.")
    notes, brief = used(manifest, len(greys), left), int(np.isnan(steady).any(axis=1).sum())
    if brief:
        name = manifest.root.resolve().name
        notes += (f"{brief} of {len(greys)} videos of {name} are too short to be steady or not.",)
    return Looks(np.array(steady), np.stack(greys), notes)


def mean(name: str, values: np.ndarray, seed: int) -> dict[str, float]:
    """A mean over videos and its interval; not a number where there are none."""
    if not len(values):
        return {name: math.nan}
    low, high = bootstrapped(lambda i: float(values[i].mean()), len(values), RESAMPLES, seed)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def grey_distance(a: np.ndarray, b: np.ndarray, seed: int) -> dict[str, float]:
    """Wasserstein distance of the mean grey histograms of two sets (n, 256), in levels."""

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.abs(np.cumsum(x.mean(axis=0) - y.mean(axis=0))).sum())

    found = {"grey_w1": distance(a, b)}
    if min(len(a), len(b)) > 1:
        low, high = two_sample(distance, a, b, seed=seed)
        found |= {"grey_w1_low": max(low, 0.0), "grey_w1_high": high}
    return found
