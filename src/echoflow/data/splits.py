"""Which videos train, validate and test: the split protocols of the papers, by name.

A reader assigns the splits that come with its dataset. A protocol assigns others, and may leave
videos out; it never changes anything else. The counts that the papers print stand beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from echoflow.data.findings import Finding
from echoflow.data.manifest import Manifest
from echoflow.data.readers.pediatric import FOLD, FOLDS, fold_split
from echoflow.types import InputError, Record, Split, choose

Splits = Mapping[str, Split]  # uid -> split; who is not in it is left out


@dataclass(frozen=True)
class Protocol:
    """One way to split a dataset. `published`: videos that train, validate and test."""

    what: str
    assign: Callable[[Manifest], Splits]
    published: Mapping[str, tuple[int, int, int]] = dataclasses.field(default_factory=dict)


def with_splits(manifest: Manifest, source: str, name: str) -> Manifest:
    """The manifest under the protocol `name` of `source`; videos it does not use are findings."""
    assigned = protocol(source, name).assign(manifest)
    kept = [r for r in manifest.records if r.uid in assigned]
    unused = tuple(_unused(r, name) for r in manifest.records if r.uid not in assigned)
    records = tuple(dataclasses.replace(r, split=assigned[r.uid]) for r in kept)
    return dataclasses.replace(manifest, records=records, findings=manifest.findings + unused)


def protocol(source: str, name: str) -> Protocol:
    """A protocol by its name; `fold-<val>-<test>` names any two folds of EchoNet-Pediatric."""
    folds = re.fullmatch(r"fold-(\d+)-(\d+)", name)
    if folds and source == "echonet-pediatric":
        return _two_folds(int(folds[1]), int(folds[2]))
    known = {**PROTOCOLS[source], "shuffled": _SHUFFLED}
    return known[choose(name, known, f"split protocol of {source}")]


def as_shipped(manifest: Manifest) -> Splits:
    """The splits that the reader found."""
    return {r.uid: r.split for r in manifest.records}


def all_train(manifest: Manifest) -> Splits:
    """Everything trains."""
    return {r.uid: Split.TRAIN for r in manifest.records}


def with_ef(manifest: Manifest) -> Splits:
    """The shipped splits of the videos whose EF is known."""
    return {r.uid: r.split for r in manifest.records if r.ef is not None}


def traced(manifest: Manifest) -> Splits:
    """The shipped splits of the videos with two traced frames."""
    return {r.uid: r.split for r in manifest.records if len(manifest.tracings.get(r.uid, ())) > 1}


def shuffled(manifest: Manifest) -> Splits:
    """A tenth validates and a tenth tests, in an order that follows from names alone.

    A patient, where known, is on one side only. Another video more moves few others.
    """
    groups: dict[str, list[str]] = {}
    for record in manifest.records:
        groups.setdefault(record.patient or record.uid, []).append(record.uid)
    tenth = max(len(manifest.records) // 10, 1 if len(groups) > 2 else 0)
    order = iter(sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest()))
    splits = dict(all_train(manifest))
    for split in (Split.VAL, Split.TEST):
        taken = 0
        while taken < tenth and (name := next(order, None)) is not None:
            splits.update(dict.fromkeys(groups[name], split))
            taken += len(groups[name])
    return splits


def _two_folds(val: int, test: int) -> Protocol:
    if val == test or max(val, test) >= FOLDS:
        raise InputError(
            f"folds go from 0 to {FOLDS - 1} and validate or test; got fold-{val}-{test}."
        )

    def assign(manifest: Manifest) -> Splits:
        folds = {r.uid: manifest.extras.get(r.uid, {}).get(FOLD, "") for r in manifest.records}
        return {uid: fold_split(int(fold), val, test) for uid, fold in folds.items() if fold}

    return Protocol(f"fold {val} validates, fold {test} tests", assign)


def _unused(record: Record, name: str) -> Finding:
    detail = f"{record.uid} is not used by the split protocol {name}."
    return Finding("not-in-protocol", record.path, detail, record.uid)


_SHUFFLED = Protocol("80, 10 and 10 %, patients kept apart", shuffled)
_OFFICIAL = Protocol("as the dataset ships them", as_shipped)
_CAMUS = {"A4C": (400, 50, 50), "OTHER": (400, 50, 50)}

# source -> name -> protocol, the first as its reader splits; counts are of EchoFlow table 7,
# Free-Echo section 4, and the datasets themselves
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "echonet-dynamic": {
        "official": dataclasses.replace(_OFFICIAL, published={"A4C": (7465, 1288, 1277)}),
        "echoflow": Protocol(
            "as shipped, videos without tracings included",
            as_shipped,
            {"A4C": (7465, 1288, 1277)},
        ),
        "traced": Protocol(
            "as shipped, with two traced frames, as the tool of the dataset has it",
            traced,
            {"A4C": (7460, 1288, 1276)},
        ),
        "freeecho": Protocol(
            "80, 10 and 10 % of all; which videos were where is not published",
            shuffled,
            {"A4C": (8024, 1003, 1003)},
        ),
    },
    "echonet-pediatric": {
        "echoflow": Protocol(
            "folds 0 to 7, 8 and 9",
            as_shipped,
            {"A4C": (2580, 336, 368), "PSAX": (3559, 448, 519)},
        ),
        "fold-8-9": _two_folds(8, 9),
    },
    "echonet-lvh": {
        "echoflow": Protocol(
            "as shipped, with both diameters measured", with_ef, {"PLAX": (9508, 1076, 332)}
        ),
        "official": _OFFICIAL,
    },
    "camus": {
        "official": dataclasses.replace(_OFFICIAL, published=_CAMUS),
        "freeecho": Protocol("as shipped", as_shipped, _CAMUS),
    },
    "tmed2": {
        "official": _OFFICIAL,
        "echoflow": Protocol("every image trains the autoencoder", all_train),
    },
    "dicom": {"official": _OFFICIAL},
    "folder": {"official": _OFFICIAL},
    "phantom": {"official": _OFFICIAL},
}
