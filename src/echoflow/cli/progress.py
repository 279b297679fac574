"""Progress bars: on stderr, and only where somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

T = TypeVar("T")
Tell = Callable[[str, int, int], None]
"""(what, done, in all)."""
Progress = Callable[[int, int], None]
"""(done, in all)."""


@contextmanager
def bars() -> Iterator[Tell]:
    """Yields a function that moves the bar called `what`, which closes when all of it is done."""
    from tqdm import tqdm

    with ExitStack() as stack:
        shown: dict[str, tqdm] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in shown:
                shown[what] = stack.enter_context(tqdm(desc=what, total=total, disable=None))
            shown[what].update(done - shown[what].n)
            if done == total:
                shown[what].close()

        yield tell


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Yields a function that moves the one bar."""
    with bars() as tell:
        yield lambda done, total: tell(what, done, total)


def counted(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, moving a bar as they are taken."""
    with bar(what) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress(done, total)
