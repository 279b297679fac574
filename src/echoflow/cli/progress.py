"""The progress bar: on stderr, and only where somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""(done, in all)."""
Tell = Callable[[str, int, int], None]
"""(what, done, in all)."""


@contextmanager
def bar(unit: str) -> Iterator[Progress]:
    """Yields a function that moves the bar."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=None) as shown:

        def update(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield update


@contextmanager
def bars() -> Iterator[Tell]:
    """Yields a function that moves one bar per stage, a new one whenever the name changes."""
    from tqdm import tqdm

    with ExitStack() as stack:
        shown: dict[str, tqdm] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in shown:
                stack.close()
                shown[what] = stack.enter_context(tqdm(desc=what, total=total, disable=None))
            shown[what].update(done - shown[what].n)

        yield tell


def counted(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The items, moving a bar as they are taken."""
    with bar(unit) as update:
        for done, item in enumerate(items, 1):
            yield item
            update(done, total)
