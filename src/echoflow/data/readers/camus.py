"""CAMUS: half a beat in two apical views per patient, with label maps, in NIfTI.

database_nifti/<patient>/  Info_{4CH,2CH}.cfg  `key: value` lines; ED and ES count frames from 1
                           <patient>_{4CH,2CH}_{half_sequence,ED,ES}[_gt].nii.gz
database_split/            subgroup_{training,validation,testing}.txt, a patient per line

A sequence runs from end-diastole to end-systole, some from end-systole to end-diastole. The
two-chamber view is `View.OTHER`, since no model here has a class for it. Labels: 1 is the left
ventricle, 2 its wall, 3 the left atrium.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from echoflow.data import nifti
from echoflow.data.container import Contents, contents
from echoflow.data.findings import Finding, Flaw, Kind
from echoflow.data.manifest import Manifest
from echoflow.data.table import as_number
from echoflow.data.tree import inside, unwrapped
from echoflow.types import InputError, Record, Split, View, check_ef

DATABASE, SPLITS = "database_nifti", "database_split"
LISTS = {
    "subgroup_training.txt": Split.TRAIN,
    "subgroup_validation.txt": Split.VAL,
    "subgroup_testing.txt": Split.TEST,
}
UP_TO = {400: Split.TRAIN, 450: Split.VAL, 500: Split.TEST}  # where there are no lists
VIEWS = {"4CH": View.A4C, "2CH": View.OTHER}
LARGEST_LABEL = 3
_PATIENT = re.compile(r"patient\d{4}")


@dataclass
class _Reading:
    """The manifest while it grows."""

    root: Path
    records: list[Record] = field(default_factory=list)
    extras: dict[str, dict[str, str]] = field(default_factory=dict)
    label_maps: dict[str, dict[int, str]] = field(default_factory=dict)
    backwards: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: Kind, path: str, detail: str) -> None:
        """Something that is read around."""
        self.findings.append(Finding(kind, path, detail))


@dataclass(frozen=True)
class _Sequence:
    """One view of one patient. `ed` and `es` are frames from 0 of the sequence run forwards."""

    uid: str
    stem: str  # of its files, under the root
    facts: Mapping[str, str]
    cfg: str
    held: Contents
    ed: int | None
    es: int | None
    backwards: bool


def camus_base(root: Path) -> Path | None:
    """The folder that holds `database_nifti`, at the root or nested in it."""
    there = (base for base in unwrapped(root) if (base / DATABASE).is_dir())
    return next(there, None)


def camus(root: str | Path) -> Manifest:
    """CAMUS in `root`, a video per patient and view. `extras` hold what the text files say, the
    frames ED and ES from 0, and mm_per_px as `x y`. `InputError`: there is no such folder.
    """
    root = Path(root)
    database = root / DATABASE
    if not database.is_dir():
        raise InputError(f"there is no folder {DATABASE} in {root}; is it CAMUS?")
    done = _Reading(root)
    lists = _lists(done)
    on_disk = {p.name for p in database.iterdir() if p.is_dir() and _PATIENT.fullmatch(p.name)}
    for patient in sorted(on_disk | set(lists or ())):
        for name in VIEWS:
            _read(done, patient, name, lists)
    return Manifest(
        root,
        tuple(done.records),
        done.extras,
        label_maps=done.label_maps,
        backwards=frozenset(done.backwards),
        findings=tuple(done.findings),
    )


def _read(done: _Reading, patient: str, name: str, lists: Mapping[str, list[Split]] | None) -> None:
    uid = f"{patient}_{name}"
    folder = f"{DATABASE}/{patient}"
    video = f"{folder}/{uid}_half_sequence.nii.gz"
    try:
        held = contents(done.root, _present(done.root, video))
        split = _split(patient, lists)
        sequence = _sequence(done, folder, uid, name, held)
        record = _record(sequence, patient, video, split, VIEWS[name])
    except Flaw as flaw:
        done.findings.append(flaw.found(video, uid))
        return
    done.records.append(record)
    done.extras[uid] = _extras(done.root / video, sequence, name)
    maps = _maps(done, sequence, video)
    if maps:
        done.label_maps[uid] = maps
    if sequence.backwards:
        done.backwards.add(uid)
        detail = f"{uid} runs from end-systole to end-diastole; it is turned round."
        done.note("reversed", video, detail)


def _present(root: Path, name: str) -> str:
    """`name` if that file is there and in the root, else a `Flaw`."""
    if inside(root, name) is None:
        raise Flaw("outside-root", f"{name} leads out of the dataset; not opened.", path=name)
    if not (root / name).is_file():
        raise Flaw("missing-video", f"there is no {name}.", path=name)
    return name


def _lists(done: _Reading) -> dict[str, list[Split]] | None:
    """patient -> the lists that it is in; None where there are no lists."""
    found: dict[str, list[Split]] = {}
    names = [name for name in LISTS if (done.root / SPLITS / name).exists()]
    for name in names:
        path = f"{SPLITS}/{name}"
        for line in _lines(done, path):
            patient = line.strip()
            if line != patient:
                done.note("spaces", path, f"spaces around {patient}.")
            if _PATIENT.fullmatch(patient):
                found.setdefault(patient, []).append(LISTS[name])
            elif patient:
                done.note("bad-cell", path, f"{patient[:40]!r} is no patient; write patient0001.")
    return found if names else None


def _lines(done: _Reading, path: str) -> list[str]:
    """The lines of a text file; none if it is not there or leads out of the root."""
    if inside(done.root, path) is None:
        done.note("outside-root", path, f"{path} leads out of the dataset; it is not opened.")
        return []
    if not (done.root / path).is_file():
        return []
    try:
        text = (done.root / path).read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    if text.startswith("\ufeff"):
        done.note("byte-order-mark", path, "the file begins with a byte-order mark.")
    if "\r" in text:
        done.note("line-ends", path, "lines end with a carriage return.")
    return text.removeprefix("\ufeff").splitlines()


def _split(patient: str, lists: Mapping[str, list[Split]] | None) -> Split:
    if lists is None:
        number = int(patient.removeprefix("patient"))
        split = next((split for last, split in UP_TO.items() if number <= last), None)
        if split is None or number == 0:
            raise Flaw("bad-split", f"{patient} is none of the 500; list it in {SPLITS}.")
        return split
    listed = [name for name, split in LISTS.items() if split in lists.get(patient, ())]
    if not listed:
        raise Flaw("bad-split", f"{patient} is in none of the lists in {SPLITS}.")
    if len(listed) > 1:
        detail = f"{patient} is in {' and in '.join(listed)}."
        raise Flaw("repeated-name", detail, path=f"{SPLITS}/{listed[-1]}")
    return LISTS[listed[0]]


def _sequence(done: _Reading, folder: str, uid: str, name: str, held: Contents) -> _Sequence:
    cfg = f"{folder}/Info_{name}.cfg"
    pairs = (line.partition(":") for line in _lines(done, cfg))
    facts = {key.strip(): value.strip() for key, colon, value in pairs if colon}
    if not facts:
        raise Flaw("no-measurement", f"{cfg} is missing or empty: nothing is known.", path=cfg)
    told = facts.get("NbFrame", "")
    if as_number(told) != held.frames:
        detail = f"NbFrame is {told[:40]!r}; the sequence has {held.frames} frames."
        done.note("frame-count", cfg, detail)
    ed, es = (as_number(facts.get(key, "")) for key in ("ED", "ES"))
    backwards = es < ed <= held.frames
    first, last = (_frame(done, cfg, facts, key, held.frames) for key in ("ED", "ES"))
    if backwards:
        first, last = (n if n is None else held.frames - 1 - n for n in (first, last))
    return _Sequence(uid, f"{folder}/{uid}", facts, cfg, held, first, last, backwards)


def _frame(done: _Reading, cfg: str, facts: Mapping[str, str], key: str, frames: int) -> int | None:
    """The frame, from 0, that the text file counts from 1; None if there is no such frame."""
    text = facts.get(key, "")
    number = as_number(text)
    if not number.is_integer():
        done.note("bad-cell", cfg, f"{key} must be a frame; got {text[:40]!r}.")
    elif not 1 <= number <= frames:
        done.note("frame-out-of-range", cfg, f"{key} is frame {number:g} of {frames}.")
    else:
        return int(number) - 1
    return None


def _record(one: _Sequence, patient: str, video: str, split: Split, view: View) -> Record:
    edv, esv = (_number(one, key) for key in ("LVedv", "LVesv"))
    fps = _number(one, "FrameRate")
    if not fps:
        raise Flaw("no-rate", f"{one.cfg} has no FrameRate; write one there, in Hz.", path=one.cfg)
    return Record(
        uid=one.uid,
        path=video,
        source="camus",
        view=view,
        split=split,
        patient=patient,
        fps=fps,
        frames=one.held.frames,
        height=one.held.height,
        width=one.held.width,
        ef=_ef(one),
        edv=edv,
        esv=esv,
    )


def _number(one: _Sequence, key: str) -> float | None:
    """A number of at least 0, where there is one."""
    text = one.facts.get(key, "")
    if not text:
        return None
    value = as_number(text)
    if not 0 <= value < float("inf"):
        detail = f"{key} must be a number of at least 0; got {text[:40]!r}."
        raise Flaw("bad-cell", detail, path=one.cfg)
    return value


def _ef(one: _Sequence) -> float | None:
    value = _number(one, "EF" if "EF" in one.facts else "LVef")
    try:
        return None if value is None else check_ef(value)
    except InputError as error:
        raise Flaw("bad-ef", str(error), path=one.cfg) from None


def _extras(video: Path, one: _Sequence, name: str) -> dict[str, str]:
    x, y = nifti.describe(video).mm_per_px
    told = {key: one.facts.get(key, "") for key in ("Sex", "Age", "ImageQuality")}
    frames = {key: "" if n is None else str(n) for key, n in (("ED", one.ed), ("ES", one.es))}
    return {"Chamber": name, **frames, **told, "mm_per_px": f"{x:.8g} {y:.8g}"}


def _maps(done: _Reading, one: _Sequence, video: str) -> dict[int, str]:
    """frame -> label map: that of the whole sequence if there is one, else those of ED and ES."""
    stills = {
        frame: path
        for name, frame in (("ED", one.ed), ("ES", one.es))
        if (path := _map(done, one, name, 1)) and frame is not None
    }
    whole = _map(done, one, "half_sequence", one.held.frames)
    if whole:
        return dict.fromkeys(range(one.held.frames), whole)
    if len(stills) < 2:
        kind: Kind = "one-tracing" if stills else "no-tracing"
        done.note(kind, video, f"{one.uid} has {len(stills)} label maps of two.")
    return stills


def _map(done: _Reading, one: _Sequence, name: str, frames: int) -> str | None:
    """A label map that is there, has the size of the sequence and, as a still, known labels."""
    path = f"{one.stem}_{name}_gt.nii.gz"
    if inside(done.root, path) is None:
        done.note("outside-root", path, f"{path} leads out of the dataset; it is not opened.")
        return None
    if not (done.root / path).is_file():
        return None
    wanted = (frames, one.held.height, one.held.width)
    try:
        shape, high = _shape_and_highest(done.root / path, frames == 1)
        if shape != wanted:
            raise InputError(f"{path} has {shape} frames, rows and columns instead of {wanted}.")
        if high > LARGEST_LABEL:
            raise InputError(f"{path} has a label {high}; {LARGEST_LABEL} is the last known one.")
    except (InputError, OSError) as error:
        done.note("bad-labels", path, str(error).replace(f"{done.root}/", ""))
        return None
    return path


def _shape_and_highest(path: Path, still: bool) -> tuple[tuple[int, ...], int]:
    """Frames, rows and columns of a label map; its highest label if it is a still, else 0."""
    if still:
        labels = nifti.read_labels(path)
        return labels.shape, int(labels.max())
    held = nifti.describe(path)
    return (held.frames, held.height, held.width), 0
