"""A paper's table with ours beside it: markdown to read, CSV to compute with, a picture to show."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echoflow.metrics.report import Report, brief, number, plain, span
from echoflow.reproduce.printed import ALL, PROTOCOLS, Printed

FIRST = re.compile(r"\d+(\.\d+)?($|,)")
DECIMAL = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
COLUMNS = ("row", "metric", "paper", "ours", "low", "high", "difference", "n")


@dataclass(frozen=True)
class Sheet:
    """`reports` are ours by row, `metrics` the columns, `column` the paper's data set.

    Rows are those of the paper in its order, then ours that it does not have; where all begin with
    a number, in the order of that. `on` says on what ours were measured: unless that is the paper's
    own data, differences compare two data sets too.
    """

    table: Printed
    column: str
    on: str
    reports: Mapping[str, Report]
    metrics: Sequence[str]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows; numbers are put in order."""
        names = dict.fromkeys([*self.table.rows, *self.reports])
        if not all(map(FIRST.match, names)):
            return tuple(names)
        return tuple(sorted(names, key=lambda name: float(name.partition(",")[0])))

    def cell(self, row: str, metric: str) -> tuple[float | None, float | None]:
        """(paper, ours); None where there is no such number."""
        report = self.reports.get(row)
        ours = None if report is None else report.metrics.get(metric)
        return self.table.value(row, self.column, metric), ours

    def difference(self, row: str, metric: str) -> float | None:
        """Ours less the paper's; None where a number is missing or was measured otherwise."""
        paper, ours = self.cell(row, metric)
        if paper is None or ours is None or self.otherwise(row, metric):
            return None
        return ours - paper

    def otherwise(self, row: str, metric: str) -> str:
        """How a number of ours was measured otherwise than the paper's beside it, if it was."""
        report = self.reports.get(row)
        if report is None or metric not in PROTOCOLS or None in self.cell(row, metric):
            return ""
        return PROTOCOLS[metric].lacks(report)

    def shown(self) -> tuple[str, ...]:
        """The metrics of which there is any number."""
        return tuple(
            m for m in self.metrics if any(self.cell(r, m) != (None, None) for r in self.rows)
        )

    def to_markdown(self) -> str:
        """Title, table, and what to know of the numbers."""
        names = self.shown()
        head = ["row", *(f"{m}, {what}" for m in names for what in self._kinds(m))]
        lines = [head, ["---"] * len(head), *(self._line(row, names) for row in self.rows)]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return f"# {self._title()}\n\n{self.table.caption}.\n\n{table}\n\n{self._about()}\n"

    def to_csv(self) -> str:
        """A row for every number; empty where there is none."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in self.rows:
            for metric in self.shown():
                paper, ours = self.cell(row, metric)
                report = self.reports.get(row)
                low, high = (report and report.interval(metric)) or (None, None)
                gap = self.difference(row, metric)
                n = None if report is None else report.n
                table.writerow([row, metric, *map(_plain, (paper, ours, low, high, gap, n))])
        return text.getvalue()

    def to_json(self) -> str:
        """Ours as reports, each with all that it depends on."""
        told = [json.loads(report.to_json()) for report in self.reports.values()]
        return json.dumps({"table": self.table.source, "on": self.on, "reports": told}, indent=1)

    def _title(self) -> str:
        beside = f", {self.column}" if self.column in _sets(self.table) - {ALL} else ""
        return f"{self.table.source}{beside}, and ours on {self.on}"

    def _kinds(self, metric: str) -> tuple[str, ...]:
        """The columns of a metric: all three where the paper prints it, else ours alone."""
        printed = any(self.cell(row, metric)[0] is not None for row in self.rows)
        return ("paper", "ours", "difference") if printed else ("ours",)

    def _line(self, row: str, metrics: Sequence[str]) -> list[str]:
        cells = [row]
        for metric in metrics:
            paper, _ = self.cell(row, metric)
            gap = self.difference(row, metric)
            told = {"paper": "-" if paper is None else number(paper)}
            told["difference"] = "-" if gap is None else f"{gap:+.4g}"
            told["ours"] = self._ours(row, metric)
            cells += [told[kind] for kind in self._kinds(metric)]
        return cells

    def _ours(self, row: str, metric: str) -> str:
        report = self.reports.get(row)
        if report is None or metric not in report.metrics:
            return "-"
        value, reach = number(report.metrics[metric]), span(report.interval(metric))
        return value if reach == "-" else f"{value} ({reach})"

    def _about(self) -> str:
        """Settings that all rows share, those of single rows, and every note once."""
        reports = list(self.reports.values())
        shared = _shared([_settings(report) for report in reports])
        lines = ["In brackets: 90 % intervals."] if any(map(_has_interval, reports)) else []
        if self.table.missing != "nothing":
            lines.append(f"Not at hand of the paper: {self.table.missing}.")
        if self.column in _sets(self.table) - {ALL}:
            lines.append(
                f"The paper's numbers are of {self.column}, ours of {self.on}: unless those are "
                "the same, a difference is one between data sets, too."
            )
        lines.append("Ours: " + ", ".join(f"{k} {brief(v)}" for k, v in shared.items()) + ".")
        for row, report in self.reports.items():
            own = {k: v for k, v in _settings(report).items() if k not in shared}
            rest = ", ".join(f"{k} {brief(v)}" for k, v in own.items())
            lines += [f"{row}: {rest}."] if rest else []
        notes = _together([*self._apart(), *(note for r in reports for note in r.notes)])
        return "\n\n".join([*lines, *(f"Note: {note}" for note in notes)])

    def _apart(self) -> Iterator[str]:
        """Why a metric has no differences."""
        for metric in self.shown():
            for row in self.rows:
                if why := self.otherwise(row, metric):
                    yield f"{metric} has no difference from the paper where {why}."

    def to_png(self) -> bytes:
        """A panel for every metric, a line for every row: the paper's number and ours."""
        from echoflow.metrics.figures import printed_and_measured

        panels = {}
        for metric in self.shown():
            rows = {}
            for row in self.rows:
                paper, ours = self.cell(row, metric)
                report = self.reports.get(row)
                rows[row] = (paper, ours, report and report.interval(metric))
            panels[metric] = rows
        return printed_and_measured(panels, self.table.where.lower(), self.on)


def _sets(table: Printed) -> set[str]:
    return {column for cells in table.rows.values() for column in cells}


def _settings(report: Report) -> dict[str, Any]:
    """All that a report depends on, with what is inside a setting by a name of its own."""
    told: dict[str, Any] = {"n": report.n}
    for name, value in report.settings.items():
        inside = isinstance(value, Mapping)
        told |= {f"{name} {key}": one for key, one in value.items()} if inside else {name: value}
    return told | {f"{name} sha256": value for name, value in report.fingerprints.items()}


def _together(notes: Sequence[str]) -> list[str]:
    """Every note once; of those that differ in decimal numbers alone one, with their range."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for note in notes:
        groups.setdefault(tuple(DECIMAL.split(note)), []).append(DECIMAL.findall(note))
    told = []
    for (start, *rest), numbers in groups.items():
        ranges = map(_range, zip(*numbers, strict=True))
        told.append(
            start + "".join(f"{span}{text}" for span, text in zip(ranges, rest, strict=True))
        )
    return told


def _range(numbers: Sequence[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low} to {high}"


def _has_interval(report: Report) -> bool:
    return any(report.interval(name) for name in report.names())


def _shared(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all have with one value."""
    first = dict(settings[0]) if settings else {}
    return {k: v for k, v in first.items() if all(plain(s.get(k)) == plain(v) for s in settings)}


def _plain(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.8g}"
