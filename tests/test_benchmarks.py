"""Benchmarks that need trained networks: without any, and what of theirs is kept and for whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascade_folder import one_stage
from small_datasets import brightening

from echoflow.cascade_files import fingerprint_of
from echoflow.cascade_weights import load
from echoflow.data.sources import open_source
from echoflow.draws import Task

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A benchmark as a module, in the company of its folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def bright(video: np.ndarray, fps: float) -> float:
    return float(video.mean() / 2.55)


def test_without_a_cascade_it_says_what_to_train(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "cascade.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "there is no cascade in runs/cascade" in done.stdout
    assert "`echoflow train phantom-2SCM-1 data=runs/nano/videos --out runs" in done.stdout
    assert not list(tmp_path.iterdir())


def test_scores_are_of_their_weights_and_hearts(tmp_path: Path, monkeypatch) -> None:
    script_of = script("cascade", monkeypatch)
    (tmp_path / "hearts").mkdir()
    hearts = open_source(brightening(tmp_path / "hearts", ("VAL",) * 3))

    def bench() -> Any:
        root = one_stage(tmp_path / "runs")
        follows = {"weights": fingerprint_of(root, "mine")}
        return script_of.Bench(load(root, "mine"), hearts, bright, tmp_path / "kept", follows)

    def kept() -> int:
        return len(list((tmp_path / "kept").rglob("factual.csv")))

    one = bench()
    asked = ("factual", Task(1, None, "first"))
    first = one.scored(*asked, 2, one.cascade.plans())
    assert one.scored(*asked, 2, one.cascade.plans()) == first
    assert kept() == 1
    (row,) = script_of.apart(one, 2)
    assert set(row) == {"stage", "made_slope", "made_mae", "recorded_slope", "recorded_mae"}
    with monkeypatch.context() as patched:
        patched.delattr(script_of, "_by_itself")
        assert script_of.apart(one, 2) == [row]
    one.scored(*asked, 3, one.cascade.plans())
    assert kept() == 2
    other = bench()
    other.scored(*asked, 2, other.cascade.plans())
    assert kept() == 3


def test_seconds_outlive_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_of = script("cascade", monkeypatch)

    def tiring(stills: Any, ef: Any, seeds: Sequence[int]) -> np.ndarray:
        if seeds == [2]:
            raise KeyboardInterrupt
        return np.zeros(1)

    subject = script_of.Subject(tiring, None, 8.0)
    timed = script_of.Timed(subject, tmp_path / "factual.seconds")
    assert timed.seconds() is None
    for seed in (0, 1):
        timed(None, None, [seed])
    with pytest.raises(KeyboardInterrupt):
        timed(None, None, [2])
    again = script_of.Timed(subject, tmp_path / "factual.seconds")
    assert again.seconds() is not None
    assert len((tmp_path / "factual.seconds").read_text().split()) == 2


def test_rows_of_other_weights_are_not_gone_on_with(tmp_path: Path, monkeypatch) -> None:
    script_of, out = script("freeecho", monkeypatch), tmp_path / "rows.json"
    weights = tmp_path / "weights"
    weights.mkdir()

    def followed() -> dict[str, object]:
        words = script_of.argparse.Namespace(n=2, steps=None, weights=str(weights))
        return script_of.followed("latent", words)

    (weights / "lvfm").write_text("old")
    out.write_text(json.dumps({"settings": followed(), "reports": [{"name": "latent from 0"}]}))
    assert len(script_of.kept_rows(out, followed())) == 1
    (weights / "lvfm").write_text("new")
    assert script_of.kept_rows(out, followed()) == []
