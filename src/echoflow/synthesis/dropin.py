"""Do the tools of the field read a dataset as it was meant? Their rules as readers, and a check.

The tools are echonet/dynamic and HReynaud/echonet, its fork for synthetic data. Both read
`FileList.csv`, `VolumeTracings.csv` and `Videos`, and both lose videos without a word: the readers
here lose the same ones, so that the check can tell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoflow.data.manifest import (
    FILE_LIST,
    TRACING_COLUMNS,
    TRACING_ROWS,
    TRACINGS,
    VIDEOS,
    Manifest,
)
from echoflow.data.video import read_gray
from echoflow.types import InputError, Record, Split

FOLDS = dict(enumerate(["TRAIN"] * 8 + ["VAL", "TEST"]))
LABEL, ASKED, BASE = "EF", "EF_requested", "BaseName"

Traces = Mapping[str, Mapping[int, np.ndarray]]
"""File name -> traced frame -> lines (n, 4), frames in the order in which they were met."""

# what ends a tool's program while it reads; anything else would be a mistake in the readers below
STOPS = (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError)


@dataclass(frozen=True)
class Pair:
    """A video of a split as a tool holds it: its file, the row it takes for it, its tracings."""

    file: str
    row: Mapping[str, Any]
    frames: Mapping[int, np.ndarray]


# ---- the tools' rules ---------------------------------------------------------------------------


def stock(root: Path, split: str) -> tuple[Pair, ...]:
    """What echonet/dynamic reads.

    A name with a suffix is dropped while its row stays, so every later label moves up by one. A
    split that is not in upper case is nobody's. A video with fewer than two traced frames is
    dropped, whatever one wanted of it.
    """
    table = _file_list(root, split)
    files = [f"{name}.avi" for name in table["FileName"] if not os.path.splitext(name)[1]]
    _need_files(root, files)
    header, lines = _tracings(root)
    if header != list(TRACING_COLUMNS):
        raise AssertionError(f"the header of {TRACINGS} is {','.join(header)}")
    return _traced(files, table.to_dict("records"), _by_file(lines, lambda name: name))


def fork(root: Path, split: str) -> tuple[Pair, ...]:
    """What HReynaud/echonet reads.

    Names may have suffixes, splits may be folds 0 to 9. Without `VolumeTracings.csv`, or with
    another header in it, no video needs a tracing. An empty split ends the program.
    """
    table = _file_list(root, split, folds=True)
    files = [_with_suffix(name) for name in table["FileName"]]
    _need_files(root, files)
    rows = table.to_dict("records")
    header, lines = _tracings(root) if (root / TRACINGS).exists() else ([], [])
    if header == list(TRACING_COLUMNS):
        pairs = _traced(files, rows, _by_file(lines, _with_suffix))
    else:
        pairs = tuple(Pair(file, row, {}) for file, row in zip(files, rows, strict=True))
    if not pairs:
        raise AssertionError("No videos found.")
    return pairs


TOOLS: dict[str, Callable[[Path, str], tuple[Pair, ...]]] = {
    "echonet/dynamic": stock,
    "HReynaud/echonet": fork,
}


def _file_list(root: Path, split: str, folds: bool = False) -> Any:
    """The rows of a split, as pandas guesses their types."""
    import pandas as pd

    with open(root / FILE_LIST, encoding="utf-8") as file:
        table = pd.read_csv(file)
    if folds and table["Split"].dtype == np.int64:
        table["Split"] = table["Split"].map(FOLDS.get)
    table["Split"].map(lambda name: name.upper())  # ends on a number; what it gives is unused
    return table[table["Split"] == split]


def _with_suffix(name: str) -> str:
    return name if os.path.splitext(name)[1] else f"{name}.avi"


def _need_files(root: Path, files: Sequence[str]) -> None:
    missing = sorted(set(files) - set(os.listdir(root / VIDEOS)))
    if missing:
        raise FileNotFoundError(f"{VIDEOS}/{missing[0]} is not there")


def _tracings(root: Path) -> tuple[list[str], list[str]]:
    """The header's cells, and the other lines as they stand."""
    with open(root / TRACINGS, encoding="utf-8") as file:
        return file.readline().strip().split(","), list(file)


def _by_file(lines: Sequence[str], name_of: Callable[[str], str]) -> Traces:
    """A line needs six cells and a whole frame number; the order of lines is kept."""
    found: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    for line in lines:
        name, x1, y1, x2, y2, frame = line.strip().split(",")
        frames = found.setdefault(name_of(name), {})
        frames.setdefault(int(frame), []).append((float(x1), float(y1), float(x2), float(y2)))
    return {
        name: {frame: np.array(rows) for frame, rows in frames.items()}
        for name, frames in found.items()
    }


def _traced(files: Sequence[str], rows: Sequence[Any], traces: Traces) -> tuple[Pair, ...]:
    """File i with row i, where two frames of the file are traced."""
    both = zip(files, rows, strict=False)
    return tuple(Pair(f, row, traces[f]) for f, row in both if len(traces.get(f, ())) >= 2)


# ---- the check ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """Why a dataset is not drop-in: for which tool (or "" for any), and one sentence."""

    tool: str
    detail: str


