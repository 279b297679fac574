"""The page of `echoflow evaluate distances`: distances of two datasets beside their floors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.distances import Seen, alike, between, distances, seen
from echoflow.floors import Floored, Measure, Tell, floored, halves, one_floor, some
from echoflow.metrics.features import FeatureExtractor
from echoflow.metrics.frechet import Covariance
from echoflow.metrics.page import Page
from echoflow.metrics.report import Report
from echoflow.pages.numbers import FLOORS, numbers_page
from echoflow.types import Split

FEW = "as few as a half"


def measured(
    generated: str | Path,
    real: str | Path,
    network: FeatureExtractor,
    frames: int | None,
    split: Split | None,
    covariance: Covariance,
    seed: int,
    most: int,
    weights: str | Path,
    tell: Tell,
) -> Floored:
    """`distances` and their floors; `most` real videos go through the A-VAE of `weights`.

    The two halves of the floor hold half the videos, and distances of fewer videos are larger: so
    as many generated videos are also held against one half.
    """
    report = distances(
        generated,
        real,
        network,
        frames,
        split,
        covariance,
        seed,
        lambda done, n: tell("features", done, n),
    )

    opened, made = open_source(real), open_source(generated)
    cut = alike(made, network, frames)

    def eyes(manifest: Manifest) -> Seen:
        total = len(manifest.records)
        return seen(manifest, network, cut, None, lambda done: tell("floors", done, total))

    def measure(one: Manifest, other: Manifest) -> Report:
        return between(eyes(one), eyes(other), covariance, seed)

    theirs = replace(opened, records=opened.of(split))
    found = floored(report, measure, theirs, most, weights, seed, tell)
    few = one_floor(FEW, lambda: _as_few(measure, made, theirs, seed))
    return replace(found, floors={FEW: few, **found.floors})


def _as_few(measure: Measure, generated: Manifest, real: Manifest, seed: int) -> Report:
    """As many generated videos as there are in one half of the real ones, against the other."""
    one, other = halves(real, seed)
    return measure(some(generated, len(one.records), seed), other)


def page(generated: Path, real: Path, found: Floored) -> Page:
    """Every distance with its interval, its floors, and what it depends on."""
    extractor = found.report.settings["extractor"]
    return numbers_page(
        f"{generated.resolve().name} in the eyes of {extractor}",
        f"How far {found.report.n} videos are from those of {real.resolve().name}, by the features "
        "of one network. Such numbers compare only with others of the same network, the same "
        "number of videos, and the same frames, rate and size.",
        found.report,
        found.floors,
        f"{FLOORS} A Frechet distance of fewer videos is larger, by about as many times as they "
        f"are fewer: compare the column of the two halves with '{FEW}', not with the value.",
    )
