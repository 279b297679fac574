"""Writing so that a final name always holds a finished thing, whatever happens on the way.

A folder or a file grows under a hidden name beside its target and is renamed at the end. An error
or Ctrl-C removes the hidden one; a killed process or a power cut can at worst leave it behind.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echoflow.types import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block ends without an error.

    `InputError`: `path` is a file or a folder with something in it, its parent cannot be written
    to, or the disk is full. On any error, Ctrl-C included, nothing is left behind.
    """
    target = Path(path).expanduser().resolve()
    refuse_taken(target, path)
    made = _make_parents(target, path)
    work: Path | None = None
    try:
        work = _hidden_folder(target, path)
        yield work
        publish(work, target)
    except BaseException as error:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        _remove_empty(made)
        if is_full(error):
            raise disk_full(path, target) from error
        if isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            refuse_taken(target, path)
        raise


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a name (same suffix) to write to; it replaces `path` when the block ends well.

    `InputError`: `path` is a folder, its parent cannot be written to, or the disk is full. On any
    error, Ctrl-C included, a former `path` stays as it was.
    """
    target = Path(path).expanduser().resolve()
    if target.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    made = _make_parents(target, path)
    work: Path | None = None
    try:
        work = _hidden_file(target, path)
        yield work
        work.chmod(0o666 & ~_umask())  # a writer may have put a private file in its place
        _sync(work)
        os.replace(work, target)
    except BaseException as error:
        if work is not None:
            work.unlink(missing_ok=True)
        _remove_empty(made)
        if is_full(error):
            raise disk_full(path, target) from error
        raise


def publish(work: Path, target: Path) -> None:
    """Forces a folder to disk and renames it to `target`, where nothing may be."""
    _sync_tree(work)
    os.replace(work, target)
    _sync(target.parent)


def sweep(folder: str | Path) -> None:
    """Removes what killed processes were writing in a folder; only for who alone writes there."""
    for left in sorted(Path(folder).rglob(".*.part*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_taken(target: Path, shown: str | Path) -> None:
    """`InputError` if `target`, which the user knows as `shown`, cannot become a new folder."""
    if target.is_dir():
        if any(target.iterdir()):
            raise InputError(f"folder {shown} is not empty; choose another or remove it.")
    elif target.exists():
        raise InputError(f"{shown} is a file, not a folder; choose another name.")


def _make_parents(target: Path, shown: str | Path) -> list[Path]:
    """Creates the missing ancestors of `target` and returns them, deepest first."""
    missing = [folder for folder in target.parents if not folder.exists()]
    with plain_refusal(shown):
        target.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # somebody else uses it by now
            return


def _hidden_folder(target: Path, shown: str | Path) -> Path:
    with plain_refusal(shown):
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    work.chmod(0o777 & ~_umask())
    return work


def _hidden_file(target: Path, shown: str | Path) -> Path:
    with plain_refusal(shown):
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=f".part{target.suffix}", dir=target.parent
        )
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())
    return Path(name)


@contextmanager
def plain_refusal(shown: str | Path) -> Iterator[None]:
    """Turns a refusal of the file system to create something into one sentence."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise disk_full(shown, Path(shown).expanduser().resolve()) from error
        reason = (error.strerror or "refused").lower()
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            reason = "a file has the name of one of its folders"
        advice = "choose a place you may write to"
        raise InputError(f"cannot write {shown}: {reason}; {advice}.") from error


def is_full(error: BaseException) -> bool:
    """Whether the disk (or quota) is exhausted; native writers only say so in their message."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if isinstance(error, InputError):  # a file inside said so: name the whole instead
        return error.__cause__ is not None and is_full(error.__cause__)
    return isinstance(error, Exception) and os.strerror(errno.ENOSPC) in str(error)


def disk_full(shown: str | Path, target: Path, left: str = "nothing was left behind") -> InputError:
    """The error for an exhausted disk or quota; `left` says what became of what was written."""
    place = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(place).free / 1e6
    return InputError(
        f"disk full while writing {shown}: free space {free:,.0f} MB, {left}; "
        "free some space or choose another disk."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _sync(path: Path) -> None:
    """Forces a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
