"""EchoNet-LVH: calipers in the parasternal long axis, at native size, in four batch folders.

A row per measurement, in cm and native pixels; an index column without a name; splits in lower
case. The EF follows from the diameters (Teichholz), so it differs from that of the sidecar as the
method does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from echoflow.data.phantom.anatomy import calipers
from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.dialects.native import Screen
from echoflow.data.phantom.dialects.tables import Tables, plain
from echoflow.data.phantom.sidecar import Known
from echoflow.data.video import write_video
from echoflow.types import Record

LIST = "MeasurementsList.csv"
LIST_COLUMNS = (
    *("", "HashedFileName", "Calc", "CalcValue", "Frame", "X1", "X2", "Y1", "Y2"),
    *("Frames", "FPS", "Width", "Height", "split"),
)
BATCHES = 4
SCREENS = (Screen(2, 240, 320), Screen(3, 360, 480), Screen(4, 480, 640))
ROWS = 6  # at most, per video: so that the index is known without counting


def write(each: PhantomClip, number: int, work: Path, tables: Tables) -> tuple[Known, ...]:
    """Video and measurements: all three walls at end-diastole, the diameter at end-systole.

    Every second video also has the walls at end-systole.
    """
    clip, truth = each.clip, each.truth
    screen = SCREENS[truth.patient % len(SCREENS)]
    native = dataclasses.replace(clip, video=screen.video(clip.video))
    record = Record.of(native, f"Batch{1 + number % BATCHES}/{clip.uid}.avi")
    (work / record.path).parent.mkdir(exist_ok=True)
    write_video(work / record.path, native.video, record.fps)
    tables.add(LIST, LIST_COLUMNS, _rows(each, record, screen, number))
    volumes = float(truth.volume[truth.ed]), float(truth.volume[truth.es])
    return (Known(record, truth.ed, truth.es, *volumes, truth.mm_per_px / screen.scale),)


def _rows(each: PhantomClip, record: Record, screen: Screen, number: int) -> Iterator[list[object]]:
    truth = each.truth
    diastolic = {f"{name}d": (truth.ed, c) for name, c in calipers(truth, truth.ed).items()}
    systolic = {f"{name}s": (truth.es, c) for name, c in calipers(truth, truth.es).items()}
    if number % 2:
        systolic = {"LVIDs": systolic["LVIDs"]}
    for index, (name, (frame, caliper)) in enumerate((diastolic | systolic).items()):
        (x1, y1), (x2, y2) = screen.points(caliper.ends)
        yield [
            ROWS * number + index,
            record.uid,
            name,
            f"{caliper.cm:.6f}",
            frame,
            *(f"{x:.4f}" for x in (x1, x2, y1, y2)),
            record.frames,
            plain(record.fps),
            record.width,
            record.height,
            record.split.value.lower(),
        ]
