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
from echoflow.data.table import Row, read_rows
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
    `findings` says what was wrong; videos that had to be left out are named there alone.
    """

    root: Path
    records: tuple[Record, ...]
    extras: Extras = field(default_factory=dict)
    tracings: Tracings = field(default_factory=dict)
    outlines: Outlines = field(default_factory=dict)
    label_maps: LabelMaps = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @classmethod
    def read(cls, root: str | Path, source: str = "echonet-dynamic") -> Manifest:
        """Reads `root`; without a View column every video is A4C, as in EchoNet-Dynamic.

        `source` names the dataset where there is no Source column. `InputError` names the file and
        the row of a missing column, a bad cell, a repeated name or a missing video.
        """
        root = Path(root)
        rows = read_rows(root / FILE_LIST, REQUIRED)
        if not rows:
            raise InputError(f"{root / FILE_LIST} has a header but no rows.")
        records = tuple(_record(row, source) for row in rows)
        refuse_repeats(records, root / FILE_LIST)
        _refuse_missing(records, root)
        extra = [name for name in rows[0].cells if name not in REQUIRED + OPTIONAL]
        extras = {
            record.uid: {name: row.cells[name] for name in extra}
            for record, row in zip(records, rows, strict=True)
        }
        known = {record.uid for record in records}
        return cls(root, records, extras if extra else {}, _read_tracings(root, known))

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
            table.writerow([*_cells(record), *(further.get(name, "") for name in names)])


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


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _record(row: Row, source: str) -> Record:
    uid = row.text("FileName").removesuffix(".avi")
    row.text("Split")
    return Record(
        uid=uid,
        path=video_path(uid),
        source=row.maybe("Source") or source,
        view=row.view(),
        split=row.split(),
        patient=row.maybe("Patient"),
        fps=row.number("FPS", 1e-3),
        frames=row.whole("NumberOfFrames", 1),
        height=row.whole("FrameHeight", 1),
        width=row.whole("FrameWidth", 1),
        ef=row.ef(),
        edv=row.maybe_number("EDV"),
        esv=row.maybe_number("ESV"),
    )


def refuse_repeats(records: Iterable[Record], path: Path) -> None:
    """`InputError` if two records have one name."""
    seen: set[str] = set()
    for record in records:
        if record.uid in seen:
            raise InputError(f"{path} lists {record.uid} twice; each video needs one row.")
        seen.add(record.uid)


def _refuse_missing(records: tuple[Record, ...], root: Path) -> None:
    folder = root / VIDEOS
    if not folder.is_dir():
        raise InputError(f"there is no folder {VIDEOS} in {root}; is it a dataset folder?")
    there = {path.name for path in folder.iterdir()}
    absent = [record.path for record in records if Path(record.path).name not in there]
    if absent:
        raise InputError(
            f"{len(absent)} of {len(records)} videos in {root / FILE_LIST} are missing, the first "
            f"is {absent[0]}; copy them there or remove their rows."
        )


def _read_tracings(root: Path, known: set[str]) -> dict[str, dict[int, np.ndarray]]:
    """uid -> frame -> the first 21 lines; rows of videos that are not listed are passed over."""
    path = root / TRACINGS
    if not path.is_file():
        return {}
    found: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    for row in read_rows(path, TRACING_COLUMNS):
        uid = row.text("FileName").removesuffix(".avi")
        if uid not in known:
            continue
        lines = found.setdefault(uid, {}).setdefault(row.whole("Frame", 0), [])
        if len(lines) < TRACING_ROWS:
            lines.append(tuple(row.number(name) for name in ("X1", "Y1", "X2", "Y2")))
    return {
        uid: {frame: np.array(lines) for frame, lines in frames.items()}
        for uid, frames in found.items()
    }
