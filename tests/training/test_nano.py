"""The story: from nothing to a bundle that makes a video, stopped once on the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from echoflow.pipeline import load
from echoflow.training.nano import POPULATION, train_nano
from echoflow.types import View

ENGINE = ["engine.steps=4", "engine.batch=4", "engine.warmup=1", "engine.checkpoint_every=2"]
SETTINGS = {
    stage: [*ENGINE, "engine.compile=false"] for stage in ("lifm", "lvfm", "reid", "ef", "lv")
}
SETTINGS["avae"] = [*ENGINE, "avae.adversary_from=2"]


class Pulled(Exception):
    """The plug."""


def unplug(what: str, done: int, total: int) -> None:
    if (what, done) == ("lvfm", 3):
        raise Pulled


@pytest.mark.slow
def test_the_chain_goes_on_where_it_stopped_and_its_bundle_works(tmp_path: Path) -> None:
    few = dataclasses.replace(POPULATION, patients=8)
    with pytest.raises(Pulled):
        train_nano(tmp_path, few, SETTINGS, unplug)
    told: list[str] = []
    bundle = train_nano(tmp_path, few, SETTINGS, lambda what, done, total: told.append(what))
    assert set(told) == {"lvfm", "lifm", "reid", "ef", "lv"}
    assert told.count("lvfm") == 2
    pipeline = load(bundle)
    z = pipeline.anatomies([View.PSAX], None, [1])
    assert len(pipeline.privacy.verdicts(z)) == 1
    video = pipeline.decode(pipeline.animate(z, torch.tensor([50.0]), [2]))
    assert video.shape == (1, 32, 112, 112)
    assert 0 <= float(pipeline.regressor(video)[0]) <= 100
