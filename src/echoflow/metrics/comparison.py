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
    """The reports of a JSON file: one, or those under `reports`; `InputError` if there are none."""
    path = Path(path)
    try:
        told = json.loads(path.read_text())
        parts = told.get("reports", [told])
        found = tuple(Report.from_json(json.dumps(part)) for part in parts)
    except (ValueError, TypeError, KeyError, AttributeError, IsADirectoryError, InputError):
        found = ()
    if not found:
        raise InputError(
            f"{path} holds no report; give a JSON file that evaluate or reproduce wrote."
        )
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
    return "\n".join([title, "", *lines, "", f"Both: {_settings(a)}."])


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
