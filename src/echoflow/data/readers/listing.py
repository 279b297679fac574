"""A table of videos against the folder that should hold them: each is accounted for exactly once.

Whatever is listed or lies in the folder ends as a record or as a finding that leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from echoflow.data.container import Contents, contents
from echoflow.data.findings import Finding, Flaw
from echoflow.data.table import Row, Table
from echoflow.data.tree import Files, climbs, files_under, leads_out
from echoflow.data.video import IMAGES, VIDEOS
from echoflow.types import Record

_SUFFIXES = {*VIDEOS, *IMAGES}
AROUND = "the file itself is believed"


@dataclass(frozen=True)
class Entry:
    """A row whose video is there and has a sound header; `path` is relative to the root."""

    row: Row
    table: str
    uid: str
    path: str
    contents: Contents


@dataclass
class Listing:
    """What became of the rows and files: grows while they are gone through."""

    records: list[Record] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)  # uid -> row, of the records
    findings: list[Finding] = field(default_factory=list)


Build = Callable[[Entry, list[Finding]], Record]
"""The record of an entry. What is read around is added to the list; a `Flaw` leaves it out."""


def read_listing(root: Path, table: Table, folder: str, suffixed: bool, build: Build) -> Listing:
    """Every row of `table` and every file in `root/folder`, joined by the column FileName.

    `suffixed` says whether names have a suffix in this layout; either way both are understood.
    """
    done = Listing(findings=list(table.findings))
    files = files_under(root, folder, VIDEOS)
    leaving = set(files.leaving)
    shelf = _shelf(files, folder, done.findings)
    for uid, rows in by_name(table, suffixed, done.findings).items():
        where = shelf.pop(uid, None)
        try:
            row = only_row(rows, uid, table, done.findings)
            path = _checked(folder, where, where in leaving, row)
            entry = Entry(row, table.name, uid, path, contents(root, path))
            done.records.append(build(entry, done.findings))
            done.rows[uid] = row
        except Flaw as flaw:
            done.findings.append(flaw.found(table.name, uid))
    for uid, where in shelf.items():
        name = where.as_posix()
        stray = Finding("unlisted-video", name, f"{name} is not listed in {table.name}.", uid)
        done.findings.append(leads_out(where, uid) if where in leaving else stray)
    return done


def plain_name(text: str) -> tuple[str, bool]:
    """The name of a video without spaces around it and its suffix, and whether it had one."""
    name = text.strip().replace("\\", "/")
    stem, dot, suffix = name.rpartition(".")
    known = f"{dot}{suffix.lower()}" in _SUFFIXES
    return (stem.strip(), True) if known else (name, False)


def flat(name: str) -> str:
    """A name without folders, as it can be used for a file: the uid of a video."""
    return name.replace("/", "-")


def odd_spelling(text: str, line: int, table: str, suffixed: bool | None) -> Iterator[Finding]:
    """What is unlike the layout in the way a table writes a name, though it is understood.

    `suffixed` says whether names have a suffix in this layout; None that both are usual.
    """
    name, has_suffix = plain_name(text)
    if suffixed is not None and has_suffix != suffixed:
        odd = "has a suffix" if has_suffix else "lacks its suffix"
        yield Finding("suffix", table, f"line {line}: the name {name} {odd}.")
    if text != text.strip() or " " in name:
        yield Finding("spaces", table, f"line {line}: spaces in the name {text!r}.")


def _shelf(files: Files, folder: str, findings: list[Finding]) -> dict[str, Path]:
    """uid -> file or link, relative to the root. AVI comes before other files of one name."""
    shelf: dict[str, Path] = {}
    for path in sorted((*files.paths, *files.leaving), key=lambda p: p.suffix.lower() != ".avi"):
        short = path.relative_to(folder).as_posix()
        uid, is_video = plain_name(short)
        if not is_video:  # a link to a folder
            findings.append(leads_out(path, None))
        elif flat(uid) in shelf:
            other = shelf[flat(uid)].as_posix()
            detail = f"{path.as_posix()} has the name of {other}, which is taken."
            findings.append(Finding("repeated-name", path.as_posix(), detail, path.as_posix()))
        else:
            shelf[flat(uid)] = path
    return shelf


def by_name(table: Table, suffixed: bool | None, findings: list[Finding]) -> dict[str, list[Row]]:
    """uid -> its rows, by the column FileName; a row without a name is left out as its line."""
    named: dict[str, list[Row]] = {}
    for row in table:
        text = row.cells["FileName"]
        name, _ = plain_name(text)
        if not name:
            nameless = row.error("FileName is empty; fill it in.")
            findings.append(nameless.found(table.name, f"{table.name}:{row.line}"))
            continue
        findings.extend(odd_spelling(text, row.line, table.name, suffixed))
        named.setdefault(flat(name), []).append(row)
    return named


def only_row(rows: list[Row], uid: str, table: Table, findings: list[Finding]) -> Row:
    """The row of a video. Repeats that say the same do no harm; a `Flaw` if they do not."""
    first, *others = rows
    for other in others:
        if _said(other) != _said(first):
            lines = f"lines {first.line} and {other.line}"
            raise Flaw(
                "repeated-name", f"{lines}: {uid} is listed twice and not alike.", table.path
            )
        detail = f"line {other.line}: {uid} is listed again, with the same cells."
        findings.append(Finding("repeated-name", table.name, detail))
    first.refuse_surplus()
    return first


def _said(row: Row) -> list[str]:
    return [text.strip() for name, text in row.cells.items() if name not in ("", "FileName")]


def _checked(folder: str, where: Path | None, leaves: bool, row: Row) -> str:
    """The path of a listed video that is there, and in the dataset."""
    name, _ = plain_name(row.cells["FileName"])
    if leaves or climbs(name):
        detail = f"line {row.line}: {name} leads out of the dataset; it is not opened."
        raise Flaw("outside-root", detail, row.path)
    if where is None:
        path = f"{folder}/{name}.avi"
        detail = f"{path} is listed in line {row.line}, but not there."
        raise Flaw("missing-video", detail, path=path)
    return where.as_posix()
