"""The last sections of every page: all numbers with their intervals, and their provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from echoflow.files import atomic_file
from echoflow.floors import beside, header
from echoflow.metrics.page import Page, Section, Table, to_html, to_markdown
from echoflow.metrics.report import Report, number, span

HEADER = ("metric", "value", "90 % interval")
FLOORS = (
    "The last columns are floors: the same measurement between two halves of the real videos, "
    "patients apart, where that can be measured, and between real videos and their reconstructions "
    "by the A-VAE. A model that paints with that A-VAE cannot be expected below them."
)


def every_number(reports: Sequence[Report]) -> list[Section]:
    """One section per report: each number with its interval, and what it depends on."""
    return [_section(report) for report in reports]


def _section(report: Report) -> Section:
    rows = [
        [name, number(report.metrics[name]), span(report.interval(name))] for name in report.names()
    ]
    return Section(
        f"Every number: {report.name}",
        [f"n = {report.n}. {settings(report)}", *(f"Note: {note}" for note in report.notes)],
        table=Table(HEADER, rows),
    )


def settings(report: Report) -> str:
    """Settings and fingerprints of a report in one line; what is not set is left out."""
    told = {**report.settings, **{f"{k} sha256": v[:16] for k, v in report.fingerprints.items()}}
    return "; ".join(f"{key} {_value(value)}" for key, value in told.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_value(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def numbers_page(
    title: str, lead: str, report: Report, floors: Mapping[str, Report], explained: str = FLOORS
) -> Page:
    """A page without pictures: a report beside its floors, and where all of it comes from."""
    table = Table(header(floors), beside(report, floors))
    notes = [f"Note: {note}" for note in report.notes]
    return Page(
        title=title,
        lead=lead,
        tiles=[(str(report.n), "videos")],
        sections=[
            Section("The numbers", [explained, *notes] if floors else notes, table=table),
            *every_number([report, *floors.values()]),
        ],
        footer="Written by `echoflow evaluate`. Not for diagnosis.",
    )


def cell(report: Report, name: str) -> str:
    """A number of a report with its interval, for a table; a dash where there is none."""
    if name not in report.metrics:
        return "-"
    value, interval = number(report.metrics[name]), report.interval(name)
    return value if span(interval) in ("-", "inf to inf") else f"{value} [{span(interval)}]"


def write(out: Path, page: Page, reports: Sequence[Report]) -> tuple[Path, ...]:
    """<out>.html, <out>.md with its pictures in <out>-files, and <out>.json; returns the three."""
    folder = out.with_name(f"{out.name}-files")
    folder.mkdir(parents=True, exist_ok=True)
    for picture in _pictures(page):
        with atomic_file(folder / picture.file) as work:
            work.write_bytes(picture.data)
    told = json.dumps({"reports": [json.loads(one.to_json()) for one in reports]}, indent=2)
    texts = {".html": to_html(page), ".md": to_markdown(page, folder.name), ".json": told + "\n"}
    paths = tuple(out.with_name(out.name + suffix) for suffix in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        with atomic_file(path) as work:
            work.write_text(text, encoding="utf-8")
    return paths


def _pictures(page: Page) -> Iterator[Any]:
    for section in page.sections:
        yield from section.pictures
