"""The story: from nothing to a bundle that makes a video, stopped once on the way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from echoflow.networks import zoo
from echoflow.pipeline import load
from echoflow.training.nano import POPULATION, recipe_of, train_nano
from echoflow.types import InputError, View

ENGINE = ["engine.steps=4", "engine.batch=4", "engine.warmup=1", "engine.checkpoint_every=2"]
SETTINGS = {
    stage: [*ENGINE, "engine.compile=false"] for stage in ("lifm", "lvfm", "reid", "ef", "lv")
}
SETTINGS["lvfm"] += ["flow.shift=2.5"]
SETTINGS["avae"] = [*ENGINE, "avae.adversary_from=2"]


class Pulled(Exception):
    """The plug."""


def unplug(what: str, done: int, total: int) -> None:
    if (what, done) == ("lvfm", 3):
        raise Pulled


def test_other_settings_of_a_finished_stage_are_refused(tmp_path: Path) -> None:
    """But for those that change no weight; nothing is made or lost."""
    stored = recipe_of("lvfm", tmp_path, ["engine.steps=4"]).to_yaml()
    (tmp_path / "lvfm" / "net").mkdir(parents=True)
    (tmp_path / "lvfm" / "net" / zoo.WEIGHTS).touch()
    (tmp_path / "lvfm" / "recipe.yaml").write_text(stored)
    asked = {"lvfm": ["engine.steps=4", "flow.shift=9", "engine.workers=1"]}
    told = r"stage lvfm is finished, with other settings \(flow.shift was 3.0, is 9.0\); give"
    with pytest.raises(InputError, match=told):
        train_nano(tmp_path, settings=asked)
    assert [path.name for path in tmp_path.iterdir()] == ["lvfm"]


@pytest.mark.slow
def test_the_chain_goes_on_where_it_stopped_and_its_bundle_works(tmp_path: Path) -> None:
    few = dataclasses.replace(POPULATION, patients=8)
    with pytest.raises(Pulled):
        train_nano(tmp_path, few, SETTINGS, unplug)
    told: list[str] = []
    bundle = train_nano(tmp_path, few, SETTINGS, lambda what, done, total: told.append(what))
    assert set(told) == {"lvfm", "lifm", "reid", "ef", "lv"}
    assert told.count("lvfm") == 2
    card = json.loads((bundle / zoo.BUNDLE).read_text())
    assert card["shift"] == {"lifm": 1.5, "lvfm": 2.5}
    pipeline = load(bundle)
    z = pipeline.anatomies([View.PSAX], None, [1])
    assert len(pipeline.privacy.verdicts(z)) == 1
    video = pipeline.decode(pipeline.animate(z, torch.tensor([50.0]), [2]))
    assert video.shape == (1, 32, 112, 112)
    assert 0 <= float(pipeline.regressor(video)[0]) <= 100
