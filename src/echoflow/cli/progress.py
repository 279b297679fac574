"""The progress bar: on stderr, and only where somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""(done, in all)."""


@contextmanager
def bar(unit: str) -> Iterator[Progress]:
    """Yields a function that moves the bar."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=None) as shown:

        def update(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield update


def counted(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The items, moving a bar as they are taken."""
    with bar(unit) as update:
        for done, item in enumerate(items, 1):
            yield item
            update(done, total)
