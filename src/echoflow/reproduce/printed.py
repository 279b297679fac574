"""What the papers print, quoted: a copy of their tables' numbers, from `printed.json`.

A number that the paper does not print, or whose cell is not at hand, is not there; `missing` of a
table says which those are. Quoted numbers never stand for measured ones.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoflow.metrics.report import Report, plain
from echoflow.types import View, choose

Cells = Mapping[str, Mapping[str, float]]
"""Data set -> metric -> number."""

ALL = "all"  # the data set of numbers that depend on none
SETS: tuple[str, ...] = ("dynamic", "pediatric-a4c", "pediatric-psax", "lvh", "camus")
BY_VIEW = {View.A4C: "dynamic", View.PSAX: "pediatric-psax", View.PLAX: "lvh"}
"""The data set of the papers that a dataset of one view is set beside, unless it is named."""


@dataclass(frozen=True)
class Protocol:
    """What a number of the papers was measured with: a network, what it was shown, how many."""

    network: str
    shown: Mapping[str, Any]
    videos: int = 2048

    def lacks(self, report: Report) -> str:
        """How a report's number was measured otherwise; nothing where it was so."""
        there = {key: report.settings.get(f"{self.network}: {key}") for key in self.shown}
        if report.settings.get(f"{self.network}: extractor") != self.network:
            return f"it is not by the network {self.network}"
        other = [f"{k} {there[k]} for {v}" for k, v in self.shown.items() if plain(there[k]) != v]
        few = [f"{report.n} videos for {self.videos}"] if report.n < self.videos else []
        return ", ".join([*other, *few])


PROTOCOLS: Mapping[str, Protocol] = {
    "fid": Protocol("inception", {"size": [112, 112]}),
    "is": Protocol("inception", {"size": [112, 112]}),
    "fvd16": Protocol("i3d", {"frames": 16, "fps": 32.0, "size": [112, 112]}),
}
"""Numbers that say nothing beside those of another network, other clips or fewer of them."""


@dataclass(frozen=True)
class Printed:
    """One table of a paper. `rows` are its rows by name, in order."""

    key: str
    paper: str
    where: str
    caption: str
    missing: str
    rows: Mapping[str, Cells]

    @property
    def source(self) -> str:
        """Where the numbers are from."""
        return f"{self.paper}, {self.where}"

    def value(self, row: str, column: str, metric: str) -> float | None:
        """A number of a row for one data set (or for all of them), None where there is none."""
        cells = self.rows.get(row, {})
        found = {**cells.get(ALL, {}), **cells.get(column, {})}
        return found.get(metric)


@functools.cache
def _told() -> Mapping[str, Mapping[str, Mapping]]:
    return json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def printed(key: str) -> Printed:
    """A table by its key: the number of a table of EchoFlow, or `<paper>-<number>`."""
    tables = _told()["tables"]
    table = dict(tables[choose(key, tables, "table")])
    return Printed(key, str(_told()["papers"][table.pop("paper")]), **table)
