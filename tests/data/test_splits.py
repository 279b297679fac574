"""Split protocols by name; their published counts follow from the published numbers of videos."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from echoflow.data.findings import left_out
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.splits import PROTOCOLS, protocol, with_splits
from echoflow.types import InputError, Record, Split, View


def manifest(n: int, per_patient: int | None = None) -> Manifest:
    one = Record(
        "", "", "s", View.A4C, Split.TRAIN, None, 32.0, 5, 12, 16, 55.0, None, None
    )  # fmt: skip
    records = tuple(
        dataclasses.replace(
            one,
            uid=f"0X{i:05}",
            path=video_path(f"0X{i:05}"),
            patient=per_patient and f"p{i // per_patient}",
            split=list(Split)[i % 3],
            ef=None if i % 4 == 0 else 55.0,
        )
        for i in range(n)
    )
    extras = {r.uid: {"Fold": str(i % 10)} for i, r in enumerate(records)}
    lines = np.zeros((21, 4))
    tracings = {r.uid: dict.fromkeys(range(i % 3), lines) for i, r in enumerate(records)}
    return Manifest("root", records, extras, tracings)  # type: ignore[arg-type]


def counts(of: Manifest) -> tuple[int, ...]:
    found = Counter(r.split for r in of.records)
    return tuple(found[split] for split in Split)


def test_free_echo_counts():
    split = with_splits(manifest(10030), "echonet-dynamic", "freeecho")
    assert counts(split) == (8024, 1003, 1003)
    assert PROTOCOLS["echonet-dynamic"]["freeecho"].published == {"A4C": (8024, 1003, 1003)}


def test_shuffled_keeps_patients_apart_and_is_stable():
    for source in PROTOCOLS:
        assert counts(with_splits(manifest(20), source, "shuffled")) == (16, 2, 2)
    whole = with_splits(manifest(300, per_patient=4), "folder", "shuffled")
    sides = {(r.patient, r.split) for r in whole.records}
    assert len(sides) == 75
    assert counts(whole) == (236, 32, 32)
    first = {r.uid: r.split for r in with_splits(manifest(200), "folder", "shuffled").records}
    more = {r.uid: r.split for r in with_splits(manifest(201), "folder", "shuffled").records}
    assert sum(first[uid] != more[uid] for uid in first) <= 2
    assert counts(with_splits(manifest(3), "folder", "shuffled")) == (1, 1, 1)
    assert counts(with_splits(manifest(2), "folder", "shuffled")) == (2, 0, 0)


def test_folds():
    split = with_splits(manifest(100), "echonet-pediatric", "fold-0-4")
    assert counts(split) == (80, 10, 10)
    assert {split.extras[r.uid]["Fold"] for r in split.of(Split.TEST)} == {"4"}
    for name in ("fold-8-8", "fold-3-10"):
        with pytest.raises(InputError, match="folds go from 0 to 9"):
            protocol("echonet-pediatric", name)


def test_who_is_not_used_is_told():
    before = manifest(12)
    after = with_splits(before, "echonet-dynamic", "traced")
    assert len(after.records) == 4
    assert {f.kind for f in after.findings} == {"not-in-protocol"}
    assert len(after.records) + len(left_out(after.findings)) == 12
    assert len(with_splits(before, "echonet-lvh", "echoflow").records) == 9
    assert counts(with_splits(before, "tmed2", "echoflow")) == (12, 0, 0)
    assert with_splits(before, "camus", "freeecho") == before


def test_unknown_protocols():
    with pytest.raises(InputError, match="unknown split protocol of camus 'free'"):
        protocol("camus", "free")
    with pytest.raises(InputError, match="unknown split protocol"):
        protocol("echonet-dynamic", "fold-8-9")
