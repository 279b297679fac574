"""Any folder of videos, GIFs and images, at any depth, with or without a table of labels."""

from __future__ import annotations

from pathlib import Path

from echoflow.data.container import contents
from echoflow.data.findings import Finding, Flaw, left_out
from echoflow.data.manifest import FILE_LIST, Manifest
from echoflow.data.readers.listing import by_name, flat, only_row, plain_name
from echoflow.data.table import Row, Table, read_table
from echoflow.data.tree import files_under, inside, leads_out
from echoflow.data.video import IMAGES, VIDEOS
from echoflow.types import InputError, Record

COLUMNS = ("FileName", "EF", "EDV", "ESV", "View", "Split", "Patient", "FPS", "Source")
FILMS = VIDEOS + IMAGES


def folder(root: str | Path) -> Manifest:
    """Every video and image below `root`, hidden ones apart, and at most one table at its top.

    The CSV needs a FileName column (path in the folder, with or without suffix, or the name alone
    where no other file has it) and may have EF, EDV, ESV, View, Split, Patient, FPS, Source, which
    overrule the file, and columns of its own. Without a row a video is unlabelled, A4C, TRAIN.
    `InputError`: there are no videos, or several tables of labels.
    """
    root = Path(root)
    findings: list[Finding] = []
    films = _films(root, findings)
    if not films and not findings:
        raise InputError(f"there is no video or image file in {root}.")
    table = _table(root)
    rows = _labels(root, table, films, findings) if table else {}
    records = _records(root, films, rows, table, findings)
    extras = {r.uid: _further(rows[r.uid]) for r in records if r.uid in rows}
    extras = {uid: cells for uid, cells in extras.items() if cells}
    return Manifest(root, tuple(records), extras, findings=tuple(findings))


def _films(root: Path, findings: list[Finding]) -> dict[str, str]:
    """uid -> path in the folder; of files with one name, the first."""
    files = files_under(root, suffixes=FILMS)
    for link in files.leaving:
        is_film = link.suffix.lower() in FILMS
        findings.append(leads_out(link, _uid(link) if is_film else None))
    taken = set(left_out(findings))
    films: dict[str, str] = {}
    for path in files.paths:
        uid, name = _uid(path), path.as_posix()
        if uid in films or uid in taken:
            detail = f"{name} has the name of {films.get(uid, uid)}; give one of them another."
            findings.append(Finding("repeated-name", name, detail, name))
        else:
            films[uid] = name
    return films


def _uid(path: Path) -> str:
    return flat(plain_name(path.as_posix())[0])


def _table(root: Path) -> Table | None:
    """The only table at the top that has a FileName column, or FileList.csv of several."""
    tables: list[Table] = []
    others: list[InputError] = []
    for path in files_under(root, suffixes=(".csv",)).paths:
        if len(path.parts) > 1:
            continue
        try:
            tables.append(read_table(root, path.name, ("FileName",)))
        except InputError as error:
            others.append(error)
    named = [table for table in tables if table.name == FILE_LIST]
    tables = named or tables
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise InputError(f"{root} has several CSV files ({names}); keep the one with the labels.")
    if others and not tables:
        raise others[0]
    return tables[0] if tables else None


def _labels(
    root: Path, table: Table, films: dict[str, str], findings: list[Finding]
) -> dict[str, Row]:
    """uid -> row. A bad row leaves its video out."""
    findings.extend(table.findings)
    alone = _by_stem(films)
    gone = set(left_out(findings))
    named: dict[str, list[Row]] = {}
    for name, rows in by_name(table, None, findings).items():
        named.setdefault(name if name in films else alone.get(name, name), []).extend(rows)
    labels: dict[str, Row] = {}
    for uid, rows in named.items():
        try:
            name, _ = plain_name(rows[0].cells["FileName"])
            if inside(root, name) is None:
                detail = f"{name} leads out of the dataset; it is not opened."
                raise rows[0].error(detail, "outside-root")
            if uid not in films and uid not in gone:
                raise rows[0].error(f"there is no video {name}.", "missing-video")
            labels[uid] = only_row(rows, uid, table, findings)
        except Flaw as flaw:
            findings.append(flaw.found(table.name, uid))
    return labels


def _records(
    root: Path,
    films: dict[str, str],
    rows: dict[str, Row],
    table: Table | None,
    findings: list[Finding],
) -> list[Record]:
    gone = set(left_out(findings))
    records: list[Record] = []
    for uid, path in films.items():
        if uid in gone:
            continue
        row = rows.get(uid)
        try:
            records.append(_record(root, uid, path, row))
        except Flaw as flaw:
            findings.append(flaw.found(table.name if table else path, uid))
            continue
        if table and row is None:
            detail = f"{path} is not listed in {table.name}; it has no labels."
            findings.append(Finding("unlisted-video", path, detail))
    return records


def _record(root: Path, uid: str, path: str, row: Row | None) -> Record:
    held = contents(root, path)
    row = row or Row(root, 0, {})
    row.refuse_surplus()
    edv, esv = row.volumes()
    told = row.maybe("FPS") and row.number("FPS", 1e-3)
    return Record(
        uid=uid,
        path=path,
        source=row.maybe("Source") or "folder",
        view=row.view(),
        split=row.split(),
        patient=row.maybe("Patient"),
        fps=told or held.fps,
        frames=held.frames,
        height=held.height,
        width=held.width,
        ef=row.ef(),
        edv=edv,
        esv=esv,
    )


def _by_stem(films: dict[str, str]) -> dict[str, str]:
    """Name without folders and suffix -> uid, where only one file has that name."""
    stems: dict[str, list[str]] = {}
    for uid, path in films.items():
        stems.setdefault(Path(path).stem, []).append(uid)
    return {stem: uids[0] for stem, uids in stems.items() if len(uids) == 1}


def _further(row: Row) -> dict[str, str]:
    return {name: text for name, text in row.cells.items() if name and name not in COLUMNS}
