"""Scores of several trainings: means, spreads, and intervals that know of both kinds of chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_datasets import dynamic, row

from echoflow.data.sources import open_source
from echoflow.metrics.clinical import mae, r2
from echoflow.reproduce import trainings
from echoflow.reproduce.job import Job
from echoflow.reproduce.trainings import gaps, lengthened, recipe_on, scored
from echoflow.types import InputError


def drawn(runs: int, n: int, error: float, between: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """True EFs (n,), and predictions (runs, n) with errors of their own and one of each run."""
    rng = np.random.default_rng(0)
    true = rng.uniform(20, 70, n)
    shift = between * rng.standard_normal((runs, 1))
    return true, true + shift + error * rng.standard_normal((runs, n))


def test_a_short_recording_ends_in_grey() -> None:
    video = np.full((3, 2, 2), 200, np.uint8)
    longer = lengthened(video, 5, -1.0)
    assert (longer[:3] == 200).all()
    assert (longer[3:] == 0).all()
    assert (lengthened(video, 2, 0.0) == video).all()


def test_the_period_is_that_of_the_videos_trained_on(tmp_path: Path) -> None:
    """25 a second: every second frame of real videos, every one where synthetic ones prevail."""
    real = open_source(dynamic(tmp_path / "a", [row("0XA"), row("0XB"), row("0XC", "VAL")]))
    made = open_source(dynamic(tmp_path / "b", [row(f"0X{x}", FPS=32) for x in "ABC"]))
    job = Job(real.root, tmp_path / "job", recipe="EF-real-dynamic")
    assert recipe_on(job, [real.root], 0, False).ef.period == 2
    assert recipe_on(job, [made.root], 0, True).ef.period == 1
    assert recipe_on(job, [real.root, made.root], 0, False).ef.period == 1


def test_bins_hold_at_least_one_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sizes of bins must be at least 1; got -1"):
        Job(tmp_path, tmp_path / "job", sizes=(10, -1))


def test_scores_are_means_over_trainings() -> None:
    true, found = drawn(3, 50, 5.0)
    metrics = scored(true, found, seed=0)
    assert metrics["r2"] == pytest.approx(np.mean([r2(true, one) for one in found]))
    assert metrics["mae_std"] == pytest.approx(np.std([mae(true, one) for one in found], ddof=1))
    assert metrics["mae_low"] < metrics["mae"] < metrics["mae_high"]
    assert scored(true, found, seed=0) == metrics
    assert "r2_std" not in scored(true, found[:1], seed=0)


def test_intervals_widen_with_the_spread_between_trainings() -> None:
    def width(between: float) -> float:
        metrics = scored(*drawn(4, 400, 4.0, between), seed=0)
        return metrics["rmse_high"] - metrics["rmse_low"]

    assert width(10.0) > 2 * width(0.0)


def test_a_gap_is_paired_on_trainings() -> None:
    """A training that goes wrong from the same start on both sides says nothing about the gap."""
    true, real = drawn(3, 60, 1.0)
    wrong = np.array([0.0, 8.0, 0.0])[:, None]
    same = gaps(true, real + wrong + 0.5, real + wrong, seed=0)
    assert same["gap_mae_high"] - same["gap_mae_low"] < 2.0
    metrics = scored(true, real + wrong, seed=0)
    assert metrics["mae_high"] - metrics["mae_low"] > 8.0
    assert metrics["mae_low"] == 0
    assert metrics["r2_high"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "own"), [(2.0, 0.3), (2.0, 1.0), (0.0, 1.5), (0.0, 0.0)])
def test_intervals_hold_the_truth(
    shared: float, own: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spread between trainings, from the same start and of each row alone: 90 % or more hold."""
    monkeypatch.setattr(trainings, "RESAMPLES", 200)
    monkeypatch.setattr(trainings, "STATISTICS", {"mae": lambda a, b: float(np.abs(a - b).mean())})
    rng, true = np.random.default_rng(0), np.random.default_rng(1).uniform(20, 70, 100)
    held = []
    for k in range(200):
        start = 8.0 + shared * rng.standard_normal((3, 1))
        sides = [true + _errors(start + own * rng.standard_normal((3, 1)), rng) for _ in range(2)]
        row, gap = scored(true, sides[0], k), gaps(true, sides[0], sides[1], k)
        held.append(
            (row["mae_low"] <= 8 <= row["mae_high"], gap["gap_mae_low"] * gap["gap_mae_high"] <= 0)
        )
    assert np.mean(held, axis=0).min() >= 0.88


def _errors(mae_of_run: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Errors (3, 100) of trainings with a mean absolute error (3, 1) each."""
    return mae_of_run * np.sqrt(np.pi / 2) * rng.standard_normal((3, 100))


def test_a_gap_is_paired_on_test_videos() -> None:
    """A hard test video is hard for both sides and says nothing about the gap."""
    true, real = drawn(3, 60, 1.0)
    hard = np.where(np.arange(60) < 6, 30.0, 0.0)
    same = gaps(true, real + hard, real + hard, seed=0)
    assert same["gap_mae"] == 0
    assert same["gap_mae_high"] < 1.0
    assert scored(true, real + hard, seed=0)["mae_high"] > 4.0
    worse = gaps(true, real + 5.0, real, seed=0)
    assert worse["gap_mae_low"] > 3.0
    assert worse["gap_r2_high"] < 0
