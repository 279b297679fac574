"""A report: numbers together with everything one needs to know before comparing them.

`settings` are the choices that change a number's meaning (frames, rate, resolution, steps, solver,
seed); `fingerprints` identify the inputs (weights, data). Two reports are compared only when their
settings agree: a table that mixes protocols is worse than no table.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from echoflow.types import InputError


@dataclass(frozen=True)
class Report:
    """Measured `metrics` of `n` items; see the module's first lines for the rest.

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
            return cls(**{**data, "metrics": metrics, "notes": notes})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                "this is not a report's JSON; give a file that evaluate wrote."
            ) from error

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
        """`other` minus this report for every shared metric; refused when settings differ."""
        keys = sorted({*self.settings, *other.settings})
        differ = [k for k in keys if plain(self.settings.get(k)) != plain(other.settings.get(k))]
        if differ or self.name != other.name:
            what = ", ".join(
                f"{k} {self.settings.get(k)!r} and {other.settings.get(k)!r}" for k in differ
            )
            raise InputError(
                f"{self.name} and {other.name} cannot be compared: {what or 'different reports'}. "
                "Evaluate both with the same settings."
            )
        return {k: other.metrics[k] - v for k, v in self.metrics.items() if k in other.metrics}


def plain(value: Any) -> Any:
    """`value` as it looks after a trip through JSON (tuples become lists)."""
    return json.loads(json.dumps(value))


def number(value: float) -> str:
    """Four significant digits, thousands kept whole; not-a-number is a dash."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def fingerprint(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file, or of all files below a folder with names."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:16]
