"""The one progress bar: on stderr, and only where somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
