"""What can be wrong in the layout of EchoNet-Dynamic."""

from __future__ import annotations

from pathlib import Path

from echoflow.data.phantom.dialects.defects import Defect
from echoflow.data.phantom.dialects.dynamic import LIST, TRACINGS
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

VIDEOS = Listing(lambda known: LIST, "FileName", lambda known: known.record.uid)
LINES = Listing(lambda known: TRACINGS, "FileName", lambda known: f"{known.record.uid}.avi")


def _at_ed(known: Known) -> dict[str, str]:
    return {"Frame": str(known.ed)}


def _more_frames(root: Path, known: Known) -> str:
    return cells(VIDEOS, NumberOfFrames=str(known.record.frames + 7))(root, known)


def _beyond_the_end(root: Path, known: Known) -> str:
    frame = str(known.record.frames + 3)
    return cells(LINES, where=_at_ed(known), Frame=frame)(root, known)


def _traced_twice(root: Path, known: Known) -> str:
    return repeated(LINES, where=_at_ed(known))(root, known)


def _lines_missing(root: Path, known: Known) -> str:
    return kept(LINES, 16, where=_at_ed(known))(root, known)


def _one_frame(root: Path, known: Known) -> str:
    return kept(LINES, 0, where={"Frame": str(known.es)})(root, known)


def _off_the_picture(root: Path, known: Known) -> str:
    def shifted(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [row | ({"X1": "-2.33"} if i == 20 else {}) for i, row in enumerate(rows)]

    return LINES.edit(root, known, shifted)


def _climbing(root: Path, known: Known) -> str:
    removed(root, known)
    kept(LINES, 0)(root, known)
    return renamed(VIDEOS, "../../{name}")(root, known)


def _unlisted(root: Path, known: Known) -> str:
    kept(LINES, 0)(root, known)
    kept(VIDEOS, 0)(root, known)
    return known.record.path


DYNAMIC = (
    *of_files(),
    Defect("missing-video", "listed, but there is no file", removed, True),
    Defect("unlisted-video", "a file without a row", _unlisted, True),
    Defect("outside-root", "a name that climbs out of the folder", _climbing, True),
    Defect("repeated-name", "two rows, two EFs", repeated(VIDEOS, EF="33.3"), True),
    Defect("bad-cell", "an EF that is no number", cells(VIDEOS, EF="n/a"), True),
    Defect("bad-ef", "an EF as a fraction", cells(VIDEOS, EF="0.55"), True),
    Defect("bad-split", "a fold where a split should be", cells(VIDEOS, Split="3"), True),
    Defect("bad-view", "a view that nobody knows", cells(VIDEOS, View="A5C"), True),
    Defect("wrong-size", "a size that is not the video's", cells(VIDEOS, FrameHeight="768")),
    Defect("frame-count", "more frames than the video has", _more_frames),
    Defect("suffix", "a name with a suffix", renamed(VIDEOS, "{name}.avi")),
    Defect("spaces", "spaces around a name", renamed(VIDEOS, "  {name} ")),
    Defect("no-tracing", "no frame is traced", kept(LINES, 0)),
    Defect("one-tracing", "end-systole is not traced", _one_frame),
    Defect("repeated-tracing", "42 lines in a frame", _traced_twice),
    Defect("short-tracing", "16 lines in a frame", _lines_missing),
    Defect("outside-image", "a chord that leaves the picture", _off_the_picture),
    Defect("frame-out-of-range", "a traced frame after the last", _beyond_the_end),
    Defect("byte-order-mark", f"in {LIST}", marked(lambda known: LIST), whole=True),
    Defect("line-ends", f"CRLF in {TRACINGS}", returned(lambda known: TRACINGS), whole=True),
)
