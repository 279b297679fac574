"""The page of `echoflow evaluate beats`: how hearts beat, beside real ones and their floors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoflow.beats import beats
from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.floors import Floored, Tell, floored
from echoflow.metrics.page import Page
from echoflow.metrics.report import Report
from echoflow.pages.numbers import numbers_page
from echoflow.types import Split


def measured(
    dataset: str | Path,
    against: str | Path | None,
    split: Split | None,
    most: int,
    weights: str | Path,
    seed: int,
    tell: Tell,
) -> Floored:
    """`beats`; beside real videos also of one half of them, and of `most` through the A-VAE."""
    report = beats(dataset, weights, against, split, seed, lambda done, n: tell("videos", done, n))
    if against is None:
        return Floored(report)

    def measure(one: Manifest, other: Manifest) -> Report:
        return beats(one, weights, None, None, seed, lambda done, n: tell("floors", done, n))

    opened = open_source(against)
    theirs = replace(opened, records=opened.of(split))
    return floored(report, measure, theirs, most, weights, seed, tell)


def page(dataset: Path, found: Floored) -> Page:
    """Every number with its interval, its floors, and what it depends on."""
    return numbers_page(
        f"How the hearts of {dataset.resolve().name} beat",
        f"{found.report.n} videos in the eyes of a segmenter: cycle length, timing, EF by masks, "
        "smoothness of the volume curve, and whether the heart stays itself.",
        found.report,
        found.floors,
        "The last columns are what is natural: one half of the real videos by itself, and real "
        "videos put through the A-VAE. Nearer to them is better, whichever way.",
    )
