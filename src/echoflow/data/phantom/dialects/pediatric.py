"""EchoNet-Pediatric: nested roots per view, names with suffix, integer folds, polygon tracings.

The layout has no volumes, no frame rate and no sizes: a reader takes them from the video. Folds 0
to 7 are for training, 8 for validation, 9 for testing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.dialects.tables import Tables
from echoflow.data.phantom.sidecar import Known
from echoflow.data.phantom.truth import Truth
from echoflow.data.video import write_video
from echoflow.types import Record, Split, View

NEST = "pediatric_echo_avi/pediatric_echo_avi"
LIST = "FileList.csv"
TRACINGS = "VolumeTracings.csv"
LIST_COLUMNS = ("FileName", "EF", "Sex", "Age", "Weight", "Height", "Split")
TRACING_COLUMNS = ("FileName", "X", "Y", "Frame")
FOLDS = 10


def write(each: PhantomClip, number: int, work: Path, tables: Tables) -> tuple[Known, ...]:
    """Video, row and the polygons of end-diastole and end-systole."""
    clip, truth = each.clip, each.truth
    base = f"{NEST}/{clip.view.name}"
    digits = hashlib.sha256(clip.uid.encode()).hexdigest()
    rng = np.random.default_rng(int(digits[16:32], 16))
    name = f"CR{digits[:7]}-CR{digits[7:14]}-{number:06d}"
    fold = truth.patient % FOLDS
    record = dataclasses.replace(
        Record.of(clip, f"{base}/Videos/{name}.avi"), uid=name, split=fold_split(fold)
    )
    (work / base / "Videos").mkdir(parents=True, exist_ok=True)
    write_video(work / record.path, clip.video, record.fps)
    child = _child(np.random.default_rng([truth.patient, FOLDS]))
    row = [f"{name}.avi", f"{truth.ef:.4f}", *child, fold]
    tables.add(f"{base}/{LIST}", LIST_COLUMNS, [row])
    points = int(rng.integers(32, 65))
    tables.add(
        f"{base}/{TRACINGS}",
        TRACING_COLUMNS,
        (
            [f"{name}.avi", f"{x:.6g}", f"{y:.6g}", frame]
            for frame in (truth.ed, truth.es)
            for x, y in outline(truth, frame, points)
        ),
    )
    volumes = float(truth.volume[truth.ed]), float(truth.volume[truth.es])
    return (Known(record, truth.ed, truth.es, *volumes, truth.mm_per_px),)


def fold_split(fold: int) -> Split:
    """The split that a fold stands for."""
    return {8: Split.VAL, 9: Split.TEST}.get(fold, Split.TRAIN)


def outline(truth: Truth, frame: int, points: int) -> np.ndarray:
    """The cavity as a closed polygon (points + 1, 2) `x, y` in px, evenly spaced along its border.

    It passes through the apex and both hinges of the mitral valve (PSAX: top and bottom of the
    ring) and through the ends of all chords.
    """
    lines = truth.tracing(frame)
    axis, left, right = lines[0].reshape(2, 2), lines[1:, :2], lines[1:, 2:]
    if truth.view is View.PSAX:
        base = axis[1:]
    else:  # the last disk ends half a step beyond its chord
        hinges = [1.5 * side[-1] - 0.5 * side[-2] for side in (left, right)]
        base = np.stack(hinges)
    border = np.concatenate([axis[:1], left, base, right[::-1], axis[:1]])
    steps = np.hypot(*np.diff(border, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, travelled[-1], points + 1)
    return np.stack([np.interp(at, travelled, border[:, i]) for i in range(2)], axis=1)


def _child(rng: np.random.Generator) -> list[object]:
    """Sex, age in years, weight in kg, height in cm: plausible, and unrelated to the heart."""
    age = float(rng.uniform(0.1, 18))
    height = 75 + 5.6 * age + rng.normal(0, 5)
    weight = 9 + 2.6 * age + rng.normal(0, 2)
    return ["F" if rng.uniform() < 0.43 else "M", round(age), f"{weight:.2f}", f"{height:.2f}"]
