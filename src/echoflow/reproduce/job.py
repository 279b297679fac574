"""What a table is reproduced on, with which weights, and where the results are kept.

The folder of a job holds `job.json`, what its numbers follow from; `reports`, one for every row of
the table, written when the row is done; and the datasets and trainings that rows need. Whatever
stops a job, the same job goes on behind the rows that are there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from echoflow import cascade_files, cascade_weights
from echoflow.cascade import Cascade
from echoflow.data.manifest import FILE_LIST, Manifest
from echoflow.data.sources import open_source
from echoflow.data.subset import gathered
from echoflow.distances import fingerprint_of
from echoflow.files import atomic_file
from echoflow.judges import sha256_of
from echoflow.metrics.report import Report, plain
from echoflow.pipeline import Pipeline, load, weights_print
from echoflow.reproduce.printed import BY_VIEW, SETS
from echoflow.rulers import regressor_of
from echoflow.types import Inference, InputError, Split, View, choose

Tell = Callable[[str, int, int], None]
"""(what, done, in all)."""


@dataclass(frozen=True)
class Job:
    """`on` is the dataset, of which `view` takes a part; `column` the paper's data set beside it.

    `n` videos are made for each row; left out, what the table's protocol says. `seeds` trainings
    are run of every row, `at_once` at a time, of `recipe` changed by `settings`. `steps` and
    `scales` are those of the sweeps, the paper's if empty. `gated`: clips start at end-diastole,
    and that frame is the anatomy. `extractors` name the networks of distances. `model` names the
    cascade of EchoDiffusion that `weights` hold, where they do, and `judge` what measures the EF of
    draws where the weights' own regressor does not, see `rulers`.
    """

    on: Path
    out: Path
    weights: str = "nano"
    model: str | None = None
    judge: str | None = None
    view: View | None = None
    column: str | None = None
    n: int | None = None
    seed: int = 0
    seeds: int = 3
    at_once: int = 1
    recipe: str = "nano-ef"
    settings: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    solver: str = "euler"
    sizes: tuple[int, ...] = ()
    gated: bool = False
    extractors: tuple[str, ...] = ("ef",)
    extractor_folder: Path | None = None
    device: str = "cpu"
    inference: Inference = "exact"
    tell: Tell = lambda what, done, total: None

    def __post_init__(self) -> None:
        if min(self.seeds, self.at_once) < 1 or (self.n is not None and self.n < 1):
            raise InputError(
                f"n, seeds and at_once must be at least 1; got {self.n}, {self.seeds} and "
                f"{self.at_once}."
            )
        if min(self.sizes, default=1) < 1:
            raise InputError(f"sizes of bins must be at least 1; got {min(self.sizes)}.")
        if self.column is not None:
            choose(self.column, SETS, "data set of the papers")

    @cached_property
    def engine(self) -> Pipeline:
        """The weights, opened."""
        return load(self.weights, self.device, inference=self.inference)

    @cached_property
    def cascade(self) -> Cascade:
        """The cascade of the weights, opened."""
        return cascade_weights.load(
            self.weights, self.model, None, self.device, inference=self.inference
        )

    @cached_property
    def source(self) -> Manifest:
        """The dataset with the chosen view; `InputError` if nothing of it can be used."""
        manifest = open_source(self.on)
        chosen = manifest.of(view=self.view)
        if not chosen:
            there = ", ".join(sorted({r.view.name for r in manifest.records})) or "no video"
            raise InputError(
                f"{self.on} has no videos{'' if self.view is None else f' of {self.view.name}'}; "
                f"it has {there}."
            )
        return replace(manifest, records=chosen)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The views of the dataset that generators know."""
        found = tuple(view for view in View if any(r.view is view for r in self.source.records))
        if not found:
            raise InputError(f"{self.on} has no videos of a view that can be generated.")
        return found

    @cached_property
    def beside(self) -> str:
        """The data set of the papers that these numbers stand beside."""
        return self.column or BY_VIEW[self.views[0]]

    @cached_property
    def phantom(self) -> bool:
        """Whether the dataset holds simulated hearts."""
        return all(record.source == "phantom" for record in self.source.records)

    def of(self, split: Split, least: int = 1) -> tuple[Any, ...]:
        """The records of a split with a known EF; `InputError` if they are fewer than `least`."""
        found = tuple(r for r in self.source.of(split) if r.ef is not None)
        if len(found) < least:
            raise InputError(
                f"{self.on} has {len(found)} {split.value} videos with an EF; this table needs at "
                f"least {least}."
            )
        return found

    @cached_property
    def efs(self) -> tuple[float, ...]:
        """EFs to ask for, percent: those of the real training videos, in an order of their own."""
        efs = [round(float(record.ef), 2) for record in self.of(Split.TRAIN, 3)]
        return tuple(np.random.default_rng([self.seed, 5]).permutation(efs).tolist())

    @cached_property
    def real(self) -> Manifest:
        """The dataset in one folder and layout, for trainings."""
        target = self.out / "real"
        if (target / FILE_LIST).is_file():
            return open_source(target)
        total = len(self.source.records)
        return gathered(
            [(self.source, self.source.records)],
            target,
            lambda done: self.tell("real", done, total),
        )

    def begin(self, table: str) -> None:
        """Writes what the numbers follow from, or finds the same there.

        `InputError`: the folder holds something else, or the results of another job.
        """
        told = plain(self._told(table))
        path = self.out / "job.json"
        if path.is_file() and any(p.name != path.name for p in self.out.iterdir()):
            before = _before(path)
            changed = [k for k in told.keys() | before.keys() if before.get(k) != told.get(k)]
            if changed:
                what = ", ".join(f"{k} was {before.get(k)}, is {told.get(k)}" for k in changed[:3])
                raise InputError(
                    f"{self.out} holds results of another job ({what}); choose another folder."
                )
            return
        if self.out.is_dir() and any(p.name != path.name for p in self.out.iterdir()):
            raise InputError(f"folder {self.out} is not empty; choose another or remove it.")
        with atomic_file(path) as work:
            work.write_text(json.dumps(told, indent=1) + "\n")

    def _told(self, table: str) -> dict[str, Any]:
        names = (
            *([] if self.model is None else ["model"]),
            "n",
            "seed",
            "seeds",
            "recipe",
            "settings",
            "steps",
            "scales",
            "solver",
            "sizes",
            "gated",
        )
        own = {name: getattr(self, name) for name in (*names, "extractors", "inference")}
        prints = {"data": fingerprint_of(self.source), "weights": self.fingerprint}
        if self.judge is not None:
            prints |= {"judge": sha256_of(regressor_of(self.judge).net)[:16]}
        return {"table": table, "view": self.view and self.view.name, **own, **prints}

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights."""
        if self.model is not None:
            return cascade_files.fingerprint_of(self.weights, self.model)
        return weights_print(self.weights)

    def kept(self, row: str, make: Callable[[], Report]) -> Report:
        """The report of a row, from its file where the row is done."""
        path = self.out / "reports" / f"{slug(row)}.json"
        if path.is_file():
            return Report.from_json(path.read_text())
        found = make()
        with atomic_file(path) as work:
            work.write_text(found.to_json())
        return found


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9.+]+", "-", name.lower()).strip("-")


def _before(path: Path) -> dict[str, Any]:
    """What the results in a folder follow from."""
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); choose another folder.") from error
