"""Ctrl-C and SIGTERM end a run between two steps: a checkpoint never holds half an update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """SIGTERM ended the run after its checkpoint; the exit code is that of the signal."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[Callable[[], int]]:
    """Yields what says which signal has asked for the end, 0 for none.

    A second Ctrl-C stops at once, without a checkpoint; a second SIGTERM does not, since a launcher
    passes on what the whole group was sent already. A process told to ignore a signal goes on doing
    so, and outside the main thread nothing changes, because Python allows no handler there.
    """
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in asked:
            raise leaving(number)
        asked.append(number)

    former = {}
    if threading.current_thread() is threading.main_thread():
        former = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number, handler in former.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, remember)
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for number in handled:
            signal.signal(number, former[number])


def leaving(number: int) -> BaseException:
    """What a process raises to end as the signal asks."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
