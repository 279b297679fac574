"""EchoNet-Pediatric: a folder per view, integer folds for splits, polygons for tracings.

{A4C,PSAX}/FileList.csv, VolumeTracings.csv and Videos/<FileName>, with the suffix in the name; the
archive nests them twice. Rates and sizes come from the videos. The fold stays in the column Fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from echoflow.data.findings import Finding, Flaw, left_out
from echoflow.data.manifest import FILE_LIST, TRACINGS, VIDEOS, Manifest
from echoflow.data.readers.listing import Entry, Listing, read_listing
from echoflow.data.readers.traced import Traced, read_tracings
from echoflow.data.table import Row, read_table
from echoflow.data.tree import inner, unwrapped
from echoflow.types import InputError, Record, Split, View

COLUMNS = ("FileName", "EF", "Split")
VIEWS = (View.A4C, View.PSAX)
FOLD = "Fold"
FOLDS = 10
VAL_FOLD, TEST_FOLD = 8, 9  # of EchoFlow and its predecessor


def has_views(base: Path) -> bool:
    """Whether a folder holds a folder per view, with its table."""
    return bool(_tables(base))


def echonet_pediatric(root: str | Path) -> Manifest:
    """Both views, or the one that is there; `root` may also be the folder of a view.

    Splits as EchoFlow: folds 0 to 7 train, 8 validates, 9 tests. EF by the 5/6 area-length method.
    """
    there = (b for b in unwrapped(root) if has_views(b) or inner(b, FILE_LIST) is not None)
    base = next(there, None)
    if base is None:
        raise InputError(
            f"there is neither A4C/{FILE_LIST} nor PSAX/{FILE_LIST} in {root}; is it "
            "EchoNet-Pediatric?"
        )
    tables = _tables(base) or {_own_view(base): ""}
    parts = {view: _view(base, view, folder) for view, folder in tables.items()}
    return _joined(base, parts)


def fold_of(row: Row) -> int | None:
    """The fold, 0 to 9, from the column Fold or an integer Split; None where there is neither."""
    for name in (FOLD, "Split"):
        text = row.maybe(name)
        if text is not None and text.lstrip("-").replace(".", "", 1).isdigit():
            number = row.whole(name, 0)
            if number >= FOLDS:
                raise row.error(f"folds go from 0 to 9; got {number}.", "bad-split")
            return number
    return None


def fold_split(fold: int, val: int = VAL_FOLD, test: int = TEST_FOLD) -> Split:
    """The split of a fold, where one fold validates and one tests."""
    return {test: Split.TEST, val: Split.VAL}.get(fold, Split.TRAIN)


def _tables(base: Path) -> dict[View, str]:
    """View -> folder with its table, e.g. `A4C/`."""
    return {v: f"{v.name}/" for v in VIEWS if inner(base, f"{v.name}/{FILE_LIST}") is not None}


def _own_view(base: Path) -> View:
    return View.PSAX if base.name.upper() == View.PSAX.name else View.A4C


def _view(base: Path, view: View, folder: str) -> tuple[Listing, Traced]:
    table = read_table(base, folder + FILE_LIST, COLUMNS)

    def build(entry: Entry, findings: list[Finding]) -> Record:
        return _record(entry, view)

    listing = read_listing(base, table, folder + VIDEOS, True, build)
    return listing, read_tracings(base, folder + TRACINGS, listing)


def _record(entry: Entry, view: View) -> Record:
    row, held = entry.row, entry.contents
    fold = _checked_fold(row)
    edv, esv = row.volumes()
    return Record(
        uid=entry.uid,
        path=entry.path,
        source="echonet-pediatric",
        view=view,
        split=row.split(default=None) if fold is None else fold_split(fold),
        patient=row.maybe("Patient"),
        fps=held.fps,
        frames=held.frames,
        height=held.height,
        width=held.width,
        ef=row.ef(),
        edv=edv,
        esv=esv,
    )


def _checked_fold(row: Row) -> int | None:
    try:
        return fold_of(row)
    except Flaw as flaw:
        raise Flaw("bad-split", flaw.detail, row.path) from None


def _joined(base: Path, parts: Mapping[View, tuple[Listing, Traced]]) -> Manifest:
    """One manifest of both views. A name that both have is told apart by its view."""
    records: list[Record] = []
    extras: dict[str, Mapping[str, str]] = {}
    traced = Traced()
    taken: set[str] = set()
    for view, (listing, drawn) in parts.items():
        told = [*listing.findings, *drawn.findings]
        uids = [record.uid for record in listing.records]
        new = {
            uid: f"{view.name}-{uid}" if uid in taken else uid for uid in (*uids, *left_out(told))
        }
        taken |= set(new.values())
        for record in listing.records:
            records.append(dataclasses.replace(record, uid=new[record.uid]))
            extras[new[record.uid]] = _extras(listing.rows[record.uid])
        traced.chords |= {new[uid]: frames for uid, frames in drawn.chords.items()}
        traced.outlines |= {new[uid]: frames for uid, frames in drawn.outlines.items()}
        traced.findings += [
            dataclasses.replace(f, excluded=f.excluded and new[f.excluded]) for f in told
        ]
    found = tuple(traced.findings)
    return Manifest(base, tuple(records), extras, traced.chords, traced.outlines, findings=found)


def _extras(row: Row) -> dict[str, str]:
    """Sex, age, weight and height of the child, the fold, and whatever else there is."""
    known = (*COLUMNS, "EDV", "ESV", "Patient", FOLD)
    fold = fold_of(row)
    told = {name: text for name, text in row.cells.items() if name and name not in known}
    return {**told, FOLD: "" if fold is None else str(fold)}
