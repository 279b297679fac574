"""Text tables that grow row by row while a dataset is written: memory does not grow with it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO


class Tables:
    """CSV files and plain lists under a folder; a file appears with its first row."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stack = ExitStack()
        self._files: dict[str, TextIO] = {}

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, path: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Appends rows to the table `path`; an empty header is not written."""
        table = csv.writer(self._opened(path, header), lineterminator="\n")
        table.writerows(rows)

    def _opened(self, path: str, header: Sequence[str]) -> TextIO:
        if path not in self._files:
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            file = self._stack.enter_context(target.open("w", newline="", encoding="utf-8"))
            if header:
                csv.writer(file, lineterminator="\n").writerow(header)
            self._files[path] = file
        return self._files[path]


def plain(value: float) -> str:
    """A number as tables of this field hold it: whole ones without a decimal point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
