"""How good can a score be? Real videos against other real ones, and against their reconstructions.

No distance of two finite sets is zero, and what an A-VAE loses no model that paints with it can
win back. Both are measured as the score itself is, and stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from echoflow import judges
from echoflow.data.manifest import Manifest
from echoflow.data.prepare import load_clip
from echoflow.draws import shown
from echoflow.evaluation import regressor_error
from echoflow.latents import LatentSpace
from echoflow.metrics.report import Report, number, span
from echoflow.pipeline import Pipeline, load, unmeasured, weights_print
from echoflow.reproduce.rebuilt import rebuilt
from echoflow.synthesis import Regressor
from echoflow.types import InputError, Record

Measure = Callable[[Manifest, Manifest], Report]
"""(generated, real) -> the report whose floors are wanted."""
Progress = Callable[[int, int], None]
Tell = Callable[[str, int, int], None]
"""(what, done, in all)."""

REAL, AVAE = "real against real", "through the A-VAE"


def halves(real: Manifest, seed: int = 0) -> tuple[Manifest, Manifest]:
    """Two halves of a dataset, drawn by `seed`; all videos of a patient are in one of them."""
    patients: dict[str, list[Record]] = {}
    for record in real.records:
        patients.setdefault(record.patient or record.uid, []).append(record)
    if len(patients) < 2:
        raise InputError(
            f"{real.root} holds videos of {len(patients)} patient; two halves need at least 2."
        )
    order = np.random.default_rng(seed).permutation(len(patients))
    sides: tuple[list[Record], list[Record]] = ([], [])
    groups = list(patients.values())
    for place in order:  # the shorter half takes the next patient
        sides[len(sides[0]) > len(sides[1])].extend(groups[place])
    first, second = (replace(real, records=tuple(side)) for side in sides)
    return first, second


def some(real: Manifest, most: int, seed: int = 0) -> Manifest:
    """At most `most` videos of a dataset, drawn by `seed`, in their order."""
    if len(real.records) <= most:
        return real
    chosen = np.random.default_rng(seed).permutation(len(real.records))[:most]
    return replace(real, records=tuple(real.records[i] for i in sorted(chosen)))


def floors(
    measure: Measure,
    real: Manifest,
    space: LatentSpace | None,
    folder: Path,
    most: int = 32,
    regressor: Regressor | None = None,
    seed: int = 0,
    tell: Progress = lambda done, total: None,
    halved: bool = True,
) -> dict[str, Report]:
    """`measure` of one half of the real videos against the other, and of reconstructions.

    Without `halved` of reconstructions only: halves share no video, which some measures need.
    `most` videos go through the A-VAE `space` and are held against themselves; they are kept in
    `folder`. Without a space there is no second report. The floors of `ef_` scores are the errors
    of `regressor` on the same videos, before and after, where their EF is known. A floor that so
    few videos do not allow is empty, and its note says why.
    """
    found = {REAL: one_floor(REAL, lambda: measure(*halves(real, seed)))} if halved else {}
    if space is None or most < 1:
        return found
    part = _readable(some(real, most, seed))
    if not part.records:
        unread = f"{AVAE}: none of the {most} videos drawn can be read; give more, or another seed."
        return {**found, AVAE: Report(AVAE, {}, 0, notes=(unread,))}
    again = rebuilt(part, part.records, space, folder / "rebuilt", tell)
    report = one_floor(AVAE, lambda: measure(again, part))
    paired = f"{AVAE}: {len(part.records)} real videos against themselves."
    found[AVAE] = replace(report, notes=(paired, *report.notes))
    if regressor is None:
        return found
    errors = {REAL: _errors(regressor, part), AVAE: _errors(regressor, again)}
    return {name: _with(found[name], errors[name]) for name in found}


def _readable(real: Manifest) -> Manifest:
    """The videos that can be read: one that is broken is told by the score, not by its floor."""

    def reads(record: Record) -> bool:
        try:
            load_clip(real, record)
        except InputError:
            return False
        return True

    return replace(real, records=tuple(filter(reads, real.records)))


@dataclass(frozen=True)
class Floored:
    """A report beside its floors, and the weights that gave them, if any were opened."""

    report: Report
    floors: Mapping[str, Report] = field(default_factory=dict)
    parts: Pipeline | None = None

    def text(self) -> str:
        """The numbers and their floors as markdown, then what they depend on."""
        notes = [note for floor in self.floors.values() for note in floor.notes]
        told = "".join(f"\n\nNote: {note}" for note in dict.fromkeys(notes))
        return f"{as_markdown(self.report, self.floors)}\n\n{self.report.about()}{told}"

    def reports(self) -> list[Report]:
        """The report, then its floors."""
        return [self.report, *self.floors.values()]


def floored(
    report: Report,
    measure: Measure,
    real: Manifest,
    most: int,
    weights: str | Path,
    seed: int,
    tell: Tell,
    halved: bool = True,
) -> Floored:
    """`floors` of a report by A-VAE and regressor of `weights`, closed if `most` is 0.

    The floors that these networks measured name them by their fingerprint.
    """
    parts = load(weights) if most else None
    regressor = parts.regressor if parts and parts.regressor is not unmeasured else None
    with TemporaryDirectory() as scratch:
        found = floors(
            measure,
            real,
            parts.space if parts else None,
            Path(scratch),
            most,
            regressor,
            seed,
            lambda done, n: tell("A-VAE", done, n),
            halved,
        )
    if parts:
        prints = {"networks": weights_print(weights)}
        by = {AVAE} if regressor is None else {AVAE, REAL}
        found |= {name: _measured_by(found[name], prints) for name in by & found.keys()}
    return Floored(report, found, parts)


def _measured_by(floor: Report, prints: Mapping[str, str]) -> Report:
    return replace(floor, fingerprints={**floor.fingerprints, **prints})


def _errors(regressor: Regressor, real: Manifest) -> Report | None:
    """The EF regressor on the videos whose EF is known and that it can take; None without any.

    Each is shown at the rate that it was trained on, if it says one.
    """
    clips = []
    for record in real.records:
        if record.ef is None:
            continue
        try:
            clip = load_clip(real, record)
            if isinstance(regressor, judges.Regressor):
                video, fps = shown(regressor, clip.video, clip.fps), regressor.net.config.fps
                clip = replace(clip, video=video, fps=fps)
            regressor(torch.from_numpy(clip.video[None].copy()))
        except InputError:  # too short for it, or unreadable
            continue
        clips.append(clip)
    return regressor_error(regressor, clips) if clips else None


def _with(floor: Report, errors: Report | None) -> Report:
    """A floor with the errors of the regressor among its metrics."""
    if errors is None:
        return floor
    told = (
        f"ef_ scores are the errors of the regressor on {errors.n} real videos of known EF, "
        f"shown at {errors.settings['fps']:g} Hz."
    )
    return replace(floor, metrics={**floor.metrics, **errors.metrics}, notes=(*floor.notes, told))


def one_floor(name: str, measured: Callable[[], Report]) -> Report:
    """A report by the name of a floor; an empty one with the reason where it cannot be measured."""
    try:
        report = measured()
    except InputError as error:
        return Report(name, {}, 0, notes=(f"{name}: not measured, since {error}",))
    return replace(report, name=f"{report.name}, {name}")


def beside(report: Report, found: Mapping[str, Report]) -> list[list[str]]:
    """Rows of a table: metric, value, interval, then the value of every floor."""
    return [
        [
            name,
            number(report.metrics[name]),
            span(report.interval(name)),
            *(number(floor.metrics.get(name, float("nan"))) for floor in found.values()),
        ]
        for name in report.names()
    ]


def header(found: Mapping[str, Report]) -> list[str]:
    """What stands above `beside`."""
    return ["metric", "value", "90 % interval", *found]


def as_markdown(report: Report, found: Mapping[str, Report]) -> str:
    """The table for a terminal."""
    rows: Sequence[Sequence[str]] = [header(found), ["---"] * (3 + len(found))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*rows, *beside(report, found)])
