"""EchoNet-LVH: parasternal long axis at native size, measured with calipers.

MeasurementsList.csv has a row per measurement, `HashedFileName,Calc,CalcValue,Frame,X1,X2,Y1,Y2,
Frames,FPS,Width,Height,split`, in cm and native pixels; Batch1 ... Batch4 hold `<name>.avi`. The
EF is that of Teichholz, from the internal diameters at end-diastole and end-systole. Nothing is
outlined: there are no masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoflow.data.container import Contents, contents
from echoflow.data.findings import Finding, Flaw
from echoflow.data.manifest import Manifest
from echoflow.data.readers.listing import odd_spelling, plain_name
from echoflow.data.table import Row, Table, as_number, read_table
from echoflow.data.tree import files_under, inside, leads_out
from echoflow.data.video import VIDEOS
from echoflow.data.volumes import ejection_fraction, teichholz
from echoflow.types import Record, Split, View, choose

MEASUREMENTS = "MeasurementsList.csv"
COLUMNS = ("HashedFileName", "Calc", "CalcValue", "Frame", "split")
SIZES = {"frames": "Frames", "height": "Height", "width": "Width"}
INNER = {"edv": "LVIDd", "esv": "LVIDs"}
CALCS = ("IVSd", "LVIDd", "LVPWd", "IVSs", "LVIDs", "LVPWs")
LONGEST = 20.0  # cm; what is longer was written in mm


@dataclass(frozen=True)
class Caliper:
    """A measurement: `cm`, its frame from 0 and its ends `x1, y1, x2, y2` in px, where known."""

    calc: str
    cm: float
    frame: int | None
    ends: tuple[float, float, float, float] | None

    @property
    def mm_per_px(self) -> float:
        """The scale that follows from it; nan without ends."""
        x1, y1, x2, y2 = self.ends or (math.nan,) * 4
        length = math.hypot(x2 - x1, y2 - y1)
        return 10 * self.cm / length if length > 0 else math.nan


def echonet_lvh(root: str | Path, first_frame: int | None = None) -> Manifest:
    """EchoNet-LVH in `root`. `extras` hold every diameter in cm and its ends, and mm_per_px.

    `first_frame` says whether the column Frame counts from 0 or from 1; readers of this dataset
    differ. By default the table tells: from 1 if no measurement is in frame 0 and one is in the
    frame after the last from 0. Of repeated measurements the median counts. Videos without both
    internal diameters are left out, as EchoFlow leaves them out.
    """
    root = Path(root)
    table = read_table(root, MEASUREMENTS, COLUMNS)
    findings = list(table.findings)
    rows = _by_name(table, findings)
    base = _first_frame(rows) if first_frame is None else first_frame
    shelf = _shelf(root, findings)
    records: list[Record] = []
    extras: dict[str, dict[str, str]] = {}
    for uid, own in rows.items():
        around: list[Finding] = []
        try:
            path = _found(root, own[0], shelf.pop(uid, None))
            held = _contents(root, path, own[0], around)
            calipers = _calipers(own, held, base, around)
            records.append(_record(uid, path, own, held, calipers, around))
            extras[uid] = _extras(calipers)
        except Flaw as flaw:
            around.append(flaw.found(MEASUREMENTS, uid))
        findings.extend(_told(around, uid))
    findings.extend(_unlisted(root, uid, path) for uid, path in shelf.items())
    return Manifest(root, tuple(records), extras, findings=tuple(findings))


def _by_name(table: Table, findings: list[Finding]) -> dict[str, list[Row]]:
    """uid -> its measurements; a row without a name is left out as its line."""
    rows: dict[str, list[Row]] = {}
    odd: list[Finding] = []
    for row in table:
        text = row.cells["HashedFileName"]
        uid = plain_name(text)[0].rpartition("/")[2]
        if uid:
            if uid not in rows:
                odd.extend(odd_spelling(text, row.line, table.name, False))
            rows.setdefault(uid, []).append(row)
        else:
            nameless = row.error("HashedFileName is empty; fill it in.")
            findings.append(nameless.found(table.name, f"{table.name}:{row.line}"))
    findings.extend(odd)
    return rows


def _first_frame(rows: Mapping[str, list[Row]]) -> int:
    """From which number the column Frame counts: see `echonet_lvh`."""
    pairs = [
        (as_number(row.cells["Frame"]), as_number(row.cells.get("Frames", "")))
        for own in rows.values()
        for row in own
    ]
    return int(all(f != 0 for f, _ in pairs) and any(f == n for f, n in pairs))


def _shelf(root: Path, findings: list[Finding]) -> dict[str, Path]:
    """uid -> file or link, relative to the root, in whichever batch."""
    files = files_under(root, suffixes=VIDEOS)
    shelf: dict[str, Path] = {}
    for path in sorted((*files.paths, *files.leaving)):
        uid, is_video = plain_name(path.name)
        name = path.as_posix()
        if not is_video:
            findings.append(leads_out(path, None))
        elif uid in shelf:
            detail = f"{name} has the name of {shelf[uid].as_posix()}, which is taken."
            findings.append(Finding("repeated-name", name, detail, name))
        else:
            shelf[uid] = path
    return shelf


def _found(root: Path, row: Row, path: Path | None) -> str:
    """Where the video of a row is."""
    name, _ = plain_name(row.cells["HashedFileName"])
    if inside(root, name) is None or (path and inside(root, path) is None):
        detail = f"line {row.line}: {name} leads out of the dataset; it is not opened."
        raise Flaw("outside-root", detail, row.path, path.as_posix() if path else "")
    if path is None:
        detail = f"{name}.avi is measured in line {row.line}, but in no folder."
        raise Flaw("missing-video", detail, path=f"{name}.avi")
    return path.as_posix()


def _unlisted(root: Path, uid: str, path: Path) -> Finding:
    if inside(root, path) is None:
        return leads_out(path, uid)
    name = path.as_posix()
    return Finding("unlisted-video", name, f"{name} is not in {MEASUREMENTS}.", uid)


def _contents(root: Path, path: str, row: Row, findings: list[Finding]) -> Contents:
    """The file's own sizes; findings where the table has others."""
    held = contents(root, path)
    for name, column in SIZES.items():
        told, value = as_number(row.cells.get(column, "")), getattr(held, name)
        if math.isnan(told):
            text = row.cells.get(column, "")
            detail = f"line {row.line}: {column} is {text[:40]!r}; {path} has {value}."
            findings.append(Finding("bad-cell", MEASUREMENTS, detail))
        elif told != value:
            kind = "frame-count" if name == "frames" else "wrong-size"
            detail = f"line {row.line}: {column} is {told:g}; {path} has {value}."
            findings.append(Finding(kind, MEASUREMENTS, detail))
    return held