@dataclass(frozen=True)
class DropIn:
    """What both tools read: tool -> split -> videos, the column to train on, and what is wrong."""

    videos: Mapping[str, Mapping[str, int]]
    label: str
    faults: tuple[Fault, ...]

    def refuse(self) -> None:
        """`InputError` that tells the first fault, if there is one."""
        if self.faults:
            first = self.faults[0]
            more = f" ({len(self.faults) - 1} further faults)" if len(self.faults) > 1 else ""
            raise InputError(
                f"the dataset is no drop-in for {first.tool or 'any tool'}: {first.detail}{more}; "
                "it is not called done. Mend this and write it again."
            )


def check(manifest: Manifest) -> DropIn:
    """Reads the folder of a manifest again as both tools would, and compares with the manifest.

    Every video is decoded. Splits without a video are not asked for.
    """
    label = label_of(manifest)
    splits = [split for split in Split if manifest.of(split)]
    faults = [Fault("", text) for text in (*_wrong_rows(manifest, label), *_wrong_films(manifest))]
    videos: dict[str, dict[str, int]] = {tool: {} for tool in TOOLS}
    for tool, read in TOOLS.items():
        for split in splits:
            try:
                pairs = read(manifest.root, split.value)
            except STOPS as error:
                faults.append(Fault(tool, f"reading {split.value} ends with {_told(error)}"))
                continue
            videos[tool][split.value] = len(pairs)
            faults += [Fault(tool, text) for text in _differences(manifest, split, pairs, label)]
    return DropIn(videos, label, tuple(faults))


def label_of(manifest: Manifest) -> str:
    """The column to train on: EF, or what was asked for where nobody could measure an EF."""
    unmeasured = all(record.ef is None for record in manifest.records)
    asked = all(ASKED in manifest.extras.get(record.uid, {}) for record in manifest.records)
    return ASKED if unmeasured and asked else LABEL


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _wrong_rows(manifest: Manifest, label: str) -> Iterator[str]:
    """Faults of the manifest itself: labels that are missing, hearts in two splits, names."""
    hearts: dict[str, Split] = {}
    for record in manifest.records:
        if _label(manifest, record, label) is None:
            yield f"{record.uid} has no {label}, and the loss of a batch with it is not a number"
        base = manifest.extras.get(record.uid, {}).get(BASE)
        if base is not None and record.uid[:-3] != base:  # the fork cuts `_NN.avi` off
            yield f"the {BASE} of {record.uid} is {base}; it must be the name without _NN"
        if base is not None and hearts.setdefault(base, record.split) != record.split:
            yield f"{base} is in {hearts[base].value} and in {record.split.value}"


def _wrong_films(manifest: Manifest) -> Iterator[str]:
    """Every frame is decoded, as the tools do; a batch needs videos of one size."""
    sizes = {(record.height, record.width) for record in manifest.records}
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:3])
        yield f"videos of {len(sizes)} sizes ({shown} ...) do not go into one batch"
    for record in manifest.records:
        try:
            shape = read_gray(manifest.video(record))[0].shape
        except InputError as error:
            yield str(error).replace(str(manifest.root), ".")
            continue
        if shape != (record.frames, record.height, record.width):
            told = (record.frames, record.height, record.width)
            yield f"{record.path} has (frames, height, width) {shape}, {FILE_LIST} says {told}"


def _differences(
    manifest: Manifest, split: Split, pairs: Sequence[Pair], label: str
) -> Iterator[str]:
    """How the videos of a split, as a tool holds them, differ from those of the manifest."""
    meant = {f"{record.uid}.avi": record for record in manifest.of(split)}
    lost = sorted(set(meant) - {pair.file for pair in pairs})
    if lost:
        yield f"{len(lost)} of {len(meant)} videos of {split.value} are lost, such as {lost[0]}"
    for pair in pairs:
        record = meant.get(pair.file)
        if record is None:
            yield f"{pair.file} is read in {split.value}, where it does not belong"
            continue
        if (value := _label(manifest, record, label)) is not None and not _equal(
            pair.row.get(label), value
        ):
            yield f"{pair.file} gets the {label} {pair.row.get(label)}, it has {value:g}"
        yield from _wrong_tracing(pair, record)


def _label(manifest: Manifest, record: Record, label: str) -> float | None:
    if label == LABEL:
        return record.ef
    text = manifest.extras.get(record.uid, {}).get(label, "")
    return float(text) if text else None


def _equal(seen: Any, meant: float) -> bool:
    return isinstance(seen, (int, float)) and bool(np.isclose(seen, meant, rtol=1e-6, atol=1e-6))


def _wrong_tracing(pair: Pair, record: Record) -> Iterator[str]:
    """The first frame is taken for end-systole and the last for end-diastole, by area."""
    for frame, lines in pair.frames.items():
        if not 0 <= frame < record.frames:
            yield f"{pair.file} is traced in frame {frame} and has {record.frames} frames"
        if lines.shape != (TRACING_ROWS, 4) or not np.isfinite(lines).all():
            yield f"frame {frame} of {pair.file} has {len(lines)} lines, a tracing {TRACING_ROWS}"
    areas = [_polygon_area(lines) for lines in pair.frames.values()]
    if areas and areas[-1] < 0.98 * areas[0]:  # pixels are no finer
        yield f"the last traced frame of {pair.file} is taken for diastole and is the smaller one"


def _polygon_area(lines: np.ndarray) -> float:
    """Area in px^2 of what the tools fill: the chords' first ends, then their other ends back."""
    x = np.concatenate([lines[1:, 0], lines[:0:-1, 2]])
    y = np.concatenate([lines[1:, 1], lines[:0:-1, 3]])
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
