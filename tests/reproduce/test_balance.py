"""Every bin of EF gets its share: real videos first, what is missing to be made."""

from __future__ import annotations

from echoflow.reproduce.balance import BINS, split_up
from echoflow.types import Record, Split, View


def record(number: int, ef: float | None) -> Record:
    uid = f"v{number}"
    shape = (16.0, 8, 112, 112)
    return Record(uid, f"{uid}.avi", "x", View.A4C, Split.TRAIN, None, *shape, ef, None, None)


def test_full_bins_are_cut_and_empty_ones_asked_for() -> None:
    there = [record(i, 50.5) for i in range(9)] + [record(9, 20.0), record(10, None)]
    kept, missing = split_up([*there, record(11, 95.0)], size=4, seed=0)
    assert len(kept) + len(missing) == 4 * len(BINS)
    assert [r.ef for r in kept] == [20.0, 50.5, 50.5, 50.5, 50.5]
    asked = [int(ef) for ef in missing]
    assert asked.count(20) == 3
    assert asked.count(50) == 0
    assert asked.count(88) == 4
    assert split_up(there, 4, 0) == split_up(there, 4, 0)


def test_the_published_totals_are_met() -> None:
    assert [size * len(BINS) for size in (10, 20, 50)] == [790, 1580, 3950]
