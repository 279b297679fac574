"""CSV tables of a dataset, line by line; what is wrong is told with file and line.

A line is a row: a stray quotation mark or a comma too many spoils that row and no other.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from echoflow.data.findings import Finding, Flaw, Kind
from echoflow.data.tree import inside
from echoflow.types import InputError, Split, View, check_ef, choose

T = TypeVar("T")

_HEAD = 1 << 16  # bytes that are looked at for the kind of line ends


@dataclass(frozen=True)
class Row:
    """A line of a CSV file that knows where it stands, for messages."""

    path: Path
    line: int
    cells: Mapping[str, str]
    surplus: int = 0  # cells beyond the header: then none can be trusted to stand in its column

    def error(self, message: str, kind: Kind = "bad-cell") -> Flaw:
        """An error that says where."""
        return Flaw(kind, f"line {self.line}: {message}", self.path)

    def text(self, name: str) -> str:
        """A cell that must not be empty."""
        self.refuse_surplus()
        value = self.cells.get(name, "").strip()
        if not value:
            raise self.error(f"{name} is empty; fill it in.")
        return value

    def refuse_surplus(self) -> None:
        """`Flaw` if the line has more cells than the header."""
        if self.surplus:
            raise self.error(
                f"it has {len(self.cells) + self.surplus} cells, the header {len(self.cells)}; "
                "is there a decimal comma?"
            )

    def number(self, name: str, low: float = -math.inf) -> float:
        """A finite number of at least `low`."""
        text = self.text(name)
        value = as_number(text)
        if not math.isfinite(value) or value < low:
            least = "" if low == -math.inf else f" of at least {low:g}"
            raise self.error(f"{name} must be a number{least}; got {text[:40]!r}.")
        return value

    def whole(self, name: str, low: int) -> int:
        """A whole number of at least `low`; `112.0` counts as one."""
        value = self.number(name, low)
        if not value.is_integer():
            raise self.error(f"{name} must be a whole number; got {value:g}.")
        return int(value)

    def maybe(self, name: str) -> str | None:
        """A cell that may be empty, or whose column may be missing."""
        return self.cells.get(name, "").strip() or None

    def maybe_number(self, name: str) -> float | None:
        """A number of at least 0, where there is one."""
        return None if self.maybe(name) is None else self.number(name, 0)

    def ef(self, name: str = "EF") -> float | None:
        """The ejection fraction in percent, where there is one."""
        if self.maybe(name) is None:
            return None
        value = self.number(name)
        return self.checked(lambda: check_ef(value), "bad-ef")

    def volumes(self) -> tuple[float | None, float | None]:
        """End-diastolic and end-systolic volume in mL, where there are any; never the less first.

        Both 0 is how the generator of 2024 says that it knows none.
        """
        edv, esv = self.maybe_number("EDV"), self.maybe_number("ESV")
        if edv is not None and esv is not None and esv > edv:
            raise self.error(f"ESV {esv:g} mL is more than EDV {edv:g} mL.", "bad-ef")
        return edv, esv

    def view(self) -> View:
        """The view, `OTHER` included; A4C where none is given."""
        name = self.maybe("View") or View.A4C.name
        return self.checked(lambda: View.parse(name, other=True), "bad-view")

    def split(self, default: Split | None = Split.TRAIN) -> Split:
        """The split in any case of letters; `default` where none is given."""
        name = self.maybe("Split") or (default.value if default else None)
        if name is None:
            raise self.error("Split is empty; fill it in.", "bad-split")
        allowed = [split.value for split in Split]
        return self.checked(lambda: Split(choose(name.upper(), allowed, "split")), "bad-split")

    def checked(self, check: Callable[[], T], kind: Kind = "bad-cell") -> T:
        """The value of `check()`; its `InputError` is told with file and line."""
        try:
            return check()
        except InputError as error:
            raise self.error(str(error), kind) from None


@dataclass(frozen=True)
class Table:
    """A CSV file with a header, of which no more than a line is held in memory.

    `name` is its path under the root; `findings` are about the file as a whole.
    """

    path: Path
    name: str
    header: tuple[str, ...]
    findings: tuple[Finding, ...]

    def __iter__(self) -> Iterator[Row]:
        for line, cells in self.lines():
            known = dict(zip(self.header, cells, strict=False))
            known |= dict.fromkeys(self.header[len(cells) :], "")
            yield Row(self.path, line, known, surplus(cells, len(self.header)))

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Line number, from 1, and cells of every line below the header that is not empty."""
        with self.path.open(encoding="utf-8-sig", errors="replace") as file:
            for number, text in enumerate(file, 1):
                if number == 1:
                    continue
                cells = _cells(text)
                if cells[0] or any(cells):
                    yield number, cells


def read_table(root: str | Path, name: str, required: tuple[str, ...]) -> Table:
    """The table `root/name`; `InputError` if it is missing or has not the `required` columns."""
    root = Path(root)
    path = inside(root, name)
    if path is None:
        raise InputError(f"{root / name} leads out of {root}; put the table itself there.")
    if not path.is_file():
        raise InputError(f"there is no {path.name} in {path.parent}; is it a dataset folder?")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    first = re.split(b"[\r\n]", head, maxsplit=1)[0].decode("utf-8-sig", "replace")
    told = _cells(first)
    header = tuple(cell.strip() for cell in told)
    if "\0" in first or "\ufffd" in first:
        raise InputError(f"{path} is not a CSV table in UTF-8; save it again as one.")
    missing = [column for column in required if column not in header]
    if missing:
        shown = ", ".join(header)[:200]
        raise InputError(f"{path} lacks the column {', '.join(missing)}; it has {shown}.")
    twice = [column for column in required if header.count(column) > 1]
    if twice:
        raise InputError(f"{path} has the column {twice[0]} twice; remove one of them.")
    return Table(path, name, header, tuple(_of_the_file(name, head, told)))


def as_number(text: str) -> float:
    """The number that a cell holds; nan if it holds none."""
    try:
        return math.nan if "_" in text else float(text)  # Python would read 1_0 as 10
    except ValueError:
        return math.nan


def surplus(cells: list[str], columns: int) -> int:
    """How many cells there are beyond the columns; empty ones at the end do not count."""
    filled = len(cells)
    while filled > columns and not cells[filled - 1].strip():
        filled -= 1
    return max(filled - columns, 0)


def _of_the_file(name: str, head: bytes, header: list[str]) -> Iterator[Finding]:
    if head.startswith(b"\xef\xbb\xbf"):
        yield Finding("byte-order-mark", name, "the file begins with a byte-order mark.")
    if b"\r" in head:
        yield Finding("line-ends", name, "lines end with a carriage return.")
    spaced = [cell.strip() for cell in header if cell != cell.strip()]
    if spaced:
        yield Finding("spaces", name, f"spaces around the column name {', '.join(spaced)}.")


def _cells(text: str) -> list[str]:
    if '"' not in text:
        return text.rstrip("\r\n").split(",")
    try:
        return next(csv.reader([text.rstrip("\r\n")]), [""])
    except csv.Error:  # a cell beyond all measure
        return [text]
