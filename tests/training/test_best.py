"""A run may end with the network that validated best."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from test_fit import Noise, flow_task, recipe, same_weights

from echoflow.networks import zoo
from echoflow.networks.heads import ReId, ReIdConfig
from echoflow.training import best
from echoflow.training.fit import fit
from echoflow.training.stages import assemble
from echoflow.training.table import named
from echoflow.types import InputError


def net(value: float) -> ReId:
    made = zoo.build(ReIdConfig(4, 8, 1))
    assert isinstance(made, ReId)
    torch.nn.init.constant_(made.fc.bias, value)
    return made


def test_only_a_lower_finite_loss_replaces_what_is_kept(tmp_path: Path) -> None:
    assert best.found(tmp_path, "net") is None
    losses = (math.nan, 3.0, 2.0, 2.0, 5.0)
    for step, loss in enumerate(losses):
        best.keep(tmp_path, step, {best.LOSS: loss}, {"net": net(float(step))})
    kept = best.found(tmp_path, "net")
    assert isinstance(kept, ReId)
    assert kept.fc.bias[0] == 2.0
    assert [path.name for path in (tmp_path / best.FOLDER).iterdir()] == ["0000002"]


def test_a_step_that_is_computed_again_may_be_better(tmp_path: Path) -> None:
    for value, loss in ((1.0, 1.0), (2.0, 0.9999999)):
        best.keep(tmp_path, 10, {best.LOSS: loss}, {"net": net(value)})
    kept = best.found(tmp_path, "net")
    assert isinstance(kept, ReId)
    assert kept.fc.bias[0] == 2.0


def test_a_run_ends_with_its_best_network(tmp_path: Path) -> None:
    asked = recipe("lvfm").changed(["engine.keep=best", "engine.validate_every=1", "engine.lr=0.3"])
    run = fit(flow_task(), Noise((2, 4, 8, 8)), asked, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    step = min(lines, key=lambda line: line["val/loss"])["step"]
    assert step < 6  # at that rate the last step is not the best
    same_weights(run / "net", run / best.FOLDER / f"{step:07d}" / "net")


def test_a_stage_without_a_validation_loss_is_refused() -> None:
    with pytest.raises(InputError, match=r"no validation loss; set engine.keep=last"):
        assemble(named("nano-reid").changed(["engine.keep=best"]))
