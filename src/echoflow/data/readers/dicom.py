"""DICOM ultrasound: a folder of loops and stills as an archive exports it, at any depth.

Nothing that names a patient leaves this module. A video is called after its pixels, since files and
folders are often called after people; clips of one patient are grouped under the first one's name,
so that splits can keep them apart. A table at the top may bring labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from echoflow.data import dicom as files
from echoflow.data.container import as_flaw, contents
from echoflow.data.findings import Finding, Flaw
from echoflow.data.manifest import Manifest
from echoflow.data.medical import DICOM, medical_format
from echoflow.data.table import Row, read_table
from echoflow.data.tree import files_under, inside, leads_out
from echoflow.data.video import IMAGES, VIDEOS
from echoflow.types import InputError, Record, View

LABELS = "labels.csv"
NAME = "FileName"
_NO_DICOM = (*VIDEOS, *IMAGES, ".csv", ".txt", ".json", ".gz", ".nii", ".npz", ".safetensors")
_DIRECTORY = "DICOMDIR"


@dataclass(frozen=True)
class _Scan:
    """A file that can be used: its path under the root, name, contents and whose it is."""

    path: str
    uid: str
    loop: files.Loop
    person: str | None
    row: Row | None


def dicom_base(root: Path) -> Path | None:
    """The folder itself, if there is a DICOM file in it."""
    return root if next(iter(_scans_in(root)), None) else None


def dicom(root: str | Path) -> Manifest:
    """Every DICOM file below `root`. A view that no table tells is OTHER, a split TRAIN.

    `labels.csv` may have FileName (the path in the folder) and EF, EDV, ESV, View, Split and FPS;
    other columns are not carried along. `extras` hold mm_per_px as `x y` where the file marks its
    picture. `InputError`: there is no such file.
    """
    root = Path(root)
    findings: list[Finding] = []
    rows = _labels(root, findings)
    scans: dict[str, _Scan] = {}
    any_file = False
    for path in _scans_in(root):
        any_file = True
        name = path.as_posix()
        try:
            scan = _scan(root, name, rows.pop(name, None), findings)
            if scan.uid in scans:
                detail = f"{name} has the same pictures as {scans[scan.uid].path}."
                raise Flaw("repeated-name", detail)
            scans[scan.uid] = scan
        except Flaw as flaw:
            findings.append(flaw.found(name, name))
    if not any_file and not findings:
        raise InputError(f"there is no DICOM file in {root}.")
    findings.extend(_missing(root, name, row) for name, row in rows.items())
    patients = _patients(tuple(scans.values()))
    records: list[Record] = []
    for scan in scans.values():
        try:
            records.append(_record(scan, patients.get(scan.uid)))
        except Flaw as flaw:
            findings.append(flaw.found(LABELS, scan.path))
    extras = {r.uid: _extras(scans[r.uid].loop) for r in records}
    extras = {uid: cells for uid, cells in extras.items() if cells}
    return Manifest(root, tuple(records), extras, findings=tuple(findings))


def _scans_in(root: Path) -> Iterator[Path]:
    """Files and links that are, or claim to be, DICOM; relative to the root."""
    found = files_under(root)
    for path in sorted((*found.paths, *found.leaving)):
        if path.name.lower().endswith(_NO_DICOM) or path.name.upper() == _DIRECTORY:
            continue
        if inside(root, path) is None:
            if path.name.lower().endswith(DICOM):
                yield path
        elif medical_format(root / path) == "dicom":
            yield path


def _scan(root: Path, name: str, row: Row | None, findings: list[Finding]) -> _Scan:
    path = root / name
    if inside(root, name) is None:
        raise Flaw("outside-root", leads_out(Path(name), name).detail)
    if not path.is_file():
        raise Flaw("unreadable", f"{name} is a link to nothing, or no file.")
    contents(root, name)
    try:
        loop, uid = files.describe(path), files.fingerprint(path)
        person = files.person(path)
    except InputError as error:
        raise as_flaw(error, path, name) from None
    if loop.region is None:
        _refuse_unmarked(name, loop, findings)
    return _Scan(name, uid, loop, person, row)


def _refuse_unmarked(name: str, loop: files.Loop, findings: list[Finding]) -> None:
    if loop.marked:
        raise Flaw("no-region", f"{name} marks no two-dimensional picture (a Doppler spectrum?).")
    if loop.burnt_in:
        raise Flaw("burnt-in", f"{name} has writing in its pictures and does not mark where.")
    detail = f"{name} does not mark its picture: it is taken whole, with what is written on it."
    findings.append(Finding("no-region", name, detail))


def _labels(root: Path, findings: list[Finding]) -> dict[str, Row]:
    """path in the folder -> its row."""
    rows: dict[str, Row] = {}
    if not (root / LABELS).is_file():
        return rows
    table = read_table(root, LABELS, (NAME,))
    findings.extend(table.findings)
    for row in table:
        name = row.cells[NAME].strip().replace("\\", "/")
        if not name or name in rows:
            what = f"{name[:80]} is listed again" if name else f"{NAME} is empty"
            kind = "repeated-name" if name else "bad-cell"
            findings.append(row.error(f"{what}; the row is not used.", kind).found(LABELS))
        else:
            rows[name] = row
    return rows


def _missing(root: Path, name: str, row: Row) -> Finding:
    if inside(root, name) is None:
        what = f"{name[:80]} leads out of the dataset; it is not opened."
        return row.error(what, "outside-root").found(LABELS, name)
    return row.error(f"there is no DICOM file {name[:80]}.", "missing-video").found(LABELS, name)


def _patients(scans: Iterable[_Scan]) -> dict[str, str]:
    """uid -> the name of its patient's clips: that of the first of them, in order of names."""
    groups: dict[str, str] = {}
    for scan in sorted(scans, key=lambda scan: scan.uid):
        if scan.person:
            groups.setdefault(scan.person, f"of-{scan.uid}")
    return {scan.uid: groups[scan.person] for scan in scans if scan.person}


def _record(scan: _Scan, patient: str | None) -> Record:
    row = scan.row or Row(Path(LABELS), 0, {})
    fps = (row.number("FPS", 1e-3) if row.maybe("FPS") else None) or scan.loop.fps
    if not fps:
        detail = f"{scan.path} does not say its rate; give it in the column FPS of {LABELS}."
        raise Flaw("no-rate", detail, path=scan.path)
    edv, esv = row.volumes()
    return Record(
        uid=scan.uid,
        path=scan.path,
        source="dicom",
        view=row.view() if row.maybe("View") else View.OTHER,
        split=row.split(),
        patient=patient,
        fps=fps,
        frames=scan.loop.frames,
        height=scan.loop.height,
        width=scan.loop.width,
        ef=row.ef(),
        edv=edv,
        esv=esv,
    )


def _extras(loop: files.Loop) -> dict[str, str]:
    scale = loop.region.mm_per_px if loop.region else None
    return {"mm_per_px": f"{scale[0]:.8g} {scale[1]:.8g}"} if scale else {}
