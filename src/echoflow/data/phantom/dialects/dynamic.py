"""EchoNet-Dynamic: names without suffix, upper-case splits, tracings of 21 lines.

The columns View, Patient, Source and Cohort follow those of the layout; readers that do not know
them pass over them.
"""

from __future__ import annotations

from pathlib import Path

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.dialects.tables import Tables, plain
from echoflow.data.phantom.sidecar import Known
from echoflow.data.video import write_video
from echoflow.types import Record

LIST = "FileList.csv"
TRACINGS = "VolumeTracings.csv"
LIST_COLUMNS = (
    *("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames"),
    *("Split", "View", "Patient", "Source", "Cohort"),
)
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")


def write(each: PhantomClip, number: int, work: Path, tables: Tables) -> tuple[Known, ...]:
    """Video, row and tracings; end-systole is traced first, as the reference loader assumes."""
    clip, truth = each.clip, each.truth
    record = Record.of(clip, f"Videos/{clip.uid}.avi")
    write_video(work / record.path, clip.video, record.fps)
    tables.add(LIST, LIST_COLUMNS, [_row(record, str(truth.parameters.get("cohort", "")))])
    tables.add(
        TRACINGS,
        TRACING_COLUMNS,
        (
            [f"{clip.uid}.avi", *(f"{x:.8g}" for x in line), frame]
            for frame in (truth.es, truth.ed)
            for line in truth.tracing(frame)
        ),
    )
    volumes = float(truth.volume[truth.ed]), float(truth.volume[truth.es])
    return (Known(record, truth.ed, truth.es, *volumes, truth.mm_per_px),)


def _row(record: Record, cohort: str) -> list[str]:
    numbers = (record.ef, record.esv, record.edv, record.height, record.width, record.fps)
    return [
        record.uid,
        *("" if value is None else plain(value) for value in numbers),
        str(record.frames),
        record.split.value,
        record.view.name,
        record.patient or "",
        record.source,
        cohort,
    ]
