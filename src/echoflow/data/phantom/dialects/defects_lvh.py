"""What can be wrong in the layout of EchoNet-LVH."""

from __future__ import annotations

from pathlib import Path

from echoflow.data.phantom.dialects.defects import Defect
from echoflow.data.phantom.dialects.lvh import LIST
from echoflow.data.phantom.dialects.spoil import (
    Listing,
    cells,
    kept,
    led_out,
    marked,
    of_files,
    removed,
    renamed,
    repeated,
    returned,
)
from echoflow.data.phantom.sidecar import Known

ROWS = Listing(lambda known: LIST, "HashedFileName", lambda known: known.record.uid)
DIASTOLE, SYSTOLE = {"Calc": "LVIDd"}, {"Calc": "LVIDs"}


def _more_frames(root: Path, known: Known) -> str:
    return cells(ROWS, Frames=str(known.record.frames + 7))(root, known)


def _beyond_the_end(root: Path, known: Known) -> str:
    return cells(ROWS, where=SYSTOLE, Frame=str(known.record.frames + 3))(root, known)


def _swapped(root: Path, known: Known) -> str:
    height, width = str(known.record.height), str(known.record.width)
    return cells(ROWS, Width=height, Height=width)(root, known)


def _off_the_picture(root: Path, known: Known) -> str:
    return cells(ROWS, where=DIASTOLE, Y1=str(known.record.height + 40))(root, known)


def _removed(root: Path, known: Known) -> str:
    return Path(removed(root, known)).name  # the table does not say in which batch it was


def _unlisted(root: Path, known: Known) -> str:
    kept(ROWS, 0)(root, known)
    return known.record.path


LVH = (
    *of_files(),
    Defect("missing-video", "listed, but there is no file", _removed, True),
    Defect("unlisted-video", "a file without a row", _unlisted, True),
    Defect("outside-root", "a link that leads out of the folder", led_out, True),
    Defect("no-measurement", "no diameter at end-systole", kept(ROWS, 0, SYSTOLE), True),
    Defect(
        "bad-cell", "a diameter that is no number", cells(ROWS, DIASTOLE, CalcValue="n/a"), True
    ),
    Defect("bad-ef", "a heart that grows", cells(ROWS, SYSTOLE, CalcValue="9.9"), True),
    Defect("bad-split", "a split that nobody knows", cells(ROWS, split="practice"), True),
    Defect("repeated-measurement", "a diameter twice", repeated(ROWS, DIASTOLE)),
    Defect("wrong-size", "width and height swapped", _swapped),
    Defect("frame-count", "more frames than the video has", _more_frames),
    Defect("suffix", "a name with a suffix", renamed(ROWS, "{name}.avi")),
    Defect("spaces", "spaces around a name", renamed(ROWS, "  {name} ")),
    Defect("outside-image", "a caliper that leaves the picture", _off_the_picture),
    Defect("frame-out-of-range", "a measured frame after the last", _beyond_the_end),
    Defect("byte-order-mark", f"in {LIST}", marked(lambda known: LIST), whole=True),
    Defect("line-ends", f"CRLF in {LIST}", returned(lambda known: LIST), whole=True),
)
