"""The datasets that can be opened: one function each, all giving a `Manifest`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echoflow.data.manifest import FILE_LIST, Manifest
from echoflow.data.readers.camus import camus, camus_base
from echoflow.data.readers.dicom import dicom, dicom_base
from echoflow.data.readers.dynamic import read_dynamic
from echoflow.data.readers.folder import FILMS, folder
from echoflow.data.readers.lvh import MEASUREMENTS, echonet_lvh
from echoflow.data.readers.pediatric import echonet_pediatric, has_views
from echoflow.data.readers.tmed2 import tmed2, tmed2_base
from echoflow.data.splits import with_splits
from echoflow.data.table import read_table
from echoflow.data.tree import files_under, inner, unwrapped
from echoflow.types import InputError, choose

PHANTOM_CARD = "phantom.json"
FOLDS_AND_AGES = {"FileName", "EF", "Split", "Age", "Weight"}  # columns of EchoNet-Pediatric


@dataclass(frozen=True)
class Source:
    """A kind of dataset: what it is, how its root is recognised, and its reader."""

    what: str
    base: Callable[[Path], Path | None]  # the folder to read, at the root or nested in it
    read: Callable[[str | Path], Manifest]


def open_source(root: str | Path, source: str | None = None, splits: str | None = None) -> Manifest:
    """The dataset in `root`, whichever of `SOURCES` it is; `InputError` says what was expected.

    `source` takes it for that one; `splits` names one of the split protocols of the dataset (see
    `splits.PROTOCOLS`). Videos that cannot be used are in the findings, and not in the records.
    """
    name, base = located(root, source)
    manifest = SOURCES[name].read(base)
    if (Path(root) / PHANTOM_CARD).is_file():
        manifest = _simulated(manifest)
    return manifest if splits is None else with_splits(manifest, name, splits)


def _simulated(manifest: Manifest) -> Manifest:
    """Simulated hearts say so, in whichever layout they lie: nothing counts them as patients."""
    records = tuple(dataclasses.replace(record, source="phantom") for record in manifest.records)
    return dataclasses.replace(manifest, records=records)


def located(root: str | Path, source: str | None = None) -> tuple[str, Path]:
    """Name of the source in `root`, `source` or the first that knows it, and where it lies."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give the folder of a dataset.")
    if source is not None:
        return source, SOURCES[choose(source, SOURCES, "source")].base(root) or root
    for name, kind in SOURCES.items():
        base = kind.base(root)
        if base is not None:
            return name, base
    known = ", ".join(source.what for source in SOURCES.values())
    raise InputError(f"{root} is no dataset that is known here, which are {known}.")


def echonet_dynamic(root: str | Path) -> Manifest:
    """EchoNet-Dynamic, or a dataset written in its layout (a View column may say more)."""
    return read_dynamic(root)


def phantom(root: str | Path) -> Manifest:
    """A dataset of simulated hearts, as the phantom command writes it."""
    if not (Path(root) / PHANTOM_CARD).is_file():
        raise InputError(f"there is no {PHANTOM_CARD} in {root}; is it a phantom dataset?")
    return read_dynamic(root, source="phantom")


def _with_files(*names: str) -> Callable[[Path], Path | None]:
    """Finds the folder, at the root or nested in it, that has all these files."""

    def base(root: Path) -> Path | None:
        there = (b for b in unwrapped(root) if all(inner(b, name) for name in names))
        return next(there, None)

    return base


def _pediatric(root: Path) -> Path | None:
    """A folder per view, or the folder of one view, told from EchoNet-Dynamic by its columns."""
    for base in unwrapped(root):
        if has_views(base):
            return base
        header = _header(base)
        if header >= FOLDS_AND_AGES and "ESV" not in header:
            return base
    return None


def _header(base: Path) -> set[str]:
    try:
        return set(read_table(base, FILE_LIST, ()).header)
    except InputError:
        return set()


def _films(root: Path) -> Path | None:
    files = files_under(root, suffixes=FILMS)
    return root if files.paths or files.leaving else None


# the first that knows a root reads it
SOURCES: dict[str, Source] = {
    "phantom": Source("simulated hearts", _with_files(PHANTOM_CARD, FILE_LIST), phantom),
    "echonet-pediatric": Source("EchoNet-Pediatric", _pediatric, echonet_pediatric),
    "echonet-dynamic": Source("EchoNet-Dynamic", _with_files(FILE_LIST), echonet_dynamic),
    "echonet-lvh": Source("EchoNet-LVH", _with_files(MEASUREMENTS), echonet_lvh),
    "camus": Source("CAMUS", camus_base, camus),
    "tmed2": Source("TMED-2", tmed2_base, tmed2),
    "dicom": Source("DICOM files", dicom_base, dicom),
    "folder": Source("a folder of videos or images", _films, folder),
}
