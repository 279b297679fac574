"""The files of a latent folder: what each one holds, and how it is written and read.

    latents.json             the card: statistics of the training split, provenance, what was asked
    index.parquet            one row per video: its `Record`, shard, traced frames, SHA-256
    findings.csv             what had to be left out, and why (where there is anything)
    shard-00000.safetensors  `<uid>`: posterior mean and std on channels, (t, 2c, h, w) float16;
                             `<uid>.mask` (k, h, w) uint8, where the LV is known, in the frames
                             `<uid>.traced` (k,) int32, or in every frame where that is missing

A shard is complete or absent. Its header repeats its rows, its findings and its share of the
statistics, so that the other files can be made from the shards alone.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from echoflow.data.findings import Finding, Kind
from echoflow.files import atomic_file
from echoflow.latents import LatentStats
from echoflow.types import InputError, Record, Split, View

INDEX, CARD, FINDINGS = "index.parquet", "latents.json", "findings.csv"
FORMAT = 2  # 1 had neither hashes nor findings nor masks of some frames only
NOTES = "echoflow"
MASK, TRACED = ".mask", ".traced"
UNKNOWN = -1

_TEXT = ("uid", "path", "source", "view", "split", "patient", "sha256")
_WHOLE = ("frames", "height", "width", "shard", "traced")
_REAL = ("fps", "ef", "edv", "esv")
_NEEDED = ("uid", "view", "split", "frames", "shard")


@dataclass(frozen=True)
class Row:
    """One video of the index. `traced`: frames with a known LV; `sha256`: of its source file."""

    record: Record
    shard: int
    traced: int = 0
    sha256: str = ""

    def cells(self) -> dict[str, Any]:
        """The row as plain values."""
        record = {**asdict(self.record), "view": self.record.view.name}
        mine = {"shard": self.shard, "traced": self.traced, "sha256": self.sha256}
        return {**record, "split": self.record.split.value, **mine}

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> Row:
        """The inverse of `cells`; ValueError, TypeError or KeyError for what is no row."""
        known = {name: _value(cell) for name, cell in cells.items()}
        for name in _NEEDED:
            if known[name] is None:
                raise ValueError(f"{name} is empty")
        known["view"] = View.parse(str(known["view"]), other=True)
        known["split"] = Split(known["split"])
        if known["frames"] < 1 or known["shard"] < 0:
            raise ValueError(f"{known['frames']} frames in shard {known['shard']}")
        values: dict[str, Any] = {f.name: known.get(f.name) for f in fields(Record)}
        # folders of format 1 have masks of every frame or of none, and do not say which
        traced = UNKNOWN if known.get("traced") is None else known["traced"]
        return cls(Record(**values), known["shard"], traced, known.get("sha256") or "")


@dataclass
class Sums:
    """Per-channel sums of posterior draws in float64, from which mean and deviation follow.

    The variance of a draw is that of the means plus the mean posterior variance. A channel that the
    KL term has emptied has means near zero and posterior variance 1: scaled by its means alone, it
    would drown the others in noise.
    """

    n: int = 0
    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)

    def add(self, mean: Tensor, std: Tensor) -> None:
        """Takes posterior mean and std (t, c, h, w)."""
        axes = (0, 2, 3)
        first = mean.sum(axes, dtype=torch.float64).tolist()
        second = (mean.square() + std.square()).sum(axes, dtype=torch.float64).tolist()
        self.merge(Sums(mean[:, 0].numel(), first, second))

    def merge(self, other: Sums) -> None:
        """Takes the sums of another part of the data."""
        if other.n:
            mine = (
                self.first or [0.0] * len(other.first),
                self.second or [0.0] * len(other.second),
            )
            self.first = [a + b for a, b in zip(mine[0], other.first, strict=True)]
            self.second = [a + b for a, b in zip(mine[1], other.second, strict=True)]
            self.n += other.n

    def measured(self) -> dict[str, list[float]]:
        """`mean` and `std` per channel; `InputError` if nothing was added."""
        if self.n == 0:
            raise InputError("no video of split TRAIN: the latent statistics need some.")
        first, second = (torch.tensor(s, dtype=torch.float64) for s in (self.first, self.second))
        mean = first / self.n
        std = (second / self.n - mean.square()).clamp(min=0).sqrt()
        return {"mean": mean.tolist(), "std": std.tolist()}


@dataclass
class Notes:
    """What a shard says of itself in its header."""

    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)


def shard_name(number: int) -> str:
    """The file of shard `number`."""
    return f"shard-{number:05d}.safetensors"


def write_shard(path: Path, tensors: dict[str, Tensor], notes: Notes) -> None:
    """Writes a shard; it is there whole, or not at all."""
    told = {
        "rows": [row.cells() for row in notes.rows],
        "findings": [asdict(finding) for finding in notes.findings],
        "sums": asdict(notes.sums),
    }
    with atomic_file(path) as file:
        # one entry, since the writer would put several in an order of its own
        save_file(tensors, str(file), {NOTES: json.dumps(told, allow_nan=False)})


def read_notes(path: Path) -> Notes:
    """What the header of a shard says; its tensors stay on disk."""
    try:
        with safe_open(str(path), "pt") as file:
            told = json.loads((file.metadata() or {})[NOTES])
        return Notes(
            [Row.of(cells) for cells in told["rows"]],
            [Finding(**cells) for cells in told["findings"]],
            Sums(**told["sums"]),
        )
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(path, error) from error


def open_shard(path: Path) -> Any:
    """A handle from which slices of tensors are read."""
    try:
        return safe_open(str(path), "pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: object) -> InputError:
    """The error for a file of a latent folder that cannot be read."""
    return InputError(f"{path} is missing or damaged ({error}); encode again.")


def write_index(path: Path, parts: Iterable[list[Row]]) -> None:
    """The index, one part after the other: memory does not grow with the number of videos."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = {**dict.fromkeys(_TEXT, pa.string()), **dict.fromkeys(_WHOLE, pa.int32())}
    kinds |= dict.fromkeys(_REAL, pa.float64())
    names = [*(f.name for f in fields(Record)), "shard", "traced", "sha256"]
    schema = pa.schema([(name, kinds[name]) for name in names])
    with atomic_file(path) as file, ParquetWriter(file, schema) as writer:
        for rows in parts:
            if rows:
                writer.write_table(pa.Table.from_pylist([row.cells() for row in rows], schema))


