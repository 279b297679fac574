"""A dataset that grows part by part, and that any process can be stopped at.

Parts lie in a hidden folder beside the target, `.<name>.part`, until all are there. Whatever stops
a process, the same call goes on behind the parts that are whole; several processes started on one
target take the next free part each. What is in the hidden folder:

    plan.json      what the samples follow from: another plan does not go on here
    part-00000     `Videos`, `Masks`, and `rows.json` with all that the tables will say of them
    dataset        the dataset, while it is put together from the parts
    checked.json   is `plan.json` from when `dataset` only waits for its name
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoflow.data.claims import claimed
from echoflow.data.manifest import Manifest
from echoflow.files import atomic_file, plain_refusal, publish, refuse_taken, sweep
from echoflow.types import InputError, Record, Split, View

PLAN, ROWS, WHOLE, CHECKED = "plan.json", "rows.json", "dataset", "checked.json"
BEGIN, FINISH = "begin.lock", "finish.lock"
FOLDERS = ("Videos", "Masks")


@dataclass(frozen=True)
class Row:
    """What the tables say of a video; `tracings`: frame -> lines (21, 4)."""

    record: Record
    extras: Mapping[str, str]
    tracings: Mapping[int, np.ndarray]

    def cells(self) -> dict[str, Any]:
        """The row as plain values, every number exact."""
        record = asdict(self.record)
        record |= {"view": self.record.view.name, "split": self.record.split.value}
        tracings = {str(frame): lines.tolist() for frame, lines in self.tracings.items()}
        return {"record": record, "extras": dict(self.extras), "tracings": tracings}

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> Row:
        """The inverse of `cells`."""
        record = dict(cells["record"])
        record |= {"view": View[record["view"]], "split": Split(record["split"])}
        tracings = {int(frame): np.array(lines) for frame, lines in cells["tracings"].items()}
        return cls(Record(**record), cells["extras"], tracings)


def hidden(target: Path) -> Path:
    """Where the parts of a dataset grow."""
    return target.with_name(f".{target.name}.part")


def part_folder(work: Path, number: int) -> Path:
    """Where a part lies."""
    return work / f"part-{number:06d}"


def is_whole(folder: Path) -> bool:
    """Whether a part is complete; if not, it is absent."""
    return (folder / ROWS).is_file()


def kept(out: str | Path) -> int:
    """Finished videos of a dataset that is not yet whole."""
    videos = 0
    for path in hidden(Path(out).expanduser().resolve()).glob(f"part-*/{ROWS}"):
        with suppress(FileNotFoundError):  # another process has finished just now
            videos += len(json.loads(path.read_text())["rows"])
    return videos


def begin(target: Path, shown: str | Path, plan: Mapping[str, Any]) -> None:
    """Makes the hidden folder, or finds that of an earlier or another process with the same plan.

    `InputError`: the target is taken, or what was begun of it follows from something else.
    """
    work = hidden(target)
    with suppress(OSError):  # only an empty one, the last that a removal leaves
        work.rmdir()
    if _is_spent(work) and not target.exists():  # somebody has removed the finished dataset
        remove(work)
    if not is_published(work, target):
        refuse_taken(target, shown)
    begun = _plan(work, shown, plan)
    if begun != plan:
        remove_if_empty(work)  # nothing would be lost
        begun = begun if work.is_dir() else _plan(work, shown, plan)
    if begun != plan or not is_published(work, target):
        refuse_taken(target, shown)  # perhaps another process has finished just now
    if begun != plan:
        changed = sorted(k for k in begun.keys() | plan.keys() if begun.get(k) != plan.get(k))
        raise InputError(
            f"{work} holds the beginning of another dataset (not the same: {', '.join(changed)}); "
            "remove it, or choose another folder."
        )


def _plan(work: Path, shown: str | Path, plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the hidden folder was begun with: `plan`, if nobody was here before."""
    with plain_refusal(shown):
        work.mkdir(parents=True, exist_ok=True)
    with claimed(work / BEGIN, wait=True):
        path = work / (CHECKED if (work / CHECKED).is_file() else PLAN)
        if not path.is_file():
            with atomic_file(path) as file:
                file.write_text(json.dumps(plan, indent=1) + "\n")
        return json.loads(path.read_text())


def write_rows(folder: Path, rows: Sequence[Row], rejected: Sequence[Mapping[str, str]]) -> None:
    """The last file of a part."""
    told = {"rows": [row.cells() for row in rows], "rejected": rejected}
    (folder / ROWS).write_text(json.dumps(told, allow_nan=False))


def gather(work: Path, parts: int) -> tuple[Manifest, list[Mapping[str, str]]]:
    """The dataset of all parts, its files in their places but no tables; and what was rejected.

    Files are moved, and one that was moved before is left where it is.
    """
    whole = work / WHOLE
    sweep(whole)
    for name in FOLDERS:
        (whole / name).mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    rejected: dict[tuple[str, str], Mapping[str, str]] = {}  # pieces of a heart say the same
    for number in range(parts):
        folder = part_folder(work, number)
        told = json.loads((folder / ROWS).read_text())
        rows += map(Row.of, told["rows"])
        rejected |= {(one["BaseName"], one["Attempt"]): one for one in told["rejected"]}
        for file in (file for name in FOLDERS for file in (folder / name).iterdir()):
            os.replace(file, whole / file.relative_to(folder))
    made = Manifest(
        whole,
        tuple(row.record for row in rows),
        {row.record.uid: row.extras for row in rows},
        {row.record.uid: row.tracings for row in rows},
    )
    return made, list(rejected.values())


def give_name(work: Path, target: Path) -> None:
    """Makes the dataset in the hidden folder the target, and removes the rest."""
    if not (work / CHECKED).exists():
        os.replace(work / PLAN, work / CHECKED)
    try:
        publish(work / WHOLE, target)
    except OSError:
        refuse_taken(target, target)
        raise
    remove(work)


def is_published(work: Path, target: Path) -> bool:
    """Whether the target is the dataset that grew here, and only the hidden folder was left."""
    return _is_spent(work) and target.is_dir()


def _is_spent(work: Path) -> bool:
    """Whether the dataset has left for its name; before that, it is here."""
    return (work / CHECKED).is_file() and not (work / WHOLE).exists()


def remove(work: Path) -> None:
    """Removes the hidden folder; stopped at any point, it can be called again."""
    for path in work.glob(f"part-*/{ROWS}"):  # a part is whole, or it is none
        path.unlink(missing_ok=True)
    for path in sorted(work.iterdir() if work.is_dir() else ()):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in (PLAN, CHECKED):
            path.unlink(missing_ok=True)
    for name in (PLAN, CHECKED):  # last what says whose this is; it has one of both names
        (work / name).unlink(missing_ok=True)
    with suppress(OSError):  # another process begins here again
        work.rmdir()


def remove_if_empty(work: Path) -> None:
    """Removes what was begun, unless a part is there or another process is at work."""
    if not work.is_dir() or any(map(is_whole, work.glob("part-*"))):
        return
    for lock in work.glob("*.lock"):
        with claimed(lock) as free:
            if not free:
                return
    remove(work)
