"""The strokes that defects are made of: on text files, on tables, on video files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import echoflow
from echoflow.data.findings import Kind
from echoflow.data.phantom.dialects.defects import Defect, Spoil
from echoflow.data.phantom.sidecar import Known

Rows = list[dict[str, str]]
Change = Callable[[Rows], Rows]


def edit_rows(path: Path, change: Change) -> None:
    """Rewrites a CSV table."""
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        header, rows = list(table.fieldnames or ()), list(table)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, header, lineterminator="\n")
        out.writeheader()
        out.writerows(change(rows))


def edit_text(path: Path, change: Callable[[str], str]) -> None:
    """Rewrites a text file; line ends are part of the text."""
    path.write_bytes(change(path.read_bytes().decode()).encode())


def matches(row: Mapping[str, str], where: Mapping[str, str]) -> bool:
    """Whether a row holds all the values of `where`."""
    return all(row[name] == value for name, value in where.items())


@dataclass(frozen=True)
class Listing:
    """A table with rows about videos: its file, the column of their names, how they are called."""

    file: Callable[[Known], str]
    column: str
    name: Callable[[Known], str]

    def where(self, known: Known, **cells: str) -> dict[str, str]:
        """What the rows of a video hold."""
        return {self.column: self.name(known), **cells}

    def edit(self, root: Path, known: Known, change: Change, **cells: str) -> str:
        """Puts `change(rows of the video)` in the place of those rows; returns the file."""
        file, where = self.file(known), self.where(known, **cells)

        def every(rows: Rows) -> Rows:
            own = [row for row in rows if matches(row, where)]
            at = next(i for i, row in enumerate(rows) if matches(row, where))
            rest = [row for row in rows if not matches(row, where)]
            return rest[:at] + change(own) + rest[at:]

        edit_rows(root / file, every)
        return file


def cells(listing: Listing, where: Mapping[str, str] | None = None, **new: str) -> Spoil:
    """Sets cells in the rows of the video (those that also hold the values of `where`)."""

    def spoil(root: Path, known: Known) -> str:
        return listing.edit(root, known, lambda rows: [r | new for r in rows], **(where or {}))

    return spoil


def renamed(listing: Listing, pattern: str) -> Spoil:
    """Writes the name as `pattern` says, with {name} and {stem} in it."""

    def spoil(root: Path, known: Known) -> str:
        new = {listing.column: pattern.format(name=listing.name(known), stem=known.record.uid)}
        return listing.edit(root, known, lambda rows: [row | new for row in rows])

    return spoil


def repeated(listing: Listing, where: Mapping[str, str] | None = None, **new: str) -> Spoil:
    """Writes the rows of the video twice, the second time with other cells."""

    def spoil(root: Path, known: Known) -> str:
        return listing.edit(
            root, known, lambda rows: rows + [r | new for r in rows], **(where or {})
        )

    return spoil


def kept(listing: Listing, rows: int, where: Mapping[str, str] | None = None) -> Spoil:
    """Leaves the first `rows` rows of the video."""

    def spoil(root: Path, known: Known) -> str:
        return listing.edit(root, known, lambda every: every[:rows], **(where or {}))

    return spoil


def emptied(root: Path, known: Known) -> str:
    """Leaves no byte of the video."""
    (root / known.record.path).write_bytes(b"")
    return known.record.path


def cut(root: Path, known: Known) -> str:
    """Leaves three fifths of the video's bytes."""
    path = root / known.record.path
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    return known.record.path


def noisy(root: Path, known: Known) -> str:
    """Overwrites bytes in the middle of the video: its header and its length stay as they were."""
    path = root / known.record.path
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    noise = np.random.default_rng(len(data)).integers(0, 256, 256, np.uint8)
    data[middle : middle + len(noise)] = noise.tobytes()
    path.write_bytes(data)
    return known.record.path


def scribbled(root: Path, known: Known) -> str:
    """Puts text in the place of the video."""
    (root / known.record.path).write_text("This is a note about a video, not the video.\n" * 40)
    return known.record.path


def removed(root: Path, known: Known) -> str:
    """Removes the video."""
    (root / known.record.path).unlink()
    return known.record.path


def led_out(root: Path, known: Known) -> str:
    """Puts a link in the place of the video, to a file outside of the dataset."""
    path = root / known.record.path
    path.unlink()
    path.symlink_to(Path(echoflow.__file__).resolve())
    return known.record.path


def marked(file: Callable[[Known], str]) -> Spoil:
    """Puts a byte-order mark before a text file."""

    def spoil(root: Path, known: Known) -> str:
        edit_text(root / file(known), lambda text: "\ufeff" + text)
        return file(known)

    return spoil


def returned(file: Callable[[Known], str]) -> Spoil:
    """Ends the lines of a text file as Windows does."""

    def spoil(root: Path, known: Known) -> str:
        edit_text(root / file(known), lambda text: text.replace("\n", "\r\n"))
        return file(known)

    return spoil


def of_files(noise: Kind = "truncated") -> tuple[Defect, ...]:
    """What can be wrong with the file of a video, and what noise in it is found as."""
    return (
        Defect("empty-file", "the video has no bytes", emptied, True),
        Defect("truncated", "the video is cut short", cut, True),
        Defect("unreadable", "the video is a text file", scribbled, True),
        Defect(noise, "noise in the video, found by decoding", noisy, True, name="noise"),
    )
