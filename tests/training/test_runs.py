"""Runs at a glance: what a folder tells about how far a training is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_datasets import brightening
from test_fit import Noise, Pulled, flow_task, recipe, unplug

from echoflow.cli import main
from echoflow.networks import rows, zoo
from echoflow.training.fit import fit
from echoflow.training.folder import held
from echoflow.training.runs import curves, find, look, smoothed
from echoflow.training.stages import train
from echoflow.training.table import named
from echoflow.types import InputError

SHAPE = (2, 4, 8, 8)


def test_a_run_tells_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(Pulled):
        fit(flow_task(), Noise(SHAPE), recipe("lvfm"), tmp_path / "cut", progress=unplug(5))
    fit(flow_task(), Noise(SHAPE), recipe("lvfm"), tmp_path / "deep" / "whole")
    cut, whole = find(tmp_path)[0]
    assert (cut.state, cut.step, cut.steps, cut.saved) == ("stopped", 5, 6, 4)
    assert (whole.state, whole.step, whole.saved) == ("finished", 6, 6)
    assert cut.seconds is not None
    assert cut.seconds > 0
    assert "val/loss" in cut.latest
    with held(cut.path):
        assert look(cut.path).state == "running"
    assert find(cut.path)[0][0].path == cut.path


def test_curves_are_what_was_logged_and_half_a_line_is_passed_over(tmp_path: Path) -> None:
    run = fit(flow_task(), Noise(SHAPE), recipe("lvfm"), tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "net/lo')
    found = curves(run)
    assert found["net/loss"][0].tolist() == [1, 2, 3, 4, 5, 6]
    assert found["val/loss"][0].tolist() == [3, 6]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[:6]]
    assert found["net/loss"][1].tolist() == [line["net/loss"] for line in lines]


def test_a_running_mean_of_known_values() -> None:
    assert smoothed(np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist() == [1.0, 1.5, 2.5, 3.5]
    assert smoothed(np.array([1.0, 2.0, 6.0]), 10).tolist() == [1.0, 1.5, 3.0]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run folder"):
        look(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        find(tmp_path / "none")
    assert find(tmp_path) == ((), {})


def test_an_unreadable_run_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(recipe("lvfm").to_yaml())
        (tmp_path / name / "metrics.jsonl").write_text("")
    (tmp_path / "a" / "recipe.yaml").write_text("stage: [")
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["runs", "list", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert first.split()[:3] == ["b", "lvfm", "unused"]
    assert second.split()[:2] == ["a", "unreadable"]
    assert "recipe.yaml is not YAML" in second


def test_the_last_validation_is_told_however_long_ago_it_was(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe("lvfm", 9000).to_yaml())
    lines = [{"step": step, "seconds": step, "net/loss": 1.0} for step in range(1, 5001)]
    lines[9]["val/loss"] = 0.5
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert look(tmp_path).latest == {"net/loss": 1.0, "val/loss": 0.5}


def test_the_command_lists_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(flow_task(), Noise(SHAPE), recipe("lvfm"), tmp_path / "run")
    assert main(["runs", "list", str(tmp_path)]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["runs", "plot", str(run), "--out", str(tmp_path / "c.png")]) == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert main(["runs", "list", str(tmp_path / "none")]) == 2


SLOW = ["ef.augment=crop", "ef.frames=4", "ef.period=2", "engine.workers=0"]


def test_an_average_is_of_the_network_that_was_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A regressor of 4 frames at 4 Hz is no longer the row of the zoo that it is named after."""
    data = tmp_path / "hearts"
    data.mkdir()
    brightening(data)
    steps = [f"engine.{key}" for key in ("steps=2", "batch=2", "warmup=0", "snapshot_every=1")]
    settings = [*SLOW, *steps, f"data={data}", "engine.compile=false"]
    run = train(named("nano-ef").changed(settings), tmp_path / "run")
    words = ["runs", "average", str(run), "--sigma-rel", "0.1", "--out"]
    assert main([*words, str(tmp_path / "finished")]) == 0
    shutil.rmtree(run / "net")
    assert main([*words, str(tmp_path / "stopped")]) == 0
    for name in ("finished", "stopped"):
        config: Any = zoo.load(tmp_path / name).config
        assert (config.frames, config.fps) == (4, 4.0)
    shutil.rmtree(data)
    assert main([*words, str(tmp_path / "lost")]) == 2
    assert "Resume the run to its end, or put the data back" in capsys.readouterr().err


def test_the_command_averages_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = flow_task()
    monkeypatch.setitem(rows.ROWS, "tiny", task.nets["net"].config)
    often = recipe("lvfm").changed(["engine.snapshot_every=1", "model=tiny"])
    run = fit(task, Noise(SHAPE), often, tmp_path / "run")
    out = tmp_path / "average"
    words = ["runs", "average", str(run), "--out", str(out)]
    assert main([*words, "--sigma-rel", "0.1"]) == 0
    assert zoo.load(out).config == task.nets["net"].config
    never = recipe("lvfm").changed(["model=tiny"])
    (run / "net" / "config.json").unlink()  # as if it had not finished
    assert main([*words[:-1], str(tmp_path / "early"), "--sigma-rel", "0.1"]) == 0
    assert zoo.load(tmp_path / "early").config == task.nets["net"].config
    plain = fit(flow_task(), Noise(SHAPE), never, tmp_path / "plain")
    assert main(["runs", "average", str(plain), "--sigma-rel", "0.1", "--out", "x"]) == 2
    assert "has no snapshots" in capsys.readouterr().err
