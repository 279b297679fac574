"""What lies beside a phantom dataset: the exact truth, and what was asked for.

PhantomTruth/<uid>.npz      curves, masks, tracings and parameters of a clip, in its own 112 pixels
PhantomTruth/truth.csv      a row per video, in the pixels and frames of the file that was written
phantom.json                generator version, layout, what was asked for
defects.json                the planted defects, if any
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from echoflow import __version__
from echoflow.data.phantom.truth import Truth
from echoflow.types import InputError, Record, Split, View

TRUTH = "PhantomTruth"
TABLE = f"{TRUTH}/truth.csv"
CARD = "phantom.json"


@dataclass(frozen=True)
class Known:
    """What is known about a video as it was written, whatever its layout says or leaves out.

    `ed` and `es` are its frames of the largest and the smallest volume, 0-based, with the volumes
    (mL) at those frames; the record holds the labels of the patient. `mm_per_px` is that of the
    file.
    """

    record: Record
    ed: int
    es: int
    volume_ed: float
    volume_es: float
    mm_per_px: float

    @property
    def sampled_ef(self) -> float:
        """EF in percent between the two frames: what a perfect reader would measure."""
        return 100 * (1 - self.volume_es / self.volume_ed)


_RECORD = tuple(field.name for field in dataclasses.fields(Record))
_MORE = tuple(field.name for field in dataclasses.fields(Known) if field.name != "record")
KNOWN_COLUMNS = _RECORD + _MORE


def known_cells(known: Known) -> list[str]:
    """The row of truth.csv; numbers are written so that they read back equal."""
    record = dataclasses.asdict(known.record) | {
        "view": known.record.view.name,
        "split": known.record.split.value,
    }
    values = [record[name] for name in _RECORD] + [getattr(known, name) for name in _MORE]
    return ["" if value is None else str(value) for value in values]


def read_known(root: str | Path) -> tuple[Known, ...]:
    """The rows of truth.csv, in the order in which the videos were written."""
    path = Path(root) / TABLE
    if not path.is_file():
        raise InputError(f"there is no {TABLE} in {root}; the phantom command writes it.")
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(_known(cells) for cells in csv.DictReader(file))


def _known(cells: Mapping[str, str]) -> Known:
    record = Record(
        uid=cells["uid"],
        path=cells["path"],
        source=cells["source"],
        view=View.parse(cells["view"], other=True),
        split=Split(cells["split"]),
        patient=cells["patient"] or None,
        fps=float(cells["fps"]),
        frames=int(cells["frames"]),
        height=int(cells["height"]),
        width=int(cells["width"]),
        ef=float(cells["ef"]),
        edv=float(cells["edv"]),
        esv=float(cells["esv"]),
    )
    volumes = float(cells["volume_ed"]), float(cells["volume_es"])
    return Known(record, int(cells["ed"]), int(cells["es"]), *volumes, float(cells["mm_per_px"]))


def truth_path(root: str | Path, uid: str) -> Path:
    """Where the truth of a clip lies."""
    return Path(root) / TRUTH / f"{uid}.npz"


def write_truth(path: Path, truth: Truth) -> None:
    """Curves as they are, the mask as bits, everything else as one JSON text called `facts`."""
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **_arrays(truth))


def read_truth(path: str | Path) -> Truth:
    """The truth of a clip from its `PhantomTruth/<uid>.npz`, equal to what was written."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no phantom truth {path}; the phantom command writes it.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        facts = json.loads(str(values.pop("facts")))
        shape = values.pop("mask_shape")
        bits = np.unpackbits(values.pop("mask"), count=int(shape.prod()))
        facts["view"] = View.parse(facts["view"])
        return Truth(mask=bits.reshape(shape).astype(bool), **values, **facts)
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is not a phantom truth, or damaged: write it again.") from error


def write_card(
    work: Path, layout: str, videos: int, patients: int, spec: Mapping[str, Any]
) -> None:
    """phantom.json."""
    card = {
        "generator": "echoflow phantom",
        "version": __version__,
        "layout": layout,
        "videos": videos,
        "patients": patients,
        "spec": dict(spec),
    }
    (work / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _arrays(truth: Truth) -> dict[str, np.ndarray]:
    values = {f.name: getattr(truth, f.name) for f in dataclasses.fields(truth)}
    mask = values.pop("mask")
    values["view"] = truth.view.name
    curves = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in values.items() if name not in curves}
    return {
        **curves,
        "mask": np.packbits(mask),
        "mask_shape": np.array(mask.shape),
        "facts": np.array(json.dumps(facts)),
    }
