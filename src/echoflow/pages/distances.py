"""The page of `echoflow evaluate distances`: distances of two datasets beside their floors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.distances import Seen, between, distances, seen
from echoflow.floors import Floored, Tell, floored
from echoflow.metrics.features import FeatureExtractor
from echoflow.metrics.frechet import Covariance
from echoflow.metrics.page import Page
from echoflow.metrics.report import Report
from echoflow.pages.numbers import numbers_page
from echoflow.types import Split


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
    """`distances` and their floors; `most` real videos go through the A-VAE of `weights`."""
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

    def eyes(manifest: Manifest) -> Seen:
        total = len(manifest.records)
        return seen(manifest, network, frames, None, lambda done: tell("floors", done, total))

    def measure(one: Manifest, other: Manifest) -> Report:
        return between(eyes(one), eyes(other), covariance, seed)

    opened = open_source(real)
    theirs = replace(opened, records=opened.of(split))
    return floored(report, measure, theirs, most, weights, seed, tell)


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
    )
