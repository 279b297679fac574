"""Two runs side by side: every number of both, their difference, and whether intervals overlap."""

from __future__ import annotations

import json
import math
from pathlib import Path

from echoflow.metrics.report import Report, brief, number, span
from echoflow.types import InputError

Row = tuple[str, str, str, str, str, str, str]
HEADER: Row = ("metric", "A", "90 % of A", "B", "90 % of B", "B - A", "intervals")


def read_reports(path: str | Path) -> tuple[Report, ...]:
    """The reports of a JSON file: one, or those under `reports`, each of a name of its own.

    `InputError` if there are none.
    """
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        parts = [json.dumps(part) for part in told.get("reports", [told])]
        found = tuple(map(Report.from_json, parts))
    except InputError as error:
        raise InputError(f"{path} holds no report: {error}") from error
    except (ValueError, TypeError, AttributeError, IsADirectoryError, RecursionError):
        found = ()
    if not found:
        raise InputError(
            f"{path} holds no report; give a JSON file that evaluate or reproduce wrote."
        )
    names = [report.name for report in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{path} has the report {twice[0]} twice; leave one of them.")
    return found


def paired(a: tuple[Report, ...], b: tuple[Report, ...]) -> list[tuple[Report, Report]]:
    """Reports of one name from both; `InputError` if they share none."""
    second = {report.name: report for report in b}
    pairs = [(report, second[report.name]) for report in a if report.name in second]
    if not pairs:
        names = (", ".join(report.name for report in side) for side in (a, b))
        raise InputError(
            f"there is nothing to compare: one has {next(names)}, the other {next(names)}."
        )
    return pairs


def compared(a: Report, b: Report) -> list[Row]:
    """A row for every number that both have; see `Report.compare` for what is refused.

    Intervals that do not overlap tell two numbers apart; those that do overlap leave it open.
    """
    return [
        (
            name,
            number(a.metrics[name]),
            span(a.interval(name)),
            number(b.metrics[name]),
            span(b.interval(name)),
            number(difference),
            _verdict(a, b, name),
        )
        for name, difference in a.compare(b).items()
    ]


def to_markdown(a: Report, b: Report) -> str:
    """The rows as a table below the name of the report, and what both depend on."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEADER, ("---",) * 7, *compared(a, b))]
    title = f"## {a.name}, n = {a.n} and {b.n}"
    told = [f"Both: {_settings(a)}.", *_prints(a, b), *_alone(a, b), *_notes(a, b)]
    return "\n".join([title, "", *lines, "", "\n\n".join(told)])


def unpaired(a: tuple[Report, ...], b: tuple[Report, ...]) -> tuple[str, ...]:
    """A sentence on the reports of either side that have no counterpart; none if all have."""
    names = [{report.name for report in side} for side in (a, b)]
    alone = [", ".join(sorted(mine - theirs)) for mine, theirs in (names, names[::-1])]
    return tuple(f"Only in {s}: {what}." for s, what in zip("AB", alone, strict=True) if what)


def _prints(a: Report, b: Report) -> list[str]:
    """Which data, weights and networks either is of."""
    sides = [("A", a.fingerprints), ("B", b.fingerprints)]
    told = [
        f"{side}: {', '.join(f'{key} sha256 {value}' for key, value in prints.items())}."
        for side, prints in sides
        if prints
    ]
    return ["\n".join(told)] if told else []


def _alone(a: Report, b: Report) -> list[str]:
    """The numbers that only one of them has."""
    found = []
    for side, mine, theirs in (("A", a, b), ("B", b, a)):
        names = [name for name in mine.names() if name not in theirs.metrics]
        found += [f"Only in {side}: {', '.join(names)}."] if names else []
    return found


def _notes(a: Report, b: Report) -> list[str]:
    """What must be read with the numbers, of either side or of both."""
    return [
        f"Note on {' and '.join(s for s, one in (('A', a), ('B', b)) if note in one.notes)}: {note}"
        for note in dict.fromkeys((*a.notes, *b.notes))
    ]


def _settings(report: Report) -> str:
    return (
        ", ".join(f"{key} {brief(value)}" for key, value in report.settings.items())
        or "no settings"
    )


def _verdict(a: Report, b: Report, name: str) -> str:
    first, second = a.interval(name), b.interval(name)
    if first is None or second is None or any(map(math.isnan, (*first, *second))):
        return "-"
    return "apart" if first[1] < second[0] or second[1] < first[0] else "overlap"
