"""The datasets that can be opened: one function each, all giving a `Manifest`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from echoflow.data.manifest import FILE_LIST, Manifest, refuse_repeats
from echoflow.data.table import Row, read_rows
from echoflow.data.video import IMAGES, VIDEOS, probe
from echoflow.types import InputError, Record

PHANTOM_CARD = "phantom.json"
_KNOWN = ("FileName", "EF", "EDV", "ESV", "View", "Split", "Patient", "FPS", "Source")


def open_source(root: str | Path) -> Manifest:
    """The dataset in `root`, whichever of `SOURCES` it is; `InputError` says what was expected."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give the folder of a dataset.")
    for recognised, read in SOURCES.values():
        if recognised(root):
            return read(root)
    raise InputError(
        f"{root} is no dataset that is known here: it has neither a {FILE_LIST} (the layout of "
        f"EchoNet-Dynamic) nor any video or image file."
    )


def echonet_dynamic(root: str | Path) -> Manifest:
    """EchoNet-Dynamic, or a dataset written in its layout (a View column may say more)."""
    return Manifest.read(root, source="echonet-dynamic")


def phantom(root: str | Path) -> Manifest:
    """A dataset of simulated hearts, as the phantom command writes it."""
    if not (Path(root) / PHANTOM_CARD).is_file():
        raise InputError(f"there is no {PHANTOM_CARD} in {root}; is it a phantom dataset?")
    return Manifest.read(root, source="phantom")


def folder(root: str | Path) -> Manifest:
    """Any folder of videos, GIFs and images, at any depth, with at most one CSV file at its top.

    The CSV needs a FileName column (path in the folder, with or without suffix) and may have EF,
    EDV, ESV, View, Split, Patient, FPS, Source (which overrule the file) and columns of its own.
    Without a row a video is unlabelled, A4C, TRAIN. `InputError`: no videos, a row without a
    file, two files with one name, a bad cell.
    """
    root = Path(root)
    paths = _films(root)
    if not paths:
        raise InputError(f"there is no video or image file in {root}.")
    rows = _labels(root, {_uid(path) for path in paths})
    records = tuple(_probed(root, path, rows.get(_uid(path))) for path in paths)
    refuse_repeats(records, root)
    extras = {
        uid: {name: text for name, text in row.cells.items() if name not in _KNOWN}
        for uid, row in rows.items()
    }
    return Manifest(root, records, {uid: cells for uid, cells in extras.items() if cells})


def _films(root: Path) -> list[Path]:
    """Paths inside the folder, sorted; hidden files and folders are passed over."""
    inside = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    return [
        path
        for path in inside
        if path.suffix.lower() in VIDEOS + IMAGES
        and not any(part.startswith(".") for part in path.parts)
    ]


def _uid(path: Path) -> str:
    return path.with_suffix("").as_posix().replace("/", "-")


def _labels(root: Path, uids: set[str]) -> dict[str, Row]:
    """uid -> row of the CSV file, if there is one."""
    tables = sorted(path for path in root.glob("*.csv") if not path.name.startswith("."))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InputError(f"{root} has several CSV files ({names}); keep the one with the labels.")
    labels: dict[str, Row] = {}
    for row in read_rows(tables[0], ("FileName",)) if tables else []:
        name = row.text("FileName")
        uid = name if name in uids else _uid(Path(name))
        if uid not in uids:
            raise row.error(f"there is no video {name} in {root}.")
        if uid in labels:
            raise row.error(f"{name} is listed twice; each video needs one row.")
        labels[uid] = row
    return labels


def _probed(root: Path, path: Path, row: Row | None) -> Record:
    frames, height, width, fps = probe(root / path)
    row = row or Row(root, 0, {})
    told = row.maybe("FPS") and row.number("FPS", 1e-3)
    return Record(
        uid=_uid(path),
        path=path.as_posix(),
        source=row.maybe("Source") or "folder",
        view=row.view(),
        split=row.split(),
        patient=row.maybe("Patient"),
        fps=told or fps,
        frames=frames,
        height=height,
        width=width,
        ef=row.ef(),
        edv=row.maybe_number("EDV"),
        esv=row.maybe_number("ESV"),
    )


# name -> (how its root is recognised, its reader); the first that recognises a root reads it
SOURCES: dict[str, tuple[Callable[[Path], bool], Callable[[str | Path], Manifest]]] = {
    "phantom": (lambda root: (root / PHANTOM_CARD).is_file(), phantom),
    "echonet-dynamic": (lambda root: (root / FILE_LIST).is_file(), echonet_dynamic),
    "folder": (lambda root: bool(_films(root)), folder),
}
