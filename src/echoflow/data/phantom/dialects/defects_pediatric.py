"""What can be wrong in the layout of EchoNet-Pediatric."""

from __future__ import annotations

from pathlib import Path

from echoflow.data.phantom.dialects.defects import Defect, Spoil
from echoflow.data.phantom.dialects.pediatric import LIST, TRACINGS
from echoflow.data.phantom.dialects.spoil import (
    Listing,
    cells,
    kept,
    marked,
    of_files,
    removed,
    renamed,
    repeated,
    returned,
)
from echoflow.data.phantom.sidecar import Known


def _beside(file: str):
    """A table of the view that a video belongs to."""
    return lambda known: f"{Path(known.record.path).parents[1].as_posix()}/{file}"


VIDEOS = Listing(_beside(LIST), "FileName", lambda known: f"{known.record.uid}.avi")
POINTS = Listing(_beside(TRACINGS), "FileName", lambda known: f"{known.record.uid}.avi")


def _framed(systole: bool, text: str) -> Spoil:
    """Puts `text` in the place of the number of a traced frame."""

    def spoil(root: Path, known: Known) -> str:
        frame = str(known.es if systole else known.ed)
        return cells(POINTS, where={"Frame": frame}, Frame=text)(root, known)

    return spoil


def _beyond_the_end(root: Path, known: Known) -> str:
    return _framed(False, str(known.record.frames + 3))(root, known)


def _traced_twice(root: Path, known: Known) -> str:
    return repeated(POINTS, where={"Frame": str(known.ed)})(root, known)


def _points_missing(root: Path, known: Known) -> str:
    return kept(POINTS, 2, where={"Frame": str(known.es)})(root, known)


def _one_frame(root: Path, known: Known) -> str:
    return kept(POINTS, 0, where={"Frame": str(known.es)})(root, known)


def _off_the_picture(root: Path, known: Known) -> str:
    def shifted(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [row | ({"Y": "116.87"} if i == 9 else {}) for i, row in enumerate(rows)]

    return POINTS.edit(root, known, shifted)


def _climbing(root: Path, known: Known) -> str:
    removed(root, known)
    kept(POINTS, 0)(root, known)
    return renamed(VIDEOS, "../../../../{name}")(root, known)


def _unlisted(root: Path, known: Known) -> str:
    kept(POINTS, 0)(root, known)
    kept(VIDEOS, 0)(root, known)
    return known.record.path


PEDIATRIC = (
    *of_files(),
    Defect("missing-video", "listed, but there is no file", removed, True),
    Defect("unlisted-video", "a file without a row", _unlisted, True),
    Defect("outside-root", "a name that climbs out of the folder", _climbing, True),
    Defect("repeated-name", "two rows, two EFs", repeated(VIDEOS, EF="33.3"), True),
    Defect("bad-cell", "an EF that is no number", cells(VIDEOS, EF="n/a"), True),
    Defect("bad-ef", "an EF as a fraction", cells(VIDEOS, EF="0.55"), True),
    Defect("bad-split", "a fold beyond 9", cells(VIDEOS, Split="10"), True),
    Defect("suffix", "a name without a suffix", renamed(VIDEOS, "{stem}")),
    Defect("spaces", "spaces around a name", renamed(VIDEOS, " {name}  ")),
    Defect("no-systolic", "end-systole marked as absent", _framed(True, "No Systolic")),
    Defect("no-diastolic", "end-diastole marked as absent", _framed(False, "No Diastolic")),
    Defect("no-tracing", "no frame is traced", kept(POINTS, 0)),
    Defect("one-tracing", "end-systole is not traced", _one_frame),
    Defect("repeated-tracing", "a polygon traced twice", _traced_twice),
    Defect("short-tracing", "a polygon of two points", _points_missing),
    Defect("outside-image", "a point that leaves the picture", _off_the_picture),
    Defect("frame-out-of-range", "a traced frame after the last", _beyond_the_end),
    Defect("byte-order-mark", f"in a {LIST}", marked(_beside(LIST)), whole=True),
    Defect("line-ends", f"CRLF in a {TRACINGS}", returned(_beside(TRACINGS)), whole=True),
)