def _calipers(
    rows: list[Row], held: Contents, base: int, findings: list[Finding]
) -> dict[str, Caliper]:
    """Calc -> its measurement, the median of several; a `Flaw` if an internal diameter lacks."""
    found: dict[str, list[Caliper]] = {}
    flaws: dict[str, Flaw] = {}
    for row in rows:
        calc = row.cells["Calc"].strip()
        try:
            caliper = _caliper(row, calc, held, base, findings)
        except Flaw as flaw:
            flaws.setdefault(calc, flaw)
        else:
            found.setdefault(calc, []).append(caliper)
    for calc in INNER.values():
        if calc not in found:
            what = f"line {rows[0].line}: {calc} of this video is not measured."
            raise flaws.get(calc) or Flaw("no-measurement", what, MEASUREMENTS)
    findings.extend(flaw.found(MEASUREMENTS) for flaw in flaws.values())
    for calc, several in found.items():
        if len(several) > 1:
            values = ", ".join(f"{c.cm:g}" for c in several[:6])
            detail = f"line {rows[0].line}: {calc} has {len(several)} measurements ({values} cm)."
            findings.append(Finding("repeated-measurement", MEASUREMENTS, detail))
    return {calc: _median(several) for calc, several in found.items()}


def _caliper(row: Row, calc: str, held: Contents, base: int, findings: list[Finding]) -> Caliper:
    row.checked(lambda: choose(calc, CALCS, "Calc"))
    cm = row.number("CalcValue")
    if not 0 < cm <= LONGEST:
        raise row.error(f"{calc} must be in cm, more than 0 and up to {LONGEST:g}; got {cm:g}.")
    frame = as_number(row.cells["Frame"]) - base
    if not frame.is_integer():
        text = row.cells["Frame"][:40]
        findings.append(row.error(f"the frame of {calc} is {text!r}.").found(MEASUREMENTS))
    elif not 0 <= frame < held.frames:
        what = f"{calc} is measured in frame {frame:g} (from 0) of {held.frames}."
        findings.append(row.error(what, "frame-out-of-range").found(MEASUREMENTS))
    ends = tuple(as_number(row.cells.get(name, "")) for name in ("X1", "Y1", "X2", "Y2"))
    known = all(math.isfinite(end) for end in ends)
    limits = (held.width, held.height) * 2
    if known and not all(0 <= end <= limit for end, limit in zip(ends, limits, strict=True)):
        shown = ", ".join(f"{end:.4g}" for end in ends)
        what = f"{calc} ends at ({shown}) in {held.width}x{held.height} pixels."
        findings.append(row.error(what, "outside-image").found(MEASUREMENTS))
    usable = frame.is_integer() and 0 <= frame < held.frames
    return Caliper(
        calc,
        cm,
        int(frame) if usable else None,
        (ends[0], ends[1], ends[2], ends[3]) if known else None,
    )


