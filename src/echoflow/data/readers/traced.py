"""VolumeTracings.csv in its two forms: lines `X1,Y1,X2,Y2`, or polygons `X,Y`; `Frame` is from 0.

What was traced is kept as it is; only what cannot belong to the video is dropped. Areas, and which
of two frames is end-diastole, are the business of whoever rasterises.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np

from echoflow.data.findings import Finding, Kind, left_out
from echoflow.data.manifest import TRACING_ROWS
from echoflow.data.readers.listing import Listing, flat, odd_spelling, plain_name
from echoflow.data.table import Table, as_number, read_table, surplus
from echoflow.data.tree import inner
from echoflow.types import InputError, Record

CHORDS, POLYGON = ("X1", "Y1", "X2", "Y2"), ("X", "Y")
_LEAST = 3  # a long axis and two chords, or three corners: less has no area
_ABSENT: dict[str, Kind] = {"no systolic": "no-systolic", "no diastolic": "no-diastolic"}

Frames = dict[int, np.ndarray]


@dataclass
class Traced:
    """uid -> frame -> (n, 4) lines or (n, 2) polygon, float64 in pixels; what was wrong."""

    chords: dict[str, Frames] = field(default_factory=dict)
    outlines: dict[str, Frames] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@dataclass
class _Strokes:
    """What the table says of one frame of one video: numbers row after row, and where they end."""

    line: int
    values: array[float] = field(default_factory=lambda: array("d"))
    spoilt: str = ""  # the first bad line


@dataclass
class _Pages:
    """All that the table says of one video: its frames, as they are written, in their order."""

    name: str
    line: int
    frames: dict[str, _Strokes] = field(default_factory=dict)
    torn: int = 0  # the first line with more cells than the header, if there is one


def read_tracings(root: Path, name: str, listing: Listing, suffixed: bool = True) -> Traced:
    """The tracings in the table `root/name` of the videos in `listing`."""
    done = Traced()
    if inner(root, name) is None:
        done.findings.append(Finding("no-tracing", name, f"there is no {name}: nothing is traced."))
        return done
    try:
        table, columns = _table(root, name)
    except InputError as error:
        detail = str(error).replace(str(root / name), name)
        done.findings.append(Finding("no-tracing", name, f"{detail} Nothing is traced."))
        return done
    done.findings.extend(table.findings)
    pages = _gather(table, columns)
    if not pages:
        done.findings.append(Finding("no-tracing", name, f"{name} is empty: nothing is traced."))
        return done
    into = done.chords if columns == CHORDS else done.outlines
    records = {record.uid: record for record in listing.records}
    excluded = set(left_out(listing.findings))
    for uid, page in pages.items():
        done.findings.extend(odd_spelling(page.name, page.line, name, suffixed))
        if uid in records:
            frames = _frames(page, uid, records[uid], columns, name, done.findings)
            into.update({uid: frames} if frames else {})
        elif uid not in excluded:
            detail = f"line {page.line}: {uid} is traced, but not listed."
            done.findings.append(Finding("unlisted-video", name, detail))
    for uid in records:
        if uid not in pages:
            done.findings.append(Finding("no-tracing", name, f"{uid} is not traced."))
    return done


def _table(root: Path, name: str) -> tuple[Table, tuple[str, ...]]:
    table = read_table(root, name, ("FileName", "Frame"))
    columns = CHORDS if "X1" in table.header else POLYGON
    return read_table(root, name, ("FileName", *columns, "Frame")), columns


def _gather(table: Table, columns: tuple[str, ...]) -> dict[str, _Pages]:
    """uid -> pages, in one pass that keeps eight bytes per number."""
    name_at, frame_at = table.header.index("FileName"), table.header.index("Frame")
    places = [table.header.index(column) for column in columns]
    width, numbers = len(table.header), itemgetter(*places)
    pages: dict[str, _Pages] = {}
    by_spelling: dict[str, _Pages] = {}
    for line, cells in table.lines():
        if len(cells) < width:
            cells += [""] * (width - len(cells))
        spelling, frame = cells[name_at], cells[frame_at].strip()
        page = by_spelling.get(spelling)
        if page is None:
            uid = flat(plain_name(spelling)[0])
            page = pages.setdefault(uid, _Pages(spelling, line))
            by_spelling[spelling] = page
        if len(cells) > width and surplus(cells, width):
            page.torn = page.torn or line
            continue
        strokes = page.frames.get(frame)
        if strokes is None:
            strokes = page.frames[frame] = _Strokes(line)
        try:
            strokes.values.extend([*map(float, numbers(cells))])
        except ValueError:
            strokes.spoilt = strokes.spoilt or _spoilt(table, line, cells, columns, places)
    return pages


def _spoilt(
    table: Table, line: int, cells: list[str], columns: tuple[str, ...], places: list[int]
) -> str:
    for column, place in zip(columns, places, strict=True):
        if math.isnan(as_number(cells[place])):
            return f"line {line}: {column} must be a number; got {cells[place][:40]!r}"
    return f"line {line}: {table.name} holds no coordinates there"


def _frames(
    page: _Pages,
    uid: str,
    record: Record,
    columns: tuple[str, ...],
    table: str,
    findings: list[Finding],
) -> Frames:
    """frame -> coordinates; every drop is told, and then not told again as a missing tracing."""
    found: Frames = {}
    dropped = page.torn > 0
    if page.torn:
        what = f"line {page.torn}: {uid} has more cells than the header; is there a decimal comma?"
        findings.append(Finding("bad-cell", table, what))
    for text, strokes in page.frames.items():
        values = np.array(strokes.values).reshape(-1, len(columns))
        number = as_number(text)
        defect = _defect(text, number, strokes, values, record)
        if defect is not None:
            kind, what = defect
            findings.append(Finding(kind, table, f"line {strokes.line}: {uid} {what}."))
            dropped = True
            continue
        if int(number) in found:
            what = f"line {strokes.line}: {uid} has frame {number:g} again, written {text!r}."
            findings.append(Finding("repeated-tracing", table, what))
            continue
        found[int(number)] = values[:TRACING_ROWS] if columns == CHORDS else _first_round(values)
        for kind, what in _oddities(values, columns, record):
            where = f"line {strokes.line}: {uid}, frame {text}, {what}."
            findings.append(Finding(kind, table, where))
    if len(found) == 1 and not dropped:
        findings.append(Finding("one-tracing", table, f"{uid} has one traced frame of two."))
    return found


def _defect(
    text: str, number: float, strokes: _Strokes, values: np.ndarray, record: Record
) -> tuple[Kind, str] | None:
    """Why a frame's tracing cannot be used, if it cannot."""
    if text.lower() in _ABSENT:
        return _ABSENT[text.lower()], f"is marked {text!r}"
    if not number.is_integer():
        return "bad-cell", f"has the frame {text!r}, which is no number"
    if not 0 <= number < record.frames:
        return "frame-out-of-range", f"has {record.frames} frames, and frame {text} is traced"
    if strokes.spoilt:
        return "bad-cell", f"is traced in frame {text} with a bad cell ({strokes.spoilt})"
    if not np.isfinite(values).all():
        return "bad-cell", f"is traced in frame {text} with a number that is not finite"
    if len(set(map(tuple, values.tolist()))) < _LEAST:
        return "short-tracing", f"is traced in frame {text} with {len(values)} lines or points only"
    return None