def read_index(folder: Path) -> list[Row]:
    """Every row of the index; `InputError` names what is wrong with it."""
    import pyarrow as pa
    from pyarrow.parquet import read_table

    path = folder / INDEX
    try:
        rows = [Row.of(cells) for cells in read_table(str(path)).to_pylist()]
    except (OSError, ValueError, TypeError, KeyError, OverflowError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    if len({row.record.uid for row in rows}) != len(rows):
        raise damaged(path, "a video is listed twice")
    return rows


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes latents.json."""
    with atomic_file(folder / CARD) as file:
        file.write_text(json.dumps(card, indent=1, allow_nan=False) + "\n")


def read_card(folder: Path) -> dict[str, Any]:
    """The card; `InputError` where a folder holds no latents, or a part of them only."""
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} holds no latents ({CARD} is missing); encode first.") from None
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(card, dict):
        raise damaged(path, "it is not a table of settings")
    return card


def statistics(card: Mapping[str, Any], folder: Path) -> LatentStats:
    """The statistics on a card."""
    try:
        mean, std = (torch.tensor([float(x) for x in card[name]]) for name in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / CARD, f"no mean and std: {error}") from error
    return LatentStats(mean, std)


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """A table of findings, one in a line."""
    with atomic_file(path) as work, work.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([f.name for f in fields(Finding)])
        table.writerows([f.kind, f.path, f.detail, f.excluded or ""] for f in findings)


def read_findings(path: Path) -> Iterator[Finding]:
    """The table that `write_findings` wrote; nothing where there is none."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for cells in csv.DictReader(file):
                kind = cast(
                    Kind, cells["kind"] if cells["kind"] in get_args(Kind) else "unreadable"
                )
                yield Finding(kind, cells["path"], cells["detail"], cells["excluded"] or None)


def _value(cell: Any) -> Any:
    """A cell of a table, None where it is empty."""
    return None if isinstance(cell, float) and math.isnan(cell) else cell
