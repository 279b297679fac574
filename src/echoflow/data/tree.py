"""The folder of a dataset as far as it may be trusted: nothing outside of it is ever opened."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from echoflow.data.findings import Finding

_CLUTTER = {"__MACOSX", "__pycache__", "PhantomTruth"}  # the last lies beside simulated hearts


def inside(root: str | Path, text: str | Path) -> Path | None:
    """`root / text` if that lies in `root`, links followed; else None, and it must not be opened.

    `text` comes from a table: absolute paths (of any system), `..` that climbs out and links that
    lead out are refused. Backslashes separate folders, as they do where such tables are written.
    The file need not exist; `.` is the folder itself, and lies in it.
    """
    name = str(text).replace("\\", "/")
    if climbs(name):
        return None
    path = Path(root, name)
    base = os.path.realpath(root)
    real = os.path.realpath(path)
    return path if real == base or real.startswith(base.rstrip(os.sep) + os.sep) else None


def climbs(name: str) -> bool:
    """Whether a path leaves the folder it is joined to by its spelling alone."""
    parts = name.replace("\\", "/").split("/")
    drive = ":" in parts[0] and PureWindowsPath(parts[0]).drive
    return not name or "\0" in name or not parts[0] or ".." in parts or bool(drive)


def inner(root: str | Path, *names: str) -> Path | None:
    """The first of `names` that is a file inside `root`."""
    paths = (inside(root, name) for name in names)
    return next((path for path in paths if path is not None and os.path.isfile(path)), None)


@dataclass(frozen=True)
class Files:
    """Files under a folder and links that lead out, relative to the root and sorted by name."""

    paths: tuple[Path, ...]
    leaving: tuple[Path, ...] = ()


def files_under(root: str | Path, folder: str = ".", suffixes: Collection[str] = ()) -> Files:
    """Every file below `root/folder` with one of `suffixes` (lower case; all if none are named).

    Hidden files and folders are passed over. Links to folders are not followed; links that leave
    the root, to folders or to files of such a name, are told apart and must not be opened.
    """
    base = Path(root, folder)
    if not base.is_dir():
        return Files(())
    if inside(root, folder) is None:
        return Files((), (Path(folder),))
    paths, leaving = [], []
    for path, is_link in _walk(base):
        wanted = not suffixes or path.name.lower().endswith(tuple(suffixes))
        short = path.relative_to(root)
        if is_link and inside(root, short) is None:
            leaving += [short] if wanted or path.is_dir() else []
        elif wanted and not (is_link and path.is_dir()):
            paths.append(short)
    return Files(tuple(sorted(paths)), tuple(sorted(leaving)))


def leads_out(path: Path, excluded: str | None) -> Finding:
    """The finding for a link out of the dataset's folder."""
    name = path.as_posix()
    detail = f"{name} is a link that leads out of the dataset; put what it points to there."
    return Finding("outside-root", name, detail, excluded)


def unwrapped(root: str | Path, depth: int = 3) -> list[Path]:
    """`root`, then the only folder in it, the only folder in that ...: archives unpack so."""
    found = [Path(root)]
    while len(found) <= depth and (below := _only_folder(found[-1])) is not None:
        found.append(below)
    return found


def _walk(base: Path) -> Iterator[tuple[Path, bool]]:
    """Files and links below `base`, and whether each is a link."""
    for folder, subfolders, names in os.walk(base):
        subfolders[:] = sorted(name for name in subfolders if _seen(name))
        links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
        for name in links + [name for name in sorted(names) if _seen(name)]:
            path = Path(folder, name)
            yield path, path.is_symlink()


def _seen(name: str) -> bool:
    return not name.startswith(".") and name not in _CLUTTER


def _only_folder(root: Path) -> Path | None:
    """The folder in `root`, if it is the only one; links do not count."""
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False) and _seen(e.name)]
    except OSError:
        return None
    return Path(root, names[0]) if len(names) == 1 else None
