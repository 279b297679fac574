"""The page of `echoflow evaluate DATASET`: numbers beside floors, videos beside real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.evaluation import asked_of, evaluate, obedience
from echoflow.floors import Floored, Tell, beside, floored, header
from echoflow.judges import Segmenter
from echoflow.metrics import diagrams, figures
from echoflow.metrics.page import Page, Picture, Section, Table
from echoflow.metrics.report import Report, number
from echoflow.pages.beside import curves, pairs_of, side_by_side
from echoflow.pages.numbers import FLOORS, every_number
from echoflow.types import Record, Split

ENOUGH = 2  # EFs, without which there is no scatter


@dataclass(frozen=True)
class Measured:
    """A dataset, what it was held against, and all that was measured of both.

    `finder` draws volume curves: a segmenter that needs no prior. `weights` is its name.
    """

    ours: Manifest
    theirs: Manifest | None
    scores: Floored
    finder: Segmenter | None = None
    weights: str = ""


def measured(
    root: str | Path,
    against: str | Path | None,
    split: Split | None,
    most: int,
    weights: str,
    seed: int,
    tell: Tell,
) -> Measured:
    """`evaluate`, with floors where there are real videos.

    `most` real videos go through the A-VAE of `weights`; with 0 the weights are not opened.
    """
    report = evaluate(root, against, split, seed, lambda done, n: tell("videos", done, n))
    ours = open_source(root)
    if against is None:
        return Measured(replace(ours, records=ours.of(split)), None, Floored(report))
    real = open_source(against)
    theirs = replace(real, records=real.of(split))

    def measure(one: Manifest, other: Manifest) -> Report:
        return evaluate(one, other, None, seed, lambda done, n: tell("floors", done, n))

    found = floored(report, measure, theirs, most, weights, seed, tell)
    finder = found.parts.finder if found.parts else None
    finder = finder if isinstance(finder, Segmenter) else None
    return Measured(ours, theirs, found, finder, weights)


def page(found: Measured) -> Page:
    """Numbers, agreement, EFs, videos and curves, and where all of it comes from."""
    report, against = found.scores.report, found.theirs
    pairs = pairs_of(found.ours, against) if against is not None else []
    sections = [
        _numbers(found),
        *_obedience(found.ours),
        *_histograms(found),
        *side_by_side(pairs),
        *curves(pairs, found.finder, found.weights),
        *every_number(found.scores.reports()),
    ]
    beside_what = f" beside {against.root.resolve().name}" if against is not None else ""
    return Page(
        title=f"{found.ours.root.resolve().name}{beside_what}",
        lead=f"{report.n} videos measured. Every number is printed with its interval, with what it "
        "depends on, and, where there are real videos, with the best that could be reached.",
        tiles=_tiles(found),
        sections=sections,
        footer="Written by `echoflow evaluate`. Not for diagnosis.",
    )


def _tiles(found: Measured) -> list[tuple[str, str]]:
    metrics, words = found.scores.report.metrics, [(str(found.scores.report.n), "videos")]
    for name, what in (
        ("ef_mae", "points: mean EF error, single draws"),
        ("ef_r2", "R² of EF measured on EF asked"),
        ("grey_w1", "grey levels between the histograms"),
        ("flicker", "grey levels of flicker"),
    ):
        if name in metrics:
            floors = [
                f"{who} {number(floor.metrics[name])}"
                for who, floor in found.scores.floors.items()
                if name in floor.metrics
            ]
            words.append((number(metrics[name]), "; ".join([what, *floors])))
    return words


def _numbers(found: Measured) -> Section:
    told = [
        "Flicker is the unsteadiness of the mean brightness in grey levels, roughness is 0 for "
        "smooth motion and 3 for noise, frame correlation compares neighbouring frames, and the "
        "grey distance is that of the two brightness histograms in levels."
    ]
    if found.scores.floors:
        told.append(FLOORS)
    rows = beside(found.scores.report, found.scores.floors)
    return Section("The numbers", told, table=Table(header(found.scores.floors), rows))


def _obedience(ours: Manifest) -> list[Section]:
    asked, measured, views = obedience(ours)
    if len(asked) < ENOUGH:
        return []
    names = np.array([view.name for view in views])
    groups = {n: (asked[names == n], measured[names == n]) for n in dict.fromkeys(names)}
    return [
        Section(
            "Does it beat as asked?",
            ["Single draws: every video counts. EF measured is what the dataset's table says."],
            [
                Picture(
                    figures.asked_measured(groups, None),
                    "asked-measured.png",
                    "EF asked against EF measured.",
                    "scatter plot of EF asked against EF measured",
                ),
                Picture(
                    diagrams.bland_altman(groups),
                    "bland-altman.png",
                    "The difference against the mean, with the limits between which about 95 % of "
                    "videos lie.",
                    "Bland-Altman plot of EF asked and EF measured",
                ),
            ],
        )
    ]


def _histograms(found: Measured) -> list[Section]:
    groups = {"measured": _efs(found.ours.records), "asked": _asked(found.ours)}
    if found.theirs is not None:
        groups["real"] = _efs(found.theirs.records)
    known = {name: values for name, values in groups.items() if len(values)}
    if not known:
        return []
    return [
        Section(
            "Which ejection fractions?",
            ["Shares in steps of 5 points; dotted lines are means."],
            [
                Picture(
                    figures.ef_histograms(known),
                    "efs.png",
                    "EF of the dataset, measured and asked for, beside the labels of the real one.",
                    "histograms of ejection fractions",
                )
            ],
        )
    ]


def _efs(records: Sequence[Record]) -> list[float]:
    return [record.ef for record in records if record.ef is not None]


def _asked(ours: Manifest) -> list[float]:
    return [asked for _, asked in asked_of(ours)]
