"""TMED-2: single pictures of five views, some of them with labels, as PNG files of 112x112.

Pictures lie at any depth and are called `<study>_<number>.png`, the study `<patient>s<n>`. Tables
`labels_per_image.csv` and `DEV479|DEV165|DEV56/TMED2_fold{0,1,2}_labeledpart.csv` have rows
`query_key, view_label, diagnosis_label, view_classifier_split, diagnosis_classifier_split`. There
is no EF: the pictures train autoencoders, and EchoFlow merges them all for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from echoflow.data.container import contents
from echoflow.data.findings import Finding, Flaw
from echoflow.data.manifest import Manifest
from echoflow.data.table import Row, Table, read_table
from echoflow.data.tree import files_under, inside, leads_out
from echoflow.types import InputError, Record, Split, View

LABELS = "labels_per_image.csv"
KEY = "query_key"
LABEL_COLUMNS = ("view_label", "diagnosis_label", "view_classifier_split",
                 "diagnosis_classifier_split")  # fmt: skip
VIEWS = {"PLAX": View.PLAX, "PSAX": View.PSAX, "A4C": View.A4C}
KNOWN_VIEWS = (*VIEWS, "A2C", "A4CorA2CorOther")
PICTURE = re.compile(r"(?P<patient>\d+)s\d+_\d+")
_FOLDERS = ("view_and_diagnosis_labeled_set", "view_labeled_set", "unlabeled_set")


def tmed2_base(root: Path) -> Path | None:
    """The folder itself, if the labels or one of the sets of TMED-2 are in it or just below."""
    for base in (root, *(path for path in sorted(root.glob("*")) if path.is_dir())):
        if (base / LABELS).is_file() or any((base / name).is_dir() for name in _FOLDERS):
            return base if (base / LABELS).is_file() else root
    return None


def tmed2(root: str | Path) -> Manifest:
    """TMED-2 in `root`, or any part of it; all pictures are TRAIN.

    `extras` hold the labels and the set that a picture belongs to. A picture whose view is not
    known, or has no class, is `View.OTHER`. `InputError`: there are no pictures.
    """
    root = Path(root)
    findings: list[Finding] = []
    pictures = _pictures(root, findings)
    if not pictures and not findings:
        raise InputError(f"there is no PNG file in {root}; is it TMED-2?")
    labels = _labels(root, set(pictures), findings)
    records: list[Record] = []
    extras: dict[str, dict[str, str]] = {}
    for uid, path in pictures.items():
        row = labels.get(uid)
        try:
            records.append(_record(root, uid, path, row, findings))
        except Flaw as flaw:
            findings.append(flaw.found(path.as_posix(), uid))
            continue
        told = {name: row.cells.get(name, "") for name in LABEL_COLUMNS} if row else {}
        extras[uid] = {"Set": path.parent.as_posix(), **told}
    return Manifest(root, tuple(records), extras, findings=tuple(findings))


def _pictures(root: Path, findings: list[Finding]) -> dict[str, Path]:
    """uid -> path under the root; of two pictures of one name, the first."""
    files = files_under(root, suffixes=(".png",))
    for link in files.leaving:
        is_picture = link.suffix.lower() == ".png"
        findings.append(leads_out(link, link.as_posix() if is_picture else None))
    pictures: dict[str, Path] = {}
    for path in files.paths:
        uid, name = path.stem, path.as_posix()
        if uid in pictures:
            detail = f"{name} has the name of {pictures[uid].as_posix()}, which is taken."
            findings.append(Finding("repeated-name", name, detail, name))
        else:
            pictures[uid] = path
    return pictures


def _labels(root: Path, uids: set[str], findings: list[Finding]) -> dict[str, Row]:
    """uid -> its row in the table of labels, wherever in the root that is."""
    labels: dict[str, Row] = {}
    missing: dict[str, Finding] = {}
    for table in _tables(root, findings):
        findings.extend(table.findings)
        for row in table:
            key = row.cells[KEY].strip()
            uid = Path(key.replace("\\", "/")).name.removesuffix(".png")
            if row.surplus or not uid:
                detail = f"line {row.line}: no picture is named, or there are too many cells."
                findings.append(Finding("bad-cell", table.name, detail))
            elif inside(root, key) is None:
                detail = f"line {row.line}: {key[:80]} leads out of the dataset; not opened."
                findings.append(Finding("outside-root", table.name, detail))
            elif uid not in uids:
                detail = f"line {row.line}: there is no picture {uid}.png."
                missing.setdefault(uid, Finding("missing-video", table.name, detail, uid))
            elif labels.setdefault(uid, row) is not row and not _agree(labels[uid], row):
                detail = f"line {row.line}: {uid} is listed again with other labels."
                findings.append(Finding("repeated-name", table.name, detail))
    findings.extend(missing.values())
    return labels


def _tables(root: Path, findings: list[Finding]) -> Iterator[Table]:
    """The tables that have the columns of TMED-2, that of all pictures first."""
    names = [path.as_posix() for path in files_under(root, suffixes=(".csv",)).paths]
    for name in sorted(names, key=lambda name: (not name.endswith(LABELS), name)):
        try:
            yield read_table(root, name, (KEY, "view_label"))
        except InputError as error:
            detail = str(error).replace(f"{root}/", "")
            findings.append(Finding("bad-cell", name, f"no labels are taken from it: {detail}"))


def _agree(first: Row, second: Row) -> bool:
    columns = ("view_label", "diagnosis_label")
    return all(first.cells.get(name) == second.cells.get(name) for name in columns)


def _record(root: Path, uid: str, path: Path, row: Row | None, findings: list[Finding]) -> Record:
    held = contents(root, path.as_posix())
    named = PICTURE.fullmatch(uid)
    return Record(
        uid=uid,
        path=path.as_posix(),
        source="tmed2",
        view=_view(row, findings) if row else View.OTHER,
        split=Split.TRAIN,
        patient=named["patient"] if named else None,
        fps=held.fps,
        frames=held.frames,
        height=held.height,
        width=held.width,
        ef=None,
        edv=None,
        esv=None,
    )


def _view(row: Row, findings: list[Finding]) -> View:
    name = row.maybe("view_label") or ""
    if name and name not in KNOWN_VIEWS:
        what = f"view_label is {name[:40]!r}, not one of {', '.join(KNOWN_VIEWS)}."
        findings.append(row.error(what, "bad-view").found(row.path.name))
    return VIEWS.get(name, View.OTHER)
