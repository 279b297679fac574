"""Videos to features: what an extractor is, and a set of features with all that they depend on.

A distance of features means nothing without the network behind them, so its name and hash travel
with them. Statistics never ask which network it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echoflow.metrics.frechet import rows
from echoflow.types import InputError

Videos = NDArray[np.uint8]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Identity:
    """Which network: `sha256` is of its weights; `caveat` is printed wherever a result is."""

    name: str
    sha256: str
    caveat: str = ""


class FeatureExtractor(Protocol):
    """A network that describes videos, or every frame of them, by numbers."""

    @property
    def identity(self) -> Identity:
        """Name and hash, which tell numbers that may be compared from those that may not."""
        ...

    def __call__(self, videos: Videos) -> NDArray[np.float32]:
        """uint8 grey (n, t, h, w) -> (n, d) of videos, or (n t, d) of their frames."""
        ...


@dataclass(frozen=True)
class Features:
    """Features (m, d) of `videos` videos, in order; equal `settings` are needed to compare."""

    values: Values
    videos: int
    extractor: Identity
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


def extracted(
    extractor: FeatureExtractor,
    videos: Iterable[Videos],
    settings: Mapping[str, Any] | None = None,
    batch: int = 8,
    tell: Callable[[int], None] = lambda done: None,
) -> Features:
    """Features of videos (t, h, w), of which at most `batch` are held at a time.

    `settings` are what the caller knows (rate, split); frames and size are added. All videos must
    have one shape: networks see another scale otherwise, and clips of other lengths differ in FVD.
    """
    parts: list[Values] = []
    held: list[Videos] = []
    shape: tuple[int, ...] | None = None
    done = 0
    for video in videos:
        shape = _checked(video, shape, done + len(held))
        held.append(video)
        if len(held) == batch:
            parts.append(_run(extractor, held))
            done, held = done + len(held), []
            tell(done)
    if held:
        parts.append(_run(extractor, held))
        done += len(held)
        tell(done)
    if shape is None:
        raise InputError("no videos to take features of; give at least one.")
    known = {"frames": shape[0], "size": list(shape[1:]), **(settings or {})}
    return Features(np.concatenate(parts), done, extractor.identity, known)


def _checked(video: Videos, shape: tuple[int, ...] | None, number: int) -> tuple[int, ...]:
    if video.ndim != 3 or video.dtype != np.uint8 or not video.size:
        raise InputError(
            f"video {number} must be uint8 (t, h, w); got {video.dtype} {video.shape}."
        )
    if shape is not None and video.shape != shape:
        raise InputError(
            f"video {number} is {video.shape}, those before it {shape}; cut and resize all videos "
            "to one number of frames and one size."
        )
    return video.shape


def _run(extractor: FeatureExtractor, held: list[Videos]) -> Values:
    found = rows(extractor(np.stack(held)))
    if len(found) % len(held):
        raise InputError(
            f"{extractor.identity.name} made {len(found)} feature rows of {len(held)} videos."
        )
    return found


class RandomFeatures:
    """A small fixed random network, for tests and to see that a pipeline runs: labelled as such.

    Mean and deviation over time of an 8 x 8 picture through one random layer: 32 features that
    do react to anatomy and to motion. The same on every machine.
    """

    def __init__(self, seed: int = 0) -> None:
        self.weight = np.random.default_rng(seed).normal(0.0, 0.125, (128, 32))
        digest = hashlib.sha256(self.weight.astype("<f8").tobytes()).hexdigest()
        caveat = "features of a random network: a test of the program, no measure of quality"
        self.identity = Identity("random", digest, caveat)

    def __call__(self, videos: Videos) -> NDArray[np.float32]:
        n, t, h, w = videos.shape
        if min(h, w) < 8:
            raise InputError(f"pictures must be at least 8 pixels wide and high; got {h} x {w}.")
        edges = [np.linspace(0, side, 9).astype(int)[:-1] for side in (h, w)]
        sums = np.add.reduceat(np.add.reduceat(videos.astype(np.float64), edges[0], 2), edges[1], 3)
        areas = np.outer(*(np.diff([*e, side]) for e, side in zip(edges, (h, w), strict=True)))
        small = (sums / areas).reshape(n, t, 64) / 127.5 - 1.0
        pooled = np.concatenate([small.mean(axis=1), 4.0 * small.std(axis=1)], axis=1)
        return np.tanh(pooled @ self.weight).astype(np.float32)
