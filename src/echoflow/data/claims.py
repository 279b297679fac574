"""Several processes that share the parts of one job, on one machine or a shared disk.

A part is claimed by a lock that the system gives back when its holder ends, however it ends: what a
killed process was working on is free again at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed(path: Path, wait: bool = False) -> Iterator[bool]:
    """Yields whether the lock file `path` is ours now; with `wait`, it will be.

    False also where its folder is gone, since then there is nothing left to share. Systems without
    such locks (Windows) always say yes: start one process there.
    """
    try:
        import fcntl
    except ImportError:
        yield path.parent.is_dir()
        return
    try:
        file = path.open("w")
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield path.parent.is_dir()
