"""EchoNet-Dynamic: FileList.csv, VolumeTracings.csv and Videos/<FileName>.avi.

Further columns (View, Patient, Source, and any other) may be there: datasets written by this
package have them. Six real videos are larger than 112x112, and their sizes are as the file says.
"""

from __future__ import annotations

from pathlib import Path

from echoflow.data.findings import Finding, Flaw
from echoflow.data.manifest import FILE_LIST, OPTIONAL, REQUIRED, TRACINGS, VIDEOS, Manifest
from echoflow.data.readers.listing import AROUND, Entry, read_listing
from echoflow.data.readers.traced import read_tracings
from echoflow.data.table import read_table
from echoflow.types import InputError, Record


def read_dynamic(root: str | Path, source: str = "echonet-dynamic") -> Manifest:
    """A dataset in this layout; `source` names it where there is no Source column.

    Without a View column every video is A4C. `InputError`: there is no such table or folder.
    """
    root = Path(root)
    table = read_table(root, FILE_LIST, REQUIRED)
    if not (root / VIDEOS).is_dir():
        raise InputError(f"there is no folder {VIDEOS} in {root}; is it a dataset folder?")

    def build(entry: Entry, findings: list[Finding]) -> Record:
        return _record(entry, findings, source)

    listing = read_listing(root, table, VIDEOS, False, build)
    further = [name for name in table.header if name and name not in REQUIRED + OPTIONAL]
    extras = {uid: {name: row.cells[name] for name in further} for uid, row in listing.rows.items()}
    traced = read_tracings(root, TRACINGS, listing)
    return Manifest(
        root,
        tuple(listing.records),
        extras if further else {},
        traced.chords,
        traced.outlines,
        findings=(*listing.findings, *traced.findings),
    )


def _record(entry: Entry, findings: list[Finding], source: str) -> Record:
    row = entry.row
    edv, esv = row.volumes()
    return Record(
        uid=entry.uid,
        path=entry.path,
        source=row.maybe("Source") or source,
        view=row.view(),
        split=row.split(default=None),
        patient=row.maybe("Patient"),
        fps=_rate(entry, findings),
        ef=row.ef(),
        edv=edv,
        esv=esv,
        **sizes(entry, findings),
    )


def sizes(entry: Entry, findings: list[Finding]) -> dict[str, int]:
    """`frames`, `height` and `width` as the file has them; findings where the table differs."""
    held = entry.contents
    columns = {
        "NumberOfFrames": (held.frames, f"has {held.frames} frames"),
        "FrameHeight": (held.height, f"is {held.height} pixels high"),
        "FrameWidth": (held.width, f"is {held.width} pixels wide"),
    }
    for column, (value, what) in columns.items():
        try:
            told = entry.row.whole(column, 1)
        except Flaw as flaw:
            findings.append(_read_around(flaw, entry))
            continue
        if told != value:
            kind = "frame-count" if column == "NumberOfFrames" else "wrong-size"
            where = f"line {entry.row.line}: {entry.uid} {what}"
            findings.append(Finding(kind, entry.table, f"{where}, not {told}; {AROUND}."))
    return {"frames": held.frames, "height": held.height, "width": held.width}


def _rate(entry: Entry, findings: list[Finding]) -> float:
    """The table is right about the rate: containers were written anew at a nominal one."""
    try:
        return entry.row.number("FPS", 1e-3)
    except Flaw as flaw:
        findings.append(_read_around(flaw, entry))
        return entry.contents.fps


def _read_around(flaw: Flaw, entry: Entry) -> Finding:
    detail = f"{flaw.detail.rstrip('.')} ({entry.uid}); {AROUND}."
    return Finding(flaw.kind, entry.table, detail)
