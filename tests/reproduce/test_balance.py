"""Every bin of EF gets its share: real videos first, what is missing to be made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cascade_folder import one_stage
from small_datasets import brightening

from echoflow.cascade_weights import load
from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.reproduce.balance import BINS, _passed_over, split_up
from echoflow.reproduce.filled import PASSED, filled
from echoflow.types import InputError, Record, Split, View


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


def test_a_cascade_fills_up_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = open_source(brightening(tmp_path / "real"))
    given = (load(one_stage(tmp_path / "runs"), "mine"), real, real.of(Split.TRAIN), [20.5, 81.0])

    def stopping(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled(*given, tmp_path / "out", 0, tell=stopping)
    (first,) = (tmp_path / ".out.part" / "Videos").iterdir()
    there = first.stat().st_mtime_ns
    made = filled(*given, tmp_path / "out", 0)
    assert (tmp_path / "out" / "Videos" / first.name).stat().st_mtime_ns == there
    assert [cells["EF_requested"] for cells in made.extras.values()] == ["20.5", "81"]
    assert {cells["BaseName"] for cells in made.extras.values()} <= {"0X0", "0X1"}
    again = filled(*given, tmp_path / "out", 0)
    assert again.extras == made.extras
    assert [r.ef for r in again.records] == [None, None]
    whole = filled(*given, tmp_path / "other", 0)
    for record in whole.records:
        assert whole.video(record).read_bytes() == again.video(record).read_bytes()


def test_videos_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = open_source(brightening(tmp_path / "real"))
    cascade, records = load(one_stage(tmp_path / "runs"), "mine"), real.of(Split.TRAIN)
    given = (cascade, real, records, [20.5, 81.0, 40.0, 60.0])
    first = int(np.random.default_rng([0, 0]).integers(2))
    bad, good = records[first], records[1 - first]
    real.video(bad).write_bytes(b"no video")

    def stopping(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with (
        pytest.warns(UserWarning, match=f"{bad.uid} is passed over: "),
        pytest.raises(KeyboardInterrupt),
    ):
        filled(*given, tmp_path / "out", 0, tell=stopping)
    with pytest.warns(UserWarning, match=f"{bad.uid} is passed over: ") as told:
        made = filled(*given, tmp_path / "out", 0)
    assert len(told) == 1
    assert {cells["BaseName"] for cells in made.extras.values()} == {good.uid}
    assert sum(int(cells[PASSED]) for cells in made.extras.values()) > 0
    assert filled(*given, tmp_path / "out", 0).extras == made.extras
    real.video(good).write_bytes(b"no video")
    with (
        pytest.warns(UserWarning, match="is passed over"),
        pytest.raises(InputError, match="none of the 2 videos can be read"),
    ):
        filled(*given, tmp_path / "none", 0)


def test_what_was_passed_over_is_noted() -> None:
    one, other = record(0, 20.0), record(1, 30.0)
    made = Manifest(Path(), (one, other), {"v0": {PASSED: "2"}, "v1": {PASSED: "0"}})
    (note,) = _passed_over("balanced, 10 per bin", [(made, [one, other])])
    assert note.startswith("balanced, 10 per bin: 2 times a training video")
    assert _passed_over("real, 10 per bin", []) == ()
