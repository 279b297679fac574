"""The tables of a generated dataset beyond the layout: further columns, rejections, Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from echoflow.data.manifest import Manifest
from echoflow.files import atomic_file, sha256
from echoflow.privacy import Verdict
from echoflow.synthesis.samples import Anatomy, Sample
from echoflow.types import Record

PARQUET = "manifest.parquet"
REJECTIONS = "rejections.csv"
REJECTION_COLUMNS: tuple[str, ...] = (
    "BaseName",
    "View",
    "Attempt",
    "Seed",
    "ReIdScore",
    "Tau",
    "NearestTraining",
)
NUMBERS = {
    "EF_requested": float,
    "Seed": int,
    "MotionSeed": int,
    "Attempt": int,
    "ReIdScore": float,
    "Tau": float,
}


def columns(sample: Sample, seen: bool) -> dict[str, str]:
    """What FileList.csv says beyond the columns of the layout. EF there is the relabelled one.

    `seen`: the tracings follow the cavity that was found, not the mask that was asked for, or a
    stand-in where none was.
    """
    stands_in = "asked" if sample.anatomy.mask.any() else "stand-in"
    return {
        "BaseName": sample.item.base,
        "EF_requested": f"{sample.item.ef:g}",
        "Seed": str(sample.anatomy.seed),
        "MotionSeed": str(sample.item.seed),
        "Attempt": str(sample.anatomy.attempt),
        **_scores(sample.anatomy.verdict),
        "Verdict": sample.anatomy.verdict.word,
        "Traced": "seen" if seen else stands_in,
    }


def rejection(one: Anatomy) -> dict[str, str]:
    """What rejections.csv says of a candidate that the filter threw away."""
    return {
        "BaseName": f"sample_{one.index:06d}",
        "View": one.view.name,
        "Attempt": str(one.attempt),
        "Seed": str(one.seed),
        **_scores(one.verdict),
    }


def write_rejections(root: Path, rejected: Iterable[Mapping[str, str]]) -> None:
    """rejections.csv: every candidate that the filter threw away, heart after heart."""
    with atomic_file(root / REJECTIONS) as work, work.open("w", newline="") as file:
        table = csv.DictWriter(file, REJECTION_COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(sorted(rejected, key=lambda a: (a["BaseName"], int(a["Attempt"]))))


def _scores(verdict: Verdict) -> dict[str, str]:
    """Every digit: thousands of hearts lie close below a tau of 0.9997."""
    return {
        "ReIdScore": repr(float(verdict.similarity)),
        "Tau": repr(float(verdict.tau)),
        "NearestTraining": verdict.nearest,
    }


def write_parquet(manifest: Manifest) -> None:
    """manifest.parquet: the rows of FileList.csv with types, and the SHA-256 of every video."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            **asdict(record),
            "view": record.view.name,
            "split": record.split.value,
            **_typed(manifest.extras.get(record.uid, {})),
            "sha256": sha256(manifest.video(record)),
        }
        for record in manifest.records
    ]
    with atomic_file(manifest.root / PARQUET) as work:
        pq.write_table(pa.Table.from_pylist(rows, _schema(manifest)), work)


def _typed(cells: Mapping[str, str]) -> dict[str, object]:
    return {name: NUMBERS.get(name, str)(text) for name, text in cells.items()}


def _schema(manifest: Manifest) -> Any:
    """One type per column, so that an empty column keeps the type of a full one."""
    import pyarrow as pa

    kinds = {"int": pa.int64(), "float": pa.float64(), "float | None": pa.float64()}
    own = [(f.name, kinds.get(str(f.type), pa.string())) for f in fields(Record)]
    further = dict.fromkeys(name for cells in manifest.extras.values() for name in cells)
    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    extra = [(name, types[NUMBERS.get(name, str)]) for name in further]
    return pa.schema([*own, *extra, ("sha256", pa.string())])
