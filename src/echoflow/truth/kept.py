"""Cases that are scored already, in a folder, so that an examination goes on where it stopped.

plan.json       what the scores follow from; another plan or other weights are refused
0000.npz ...    one case: its scores, and what a page shows of it
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoflow.files import atomic_file
from echoflow.metrics.report import plain
from echoflow.truth.cases import Video
from echoflow.types import InputError, View

PLAN = "plan.json"
ARRAYS = ("generated", "truth", "found", "exact")


@dataclass(frozen=True)
class Shown:
    """What a page shows of a case: both videos (t, h, w), both volume curves (t,) from 0 to 1."""

    heart: int
    view: View
    asked: float
    own: float
    generated: Video
    truth: Video
    found: NDArray[np.float64]
    exact: NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """One case: what was asked, `scores[rung][name]`, what is true of it, what is shown of it."""

    asked: float
    scores: Mapping[str, Mapping[str, float]]
    true: Mapping[str, float]
    shown: Shown | None = None


@dataclass(frozen=True)
class Kept:
    """The results so far, in their order."""

    folder: Path

    @classmethod
    def begin(cls, folder: str | Path, follows_from: Mapping[str, Any]) -> Kept:
        """The folder, new or of the same examination; `InputError` if it is of another."""
        path, told = Path(folder) / PLAN, plain(dict(follows_from))
        if not path.is_file():
            with atomic_file(path) as work:
                work.write_text(json.dumps(told, indent=1) + "\n")
        begun = json.loads(path.read_text())
        changed = sorted(k for k in begun.keys() | told.keys() if begun.get(k) != told.get(k))
        if changed:
            raise InputError(
                f"{folder} holds cases of another examination (not the same: "
                f"{', '.join(changed)}); remove it, or choose another --out."
            )
        return cls(Path(folder))

    def read(self) -> list[Result]:
        """Every case from the first to the last that is finished."""
        found: list[Result] = []
        while (path := self._path(len(found))).is_file():
            found.append(_read(path))
        return found

    def add(self, number: int, result: Result) -> None:
        """Keeps case `number`; the file is whole or absent."""
        told = asdict(result)
        shown = told.pop("shown") or {}
        arrays = {name: shown.pop(name) for name in ARRAYS if name in shown}
        with atomic_file(self._path(number)) as work:
            np.savez_compressed(work, told=json.dumps({**told, "shown": shown or None}), **arrays)

    def remove(self) -> None:
        """When the report is written."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.npz"


def _read(path: Path) -> Result:
    with np.load(path) as data:
        told = json.loads(str(data["told"]))
        shown = told.pop("shown")
        if shown is not None:
            arrays = {name: data[name] for name in ARRAYS}
            shown = Shown(**{**shown, "view": View(shown["view"])}, **arrays)
    return Result(**told, shown=shown)
