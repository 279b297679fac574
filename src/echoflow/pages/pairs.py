"""The page of `echoflow evaluate pairs`: what is left of recordings, beside the A-VAE's floor."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.floors import Floored, Tell, floored
from echoflow.metrics.lpips import Lpips
from echoflow.metrics.page import Page
from echoflow.metrics.report import Report
from echoflow.pages.numbers import numbers_page
from echoflow.pairs import pairs
from echoflow.types import Split


def measured(
    dataset: str | Path,
    against: str | Path,
    lpips: Lpips | None,
    split: Split | None,
    every: int,
    most: int,
    weights: str | Path,
    seed: int,
    tell: Tell,
) -> Floored:
    """`pairs`, and the same of `most` real videos put through the A-VAE of `weights`."""

    def measure(ours: Manifest, theirs: Manifest) -> Report:
        return pairs(ours, theirs, lpips, split, every, seed, partial(tell, "pairs"))

    opened = open_source(against)
    real = replace(opened, records=opened.of(split))
    report = measure(open_source(dataset), real)
    return floored(report, measure, real, most, weights, seed, tell, halved=False)


def page(dataset: Path, against: Path, found: Floored) -> Page:
    """Every score with its interval, its floor, and what it depends on."""
    return numbers_page(
        f"{dataset.resolve().name} beside {against.resolve().name}, video by video",
        f"What {found.report.n} videos have in common with those of the same name. Scores are "
        "means over the frames of a video, then over videos, of grey levels in [0, 1].",
        found.report,
        found.floors,
    )
