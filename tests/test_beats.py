"""Beats of hearts whose beats are known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from echoflow.beats import NAMES, beat, beats, diastoles
from echoflow.cli import main
from echoflow.data.phantom import PhantomPatient
from echoflow.data.prepare import load_clip
from echoflow.data.sources import open_source
from echoflow.metrics.clinical import curve_roughness
from echoflow.metrics.rhythm import Rhythm
from echoflow.pipeline import load
from echoflow.types import View


def test_roughness_of_a_curve() -> None:
    time = np.linspace(0, 1, 500)
    assert curve_roughness(np.sin(2 * np.pi * time)) < 1e-3
    noise = np.random.default_rng(0).normal(size=20_000)
    assert curve_roughness(noise) == pytest.approx(3, rel=0.05)
    assert np.isnan(curve_roughness(np.ones(9)))
    assert curve_roughness([0, 1, 2, np.nan, 4, 5, 6]) == 0


def test_diastoles_are_a_beat_apart() -> None:
    rhythm = Rhythm(period=0.8, ed=-0.1, es=0.2, explained=1.0)
    assert diastoles(rhythm, 32, 16.0).tolist() == [11, 24]
    late = dataclasses.replace(rhythm, ed=0.1)
    assert diastoles(late, 32, 16.0).tolist() == [2, 14, 27]


@pytest.mark.slow
def test_a_phantom_beats_as_it_was_made() -> None:
    """Nano's segmenter on a clean heart of known rate and EF."""
    patient = dataclasses.replace(PhantomPatient.sample(1003, 2), heart_rate=72.0, rr_jitter=0.0)
    clip = patient.with_ef(60.0).render(View.A4C, 33, 16.0, quality=1, phase=0.0).clip
    found = beat(load("nano"), clip)
    assert found.rate == pytest.approx(72, rel=0.03)
    assert found.cycle == pytest.approx(60 / found.rate)
    assert found.ef_mask == pytest.approx(60, abs=8)
    assert 200 < found.systole < 450
    assert found.same_heart > 0.9
    assert found.regular > 0.9


@pytest.mark.slow
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hearts = tmp_path / "hearts"
    asked = ["--n", "2", "--frames", "32", "--fps", "16", "--quality", "1", "--gated"]
    assert main(["phantom", "--out", str(hearts), *asked]) == 0
    report = beats(hearts, against=hearts)
    assert {f"against_{name}" for name in NAMES} <= report.metrics.keys()
    assert report.metrics["rate"] == report.metrics["against_rate"]
    assert report.interval("rate_std") is not None
    assert main(["evaluate", "beats", str(hearts)]) == 0
    assert "| ef_mask | " in capsys.readouterr().out
    words = ["evaluate", "beats", str(hearts), "--against", str(hearts), "--floors", "1"]
    assert main([*words, "--out", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr().out
    assert "| real against real | through the A-VAE |" in printed.splitlines()[0]
    assert (tmp_path / "r.html").is_file()


@pytest.mark.slow
def test_what_cannot_be_told_of_a_short_clip_is_counted(tmp_path: Path) -> None:
    hearts = tmp_path / "hearts"
    asked = ["--n", "3", "--frames", "17", "--fps", "16", "--quality", "1", "--seed", "5"]
    assert main(["phantom", "--out", str(hearts), *asked]) == 0
    engine, manifest = load("nano"), open_source(hearts)
    found = [beat(engine, load_clip(manifest, record)) for record in manifest.records]
    gone = sum(np.isnan(one.same_heart) and not np.isnan(one.rate) for one in found)
    assert gone
    (note,) = (note for note in beats(hearts).notes if "same_heart" in note)
    assert f"leaves out {gone} of 3 videos" in note


@pytest.mark.slow
def test_one_video_has_no_spread(tmp_path: Path) -> None:
    hearts = tmp_path / "hearts"
    asked = ["--n", "1", "--frames", "32", "--fps", "16", "--quality", "1", "--gated"]
    assert main(["phantom", "--out", str(hearts), *asked]) == 0
    assert np.isnan(beats(hearts).metrics["rate_std"])
