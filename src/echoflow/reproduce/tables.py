"""Which tables can be reproduced, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echoflow.distances import unopened
from echoflow.files import atomic_file
from echoflow.metrics.report import Report
from echoflow.reproduce import asked, balance, costs, counts, downstream, losses, sweeps
from echoflow.reproduce.job import Job
from echoflow.reproduce.printed import ALL, printed
from echoflow.reproduce.sheet import Sheet
from echoflow.types import InputError, choose


@dataclass(frozen=True)
class Table:
    """One line on what is done, the columns, and who does it; only counting takes no job, and only
    what is said to take cascades or a judge takes weights of EchoDiffusion or a regressor of EF."""

    about: str
    metrics: Sequence[str]
    make: Callable[[Job | None], Mapping[str, Report]]
    needs_data: bool = True
    takes_cascades: bool = False
    takes_judge: bool = False


def _on_data(make: Callable[[Job], Mapping[str, Report]]) -> Callable[[Job | None], Any]:
    def made(job: Job | None) -> Mapping[str, Report]:
        if job is None:
            raise InputError("this table is reproduced on a dataset; name its folder with --on.")
        return make(job)

    return made


TABLES: Mapping[str, Table] = {
    "1": Table("what the A-VAE of the weights loses", losses.METRICS, _on_data(losses.losses)),
    "2": Table(
        "image models: parameters and multiply-adds, counted",
        costs.METRICS,
        lambda job: costs.costs(2),
        needs_data=False,
    ),
    "3": Table(
        "video models: parameters and multiply-adds, counted",
        costs.METRICS,
        lambda job: costs.costs(3),
        needs_data=False,
    ),
    "4": Table("quality and time by solver steps", sweeps.METRICS, _on_data(sweeps.by_steps)),
    "5": Table("privacy threshold and rejection rate", counts.FILTERED, _on_data(counts.filtered)),
    "6": Table(
        "quality by guidance scale and negative", sweeps.METRICS, _on_data(sweeps.by_guidance)
    ),
    "7": Table("what is in a dataset", counts.COUNTED, _on_data(counts.counted)),
    "8": Table(
        "EF regression: real, reconstructed, unfiltered, filtered training sets",
        downstream.METRICS,
        _on_data(downstream.downstream),
    ),
    "echodiffusion-1": Table(
        "EF asked for against EF measured, best of 3 and single draw",
        asked.METRICS,
        _on_data(asked.asked),
        takes_cascades=True,
        takes_judge=True,
    ),
    "echodiffusion-4": Table(
        "EF regression: rare EFs filled up with synthetic videos",
        balance.METRICS,
        _on_data(balance.balance),
        takes_cascades=True,
    ),
}


def reproduce(key: str, job: Job | None, out: Path) -> Sheet:
    """Table `key` with ours beside it; writes table.md, .csv, .json and .png to the folder `out`.

    `InputError`: no such table, one that needs a dataset got no job, or a cascade or a judge was
    named for one that takes none.
    """
    table = TABLES[choose(key, TABLES, "table")]
    if job is not None:
        _check_takes(key, table, job)
    quoted = printed(key)
    column, on = ALL, "no data"
    if table.needs_data and job is not None:
        job.begin(key)
        kind = "simulated hearts" if job.phantom else "recordings"
        column, on = job.beside, f"{job.source.root.name} ({kind})"
    reports = table.make(job if table.needs_data else None)
    if table.needs_data and job is not None:
        gone = unopened(job.source)
        reports = {row: replace(one, notes=(*one.notes, *gone)) for row, one in reports.items()}
    sheet = Sheet(quoted, column, on, reports, table.metrics)
    files = {"md": sheet.to_markdown().encode(), "csv": sheet.to_csv().encode()}
    files |= {"json": sheet.to_json().encode(), "png": sheet.to_png()}
    for suffix, data in files.items():
        with atomic_file(out / f"table.{suffix}") as work:
            work.write_bytes(data)
    return sheet


def _check_takes(key: str, table: Table, job: Job) -> None:
    """That a table takes what is named for it."""
    if job.model is not None and not table.takes_cascades:
        able = " and ".join(name for name, one in TABLES.items() if one.takes_cascades)
        raise InputError(f"a cascade (--model {job.model}) can make {able}, not table {key}.")
    if job.judge is not None and not table.takes_judge:
        able = " and ".join(name for name, one in TABLES.items() if one.takes_judge)
        raise InputError(f"what measures EF (--judge {job.judge}) is for {able}, not table {key}.")
