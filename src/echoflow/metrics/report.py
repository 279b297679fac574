"""A report: numbers together with everything one needs to know before comparing them.

`settings` are the choices that change a number's meaning (frames, rate, resolution, steps, solver,
seed); `fingerprints` identify the inputs (weights, data). Two reports are compared only when their
settings agree, and what they were held against: a table that mixes protocols is worse than none.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from echoflow.metrics.intervals import Interval
from echoflow.types import InputError

MEASURED = ("dataset", "weights", "scores")
"""Fingerprints of what is measured, which may differ; all others are of what it is measured by."""
LONG = 5  # of values of a setting that are all shown
ENDS = ("_low", "_high")


@dataclass(frozen=True)
class Report:
    """Measured `metrics` of `n` items; see the module's first lines for the rest.

    The 90 % interval of a metric, where there is one, is `<metric>_low` and `<metric>_high`.
    `notes` are sentences that must be read with the numbers, such as a bias that follows from n.
    """

    name: str
    metrics: Mapping[str, float]
    n: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as JSON; not-a-number and infinity are written as null."""
        values = {key: _finite(value) for key, value in self.metrics.items()}
        return json.dumps({**asdict(self), "metrics": values}, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report of `to_json()`; `InputError` when the text is something else."""
        try:
            data = json.loads(text)
            metrics = {
                k: float("nan") if v is None else float(v) for k, v in data["metrics"].items()
            }
            notes = tuple(map(str, data.get("notes", ())))
            found = cls(**{**data, "metrics": metrics, "notes": notes})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                "this is not a report's JSON; give a file that evaluate wrote."
            ) from error
        if wrong := found._changed(data):
            raise InputError(
                f"this is not a report's JSON: {wrong[0]} is not as evaluate writes it; evaluate "
                "again."
            )
        return found

    def _changed(self, data: Mapping[str, Any]) -> list[str]:
        """What in a report that was read from `data` is of another kind, as an edit leaves it."""
        prints = self.fingerprints
        right = {
            "name": isinstance(self.name, str),
            "n": isinstance(self.n, int) and not isinstance(self.n, bool) and self.n >= 0,
            "settings": isinstance(self.settings, dict),
            "fingerprints": isinstance(prints, dict)
            and all(isinstance(one, str) for one in prints.values()),
            "notes": isinstance(data.get("notes", []), list),
        }
        wrong = [key for key, fits in right.items() if not fits]
        for name in self.names():
            low, high = self.interval(name) or (0.0, 0.0)
            wrong += [f"the interval of {name}"] if low > high else []
        return wrong

    def names(self) -> tuple[str, ...]:
        """The metrics without the ends of their intervals."""
        return tuple(name for name in self.metrics if not name.endswith(ENDS))

    def interval(self, name: str) -> Interval | None:
        """The 90 % interval of a metric, None where there is none."""
        ends = [self.metrics.get(f"{name}{end}") for end in ENDS]
        return None if None in ends else (float(ends[0] or 0), float(ends[1] or 0))

    def table(self) -> str:
        """Every metric with its interval, as markdown."""
        lines = ["| metric | value | 90 % interval |", "| --- | --- | --- |"]
        for name in self.names():
            lines.append(f"| {name} | {number(self.metrics[name])} | {span(self.interval(name))} |")
        return "\n".join(lines)

    def about(self) -> str:
        """What the numbers depend on, then what to know about them."""
        told = {**self.settings, **{f"{key} sha256": v for key, v in self.fingerprints.items()}}
        lines = [f"n {self.n}" + "".join(f", {k} {brief(v)}" for k, v in told.items()) + "."]
        return "\n".join([*lines, *(f"\nNote: {note}" for note in self.notes)])

    def row(self, *names: str) -> str:
        """A markdown table row: name, n, then the metrics asked for (all when none is named)."""
        chosen = names or tuple(self.metrics)
        cells = [self.name, str(self.n), *(number(self.metrics.get(n, math.nan)) for n in chosen)]
        return "| " + " | ".join(cells) + " |"

    def header(self, *names: str) -> str:
        """The two header lines that go above `row`."""
        cells = ["report", "n", *(names or tuple(self.metrics))]
        return "| " + " | ".join(cells) + " |\n|" + " --- |" * len(cells)

    def compare(self, other: Report) -> dict[str, float]:
        """`other` minus this report for every shared metric.

        Refused when settings differ, or the fingerprint of something that both were measured by.
        """
        if self.name != other.name:
            raise InputError(
                f"{self.name} and {other.name} cannot be compared: they are different reports. "
                "Give two of one name."
            )
        differ = self._differing(other)
        if differ:
            pairs = ((key, brief(mine), brief(theirs)) for key, mine, theirs in differ)
            what = ", ".join(f"{key} {mine!r} and {theirs!r}" for key, mine, theirs in pairs)
            raise InputError(
                f"two reports {self.name} cannot be compared: {what}. Evaluate both with the same "
                "settings, and against the same data."
            )
        names = [name for name in self.names() if name in other.metrics]
        return {name: other.metrics[name] - self.metrics[name] for name in names}

    def _differing(self, other: Report) -> list[tuple[str, Any, Any]]:
        """(name, here, there) of settings, and of fingerprints that both have but `MEASURED`."""
        keys = sorted({*self.settings, *other.settings})
        pairs = [(key, self.settings.get(key), other.settings.get(key)) for key in keys]
        both = sorted({*self.fingerprints} & {*other.fingerprints} - {*MEASURED})
        pairs += [(key, self.fingerprints[key], other.fingerprints[key]) for key in both]
        return [pair for pair in pairs if plain(pair[1]) != plain(pair[2])]


def plain(value: Any) -> Any:
    """`value` as it looks after a trip through JSON (tuples become lists)."""
    return json.loads(json.dumps(value))


def brief(value: Any) -> Any:
    """`value` to be shown: of a long list of numbers the first, and how many there are."""
    if not isinstance(value, list | tuple) or len(value) <= LONG or isinstance(value[0], str):
        return value
    return [*value[: LONG - 2], f"... {len(value)} values"]


def number(value: float) -> str:
    """Four significant digits, thousands kept whole; not-a-number is a dash."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def span(interval: Interval | None) -> str:
    """An interval as a cell of a table; a dash where nothing is known of it."""
    if interval is None or all(map(math.isnan, interval)):
        return "-"
    return f"{number(interval[0])} to {number(interval[1])}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def fingerprint(path: Path, but: str | None = None) -> str:
    """First 16 hex digits of the SHA-256 of a file, or of all files below a folder with names.

    Files that are called `but` do not count.
    """
    digest = hashlib.sha256()
    below = sorted(p for p in path.rglob("*") if p.is_file() and p.name != but)
    for file in below if path.is_dir() else [path]:
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:16]