def _first_round(points: np.ndarray) -> np.ndarray:
    """The corners (n, 2) before they begin anew; twice around would fill nothing."""
    for start in np.flatnonzero((points[_LEAST:] == points[0]).all(1)) + _LEAST:
        if len(points) >= 2 * start and (points[start : 2 * start] == points[:start]).all():
            return points[:start]
    return points


def _oddities(
    values: np.ndarray, columns: tuple[str, ...], record: Record
) -> Iterator[tuple[Kind, str]]:
    """What is unusual about a tracing that is kept."""
    if columns == CHORDS and len(values) > TRACING_ROWS:
        yield "repeated-tracing", f"has {len(values)} lines; the first {TRACING_ROWS} are taken"
    if columns == POLYGON and len(_first_round(values)) < len(values):
        yield "repeated-tracing", f"has a polygon of {len(values)} points that begins anew"
    if columns == CHORDS and len(values) < TRACING_ROWS:
        yield "short-tracing", f"has {len(values)} lines of {TRACING_ROWS}"
    points = values.reshape(-1, 2)
    low, high = points.min(0), points.max(0)
    if low.min() < 0 or high[0] > record.width or high[1] > record.height:
        yield (
            "outside-image",
            f"reaches from ({low[0]:.4g}, {low[1]:.4g}) to ({high[0]:.4g}, {high[1]:.4g}) in "
            f"{record.width}x{record.height} pixels",
        )