def _median(several: list[Caliper]) -> Caliper:
    """The median length, at the place of the measurement that is nearest to it."""
    cm = float(np.median([caliper.cm for caliper in several]))
    nearest = min(several, key=lambda caliper: abs(caliper.cm - cm))
    return Caliper(nearest.calc, cm, nearest.frame, nearest.ends)


def _record(
    uid: str,
    path: str,
    rows: list[Row],
    held: Contents,
    calipers: Mapping[str, Caliper],
    findings: list[Finding],
) -> Record:
    inner = {name: calipers[calc].cm for name, calc in INNER.items()}
    if inner["esv"] >= inner["edv"]:
        what = f"LVIDs {inner['esv']:g} cm is not less than LVIDd {inner['edv']:g} cm."
        raise rows[0].error(what, "bad-ef")
    edv, esv = teichholz(inner["edv"]), teichholz(inner["esv"])
    return Record(
        uid=uid,
        path=path,
        source="echonet-lvh",
        view=View.PLAX,
        split=_split(rows),
        patient=None,
        fps=_rate(rows[0], held, findings),
        frames=held.frames,
        height=held.height,
        width=held.width,
        ef=ejection_fraction(edv, esv),
        edv=edv,
        esv=esv,
    )


def _split(rows: list[Row]) -> Split:
    names = {row.cells["split"].strip().upper() for row in rows}
    if len(names) > 1:
        raise rows[0].error(f"the video is in the splits {', '.join(sorted(names))}.", "bad-split")
    (name,) = names
    if not name:
        raise rows[0].error("split is empty; fill it in.", "bad-split")
    return rows[0].checked(
        lambda: Split(choose(name, [split.value for split in Split], "split")), "bad-split"
    )


def _rate(row: Row, held: Contents, findings: list[Finding]) -> float:
    """Frames per second as the table says, else as the file says."""
    told = as_number(row.cells.get("FPS", ""))
    if math.isfinite(told) and told > 0:
        return told
    text = row.cells.get("FPS", "")
    detail = f"FPS is {text[:40]!r}; the file plays at {held.fps:g}."
    findings.append(row.error(detail).found(MEASUREMENTS))
    return held.fps


def _extras(calipers: Mapping[str, Caliper]) -> dict[str, str]:
    """Text columns: LVIDd (cm), LVIDd_frame, LVIDd_ends (x1 y1 x2 y2 in px) ...; mm_per_px."""
    cells: dict[str, str] = {}
    for calc, caliper in calipers.items():
        cells[calc] = f"{caliper.cm:.8g}"
        cells[f"{calc}_frame"] = "" if caliper.frame is None else str(caliper.frame)
        cells[f"{calc}_ends"] = " ".join(f"{end:.8g}" for end in caliper.ends or ())
    scales = [caliper.mm_per_px for caliper in calipers.values()]
    scales = [scale for scale in scales if math.isfinite(scale)]
    return {**cells, "mm_per_px": f"{np.median(scales):.8g}" if scales else ""}


def _told(findings: list[Finding], uid: str) -> Iterator[Finding]:
    """Each once, since every row of a video repeats its cells, and with the name of the video."""
    for finding in dict.fromkeys(findings):
        named = uid in finding.path or uid in finding.detail
        yield finding if named else replace(finding, detail=f"{uid}, {finding.detail}")
