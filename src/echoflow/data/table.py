"""CSV tables whose bad cells are told with file and line."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from echoflow.types import InputError, Split, View, check_ef, choose

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A line of a CSV file that knows where it stands, for messages."""

    path: Path
    line: int
    cells: dict[str, str]

    def error(self, message: str) -> InputError:
        """An error that says where."""
        return InputError(f"{self.path}, line {self.line}: {message}")

    def text(self, name: str) -> str:
        """A cell that must not be empty."""
        value = self.cells[name].strip()
        if not value:
            raise self.error(f"{name} is empty; fill it in.")
        return value

    def number(self, name: str, low: float = -math.inf) -> float:
        """A finite number of at least `low`."""
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < low:
            least = "" if low == -math.inf else f" of at least {low:g}"
            raise self.error(f"{name} must be a number{least}; got {text!r}.")
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

    def ef(self) -> float | None:
        """The ejection fraction in percent, where there is one."""
        value = self.maybe_number("EF")
        return None if value is None else self.checked(lambda: check_ef(value))

    def view(self) -> View:
        """The view; A4C where none is given."""
        return self.checked(lambda: View.parse(self.maybe("View") or View.A4C.name))

    def split(self) -> Split:
        """The split in any case of letters; TRAIN where none is given."""
        name = (self.maybe("Split") or Split.TRAIN.value).upper()
        return self.checked(lambda: Split(choose(name, [s.value for s in Split], "split")))

    def checked(self, check: Callable[[], T]) -> T:
        """The value of `check()`; its `InputError` is told with file and line."""
        try:
            return check()
        except InputError as error:
            raise self.error(str(error)) from None


def read_rows(path: Path, required: tuple[str, ...]) -> list[Row]:
    """The rows of a CSV file with a header; `InputError` where a required column is missing."""
    if not path.is_file():
        raise InputError(f"there is no {path.name} in {path.parent}; is it a dataset folder?")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, restval="", restkey="")
            header = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = header
            missing = [name for name in required if name not in header]
            if missing:
                raise InputError(
                    f"{path} lacks the column {', '.join(missing)}; it has {', '.join(header)}."
                )
            rows = [Row(path, table.line_num, dict(cells)) for cells in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV table in UTF-8: {error}.") from error
    return rows
