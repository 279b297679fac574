"""Latents that other programs made, one file per video, as a supply for a latent folder.

    metadata.csv, <video_name>.{pt,safetensors}       EchoLVFM: CAMUS, `mu` and `var`
    FileList.csv, Latents/<FileName>.{pt,safetensors} EchoNet-Synthetic: draws times a factor
    <name>.{pt,safetensors}                           no table: unlabelled, all of split TRAIN

`tensorfile` says what may be in a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoflow.data.findings import Finding, Flaw
from echoflow.data.shardwriter import Item
from echoflow.data.table import Row, read_table
from echoflow.data.tensorfile import HOLDS, Holds, read_moments
from echoflow.data.tree import files_under, inner, leads_out
from echoflow.files import sha256
from echoflow.types import InputError, Record, Split, View, choose

SUFFIXES = (".pt", ".safetensors")
SIZE = 112  # pixels, where no table tells: what the published autoencoders work at
VIEWS = {"4CH": View.A4C, "2CH": View.OTHER}
_PATIENT = re.compile(r"patient\d{4}")
STATISTICS = "scaling"  # in the name of a file of means and deviations per channel


@dataclass(frozen=True)
class _Layout:
    """Names of a table and of its columns."""

    table: str
    name: str
    fps: str
    split: str
    folder: str


LAYOUTS = (
    _Layout("metadata.csv", "video_name", "FrameRate", "split", "."),
    _Layout("FileList.csv", "FileName", "FPS", "Split", "."),
)


@dataclass
class Foreign:
    """A folder of foreign latents. `holds` and `factor` say what a tensor without names means.

    The latents in the files are divided by `factor`: EchoNet-Synthetic multiplies by the
    `scaling_factor` of its autoencoder.
    """

    root: Path
    holds: Holds = "auto"
    factor: float = 1.0
    records: tuple[Record, ...] = ()
    findings: tuple[Finding, ...] = ()
    _paths: dict[str, Path] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def plan(self) -> dict[str, Any]:
        """What the latents depend on besides the records."""
        size = sum((self.root / path).stat().st_size for path in self._paths.values())
        return {"imported": self.holds, "factor": self.factor, "bytes": size}

    def items(self, numbers: range) -> Iterator[Item | Finding]:
        """The videos of those numbers, or why they cannot be used."""
        for record in (self.records[number] for number in numbers):
            try:
                yield self._item(record)
            except InputError as error:
                detail = str(error).replace(f"{self.root}/", "")
                yield Finding("unreadable", record.path, detail, record.uid)

    def _item(self, record: Record) -> Item:
        path = self.root / record.path
        moments = read_moments(path, self.holds, self.factor)
        frames, _, height, width = moments.mean.shape
        known = replace(record, frames=frames)
        note = None
        if record.frames not in (0, frames):
            detail = f"{record.path} has {frames} frames, the table says {record.frames}."
            note = Finding("frame-count", record.path, detail)
        masks = torch.empty(0, height, width, dtype=torch.uint8)
        return Item(known, moments, np.arange(0), masks, sha256(path), note)


def foreign(
    root: str | Path,
    holds: Holds = "auto",
    factor: float = 1.0,
    fps: float | None = None,
    view: View = View.A4C,
) -> Foreign:
    """The latents in `root`. `fps` and `view` hold where no table tells them."""
    root = Path(root)
    choose(holds, HOLDS, "kind of latents")
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give a folder of latents.")
    if not factor > 0:
        raise InputError(f"the factor must be positive; got {factor}.")
    found = _Found(root, fps, view)
    if not found.paths:
        raise InputError(
            f"there are no latents in {root}: no file ends in {' or '.join(SUFFIXES)}."
        )
    layout = next((one for one in LAYOUTS if inner(root, one.table)), None)
    if layout is None:
        found.unlabelled()
    else:
        found.listed(layout)
    return Foreign(root, holds, factor, tuple(found.records), tuple(found.findings), found.paths)


class _Found:
    """Files and rows of a folder, each accounted for once."""

    def __init__(self, root: Path, fps: float | None, view: View):
        self.root, self.fps, self.view = root, fps, view
        files = files_under(root, suffixes=SUFFIXES)
        self.findings = [leads_out(path, _uid(path)) for path in files.leaving]
        self.records: list[Record] = []
        self.paths: dict[str, Path] = {}
        for path in files.paths:
            if STATISTICS in path.stem.lower():
                continue
            if _uid(path) in self.paths:
                self._leave(path, "repeated-name", f"{path} has the name of another file.")
            else:
                self.paths[_uid(path)] = path

    def unlabelled(self) -> None:
        """Every file a record, of which nothing is known."""
        for uid, path in self.paths.items():
            self.records.append(self._record(uid, path, None, None))

    def listed(self, layout: _Layout) -> None:
        """Every row a record."""
        left = dict(self.paths)
        taken: set[str] = set()
        table = read_table(self.root, layout.table, (layout.name,))
        self.findings += table.findings
        for row in table:
            uid = ""
            try:
                uid = _plain(row.text(layout.name))
                if uid in taken:
                    raise row.error(
                        f"{uid} is listed twice; the first row counts.", "repeated-name"
                    )
                path = left.pop(uid, None)
                taken.add(uid)
                if path is None:
                    raise row.error(f"there are no latents of {uid}.", "missing-video")
                self.records.append(self._record(uid, path, row, layout))
            except Flaw as flaw:
                again = flaw.kind == "repeated-name"
                name = None if again else uid or f"{table.name}:{row.line}"
                self.findings.append(flaw.found(table.name, name))
        for path in left.values():
            self._leave(path, "unlisted-video", f"{path} is not listed in {table.name}.")

    def _record(self, uid: str, path: Path, row: Row | None, layout: _Layout | None) -> Record:
        """A record of a file; frames are 0 where no table tells them."""
        row = row or Row(self.root, 0, {})
        fps = row.number(layout.fps, 1e-3) if layout and row.maybe(layout.fps) else self.fps
        if fps is None:
            told = f"nothing says the frame rate of {path}; give it (fps)."
            raise row.error(told) if layout else InputError(told)
        edv, esv = row.volumes()
        edv, esv = (edv, esv) if edv or esv else (None, None)
        split = Row(row.path, row.line, {"Split": row.maybe(layout.split) or ""} if layout else {})
        return Record(
            uid=uid,
            path=path.as_posix(),
            source="imported",
            view=self._view(row),
            split=split.split(Split.TRAIN),
            patient=row.maybe("Patient") or _patient(uid),
            fps=fps,
            frames=_whole(row, "NumberOfFrames", "NbFrame"),
            height=_whole(row, "FrameHeight") or SIZE,
            width=_whole(row, "FrameWidth") or SIZE,
            ef=row.ef(),
            edv=edv,
            esv=esv,
        )

    def _view(self, row: Row) -> View:
        told = (row.maybe("View") or row.maybe("view") or "").upper()
        if not told:
            return self.view
        return (
            VIEWS[told]
            if told in VIEWS
            else row.checked(lambda: View.parse(told, other=True), "bad-view")
        )

    def _leave(self, path: Path, kind: Any, detail: str) -> None:
        self.findings.append(Finding(kind, path.as_posix(), detail, _uid(path)))


def _uid(path: Path) -> str:
    """The name that a table gives a file: without folders and suffix."""
    return path.stem


def _patient(uid: str) -> str | None:
    """The patient in a name of CAMUS."""
    found = _PATIENT.match(uid)
    return found and found.group()


def _plain(name: str) -> str:
    """A name in a table without a suffix of latents or videos."""
    name = name.strip()
    for suffix in (*SUFFIXES, ".avi", ".mp4"):
        name = name.removesuffix(suffix)
    return name


def _whole(row: Row, *columns: str) -> int:
    """The first of `columns` that holds a whole number; 0 if none does."""
    return next((row.whole(name, 0) for name in columns if row.maybe(name)), 0)
