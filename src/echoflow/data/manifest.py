"""A dataset on disk in the layout of EchoNet-Dynamic, real or synthetic.

`FileList.csv` holds a row per video, `VolumeTracings.csv` the traced frames, `Videos/` the files.
Columns that the layout does not know (requested EF, seed, verdict ...) travel along as text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echoflow.data.findings import Finding
from echoflow.files import atomic_file
from echoflow.types import InputError, Record, Split, View

FILE_LIST = "FileList.csv"
TRACINGS = "VolumeTracings.csv"
VIDEOS = "Videos"
REQUIRED = (
    "FileName",
    "EF",
    "ESV",
    "EDV",
    "FrameHeight",
    "FrameWidth",
    "FPS",
    "NumberOfFrames",
    "Split",
)
OPTIONAL = ("View", "Patient", "Source")
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
TRACING_ROWS = 21  # the long axis and 20 chords; files with more repeat a tracing

Tracings = Mapping[str, Mapping[int, np.ndarray]]
Outlines = Mapping[str, Mapping[int, np.ndarray]]
LabelMaps = Mapping[str, Mapping[int, str]]
Extras = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Manifest:
    """The rows of a dataset. `extras`: uid -> further columns; `tracings`: uid -> frame -> lines.

    A tracing is (21, 4) float64 `x1, y1, x2, y2` in pixels: the long axis from apex to base, then
    20 chords across it. A few real ones are shorter. Which of two frames is end-diastole does not
    follow from their order: compare areas. Datasets that trace otherwise have `outlines`, uid ->
    frame -> polygon (n, 2) `x, y`, or `label_maps`, uid -> frame -> file under the root.
    `backwards` names the videos whose files run from the last frame to the first; everything else
    here, and what is read by `prepare.load_clip`, runs forwards.
    `findings` says what was wrong; videos that had to be left out are named there alone.
    """

    root: Path
    records: tuple[Record, ...]
    extras: Extras = field(default_factory=dict)
    tracings: Tracings = field(default_factory=dict)
    outlines: Outlines = field(default_factory=dict)
    label_maps: LabelMaps = field(default_factory=dict)
    backwards: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()

    @classmethod
    def read(cls, root: str | Path, source: str = "echonet-dynamic") -> Manifest:
        """The dataset in `root`, if it is in this layout; see `readers.dynamic.read_dynamic`."""
        from echoflow.data.readers.dynamic import read_dynamic  # which builds manifests itself

        return read_dynamic(root, source)

    def write(self) -> None:
        """Writes both tables under `root`; the videos must already be there."""
        write_file_list(self.root, self.records, self.extras)
        write_tracings(self.root, self.tracings)

    def video(self, record: Record) -> Path:
        """Where the video of a record lies."""
        return self.root / record.path

    def of(self, split: Split | None = None, view: View | None = None) -> tuple[Record, ...]:
        """The records of one split, one view or both."""
        return tuple(r for r in self.records if split in (None, r.split) and view in (None, r.view))


def video_path(uid: str) -> str:
    """Where the layout puts a video, relative to the root."""
    return f"{VIDEOS}/{uid}.avi"


def write_file_list(root: str | Path, records: Iterable[Record], extras: Extras) -> None:
    """FileList.csv: the columns of EchoNet-Dynamic, then View, Patient, Source and `extras`."""
    records = tuple(records)
    names = list(dict.fromkeys(name for row in extras.values() for name in row))
    taken = sorted(set(names) & set(REQUIRED + OPTIONAL))
    if taken:
        raise InputError(f"extra columns must have names of their own; {', '.join(taken)} is used.")
    with atomic_file(Path(root) / FILE_LIST) as work, work.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*REQUIRED, *OPTIONAL, *names])
        for record in records:
            further = extras.get(record.uid, {})
            table.writerow([*_cells(record), *(_one_line(further.get(name, "")) for name in names)])


def write_tracings(root: str | Path, tracings: Tracings) -> None:
    """VolumeTracings.csv: the smaller frame of each video first, as the reference loader assumes.

    That loader takes the last listed frame as end-diastole, so the larger area has to come last.
    """
    with atomic_file(Path(root) / TRACINGS) as work, work.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(TRACING_COLUMNS)
        for uid, frames in tracings.items():
            for frame, lines in sorted(frames.items(), key=lambda item: _chord_area(item[1])):
                for line in lines:
                    table.writerow([f"{uid}.avi", *(f"{float(x):.8g}" for x in line), frame])


def _chord_area(lines: np.ndarray) -> float:
    """Area in px^2 up to a factor: mean chord times long axis."""
    lengths = np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1])
    return float(lengths[0] * lengths[1:].mean()) if len(lengths) > 1 else 0.0


def _cells(record: Record) -> list[str]:
    sizes = (record.height, record.width)
    return [
        record.uid,
        *(_number(value) for value in (record.ef, record.esv, record.edv, *sizes, record.fps)),
        str(record.frames),
        record.split.value,
        record.view.name,
        record.patient or "",
        record.source,
    ]


def _one_line(text: str) -> str:
    """A row is a line, for every reader of such tables."""
    return " ".join(text.splitlines())


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
