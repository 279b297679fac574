"""The sets of Table 8: reconstructions that can be stopped, hearts that are not filtered."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_datasets import dynamic, row
from tiny_engine import disc_mask, engine, untrained_space

from echoflow.data.sources import open_source
from echoflow.data.video import read_gray
from echoflow.latents import LatentSpace
from echoflow.networks import zoo
from echoflow.reproduce.downstream import Unfiltered, rebuilt_row
from echoflow.reproduce.rebuilt import rebuilt
from echoflow.synthesis import DatasetPlan, synthesise


class Pulled(Exception):
    """The plug."""


def unplug(done: int, total: int) -> None:
    if done == 2:
        raise Pulled


def test_reconstructions_go_on_where_they_stopped(tmp_path: Path) -> None:
    source = open_source(dynamic(tmp_path / "a", [row("0XA"), row("0XB"), row("0XC")]))
    space, out = untrained_space(), tmp_path / "b"
    with pytest.raises(Pulled):
        rebuilt(source, source.records, space, out, unplug)
    assert not out.exists()
    first = tmp_path / ".b.part" / "Videos" / "0XA.avi"
    before = first.stat().st_mtime_ns
    made = rebuilt(source, source.records, space, out)
    assert [r.uid for r in made.records] == ["0XA", "0XB", "0XC"]
    assert made.video(made.records[0]).stat().st_mtime_ns == before
    assert not first.exists()
    assert made.records[2].ef == source.records[2].ef
    assert read_gray(made.video(made.records[2]))[0].shape == (5, 112, 112)
    assert rebuilt(source, source.records, space, out).records == open_source(out).records


@pytest.mark.parametrize("name", ["A-VAE-4f4", "A-VAE-16f8", "A-VAE-nano"])
def test_the_row_of_reconstructions_names_the_a_vae(name: str) -> None:
    """The paper's is beside ours only where it is the same."""
    with torch.device("meta"):
        avae: Any = zoo.build(name)
    space = LatentSpace(avae, untrained_space().stats)
    assert rebuilt_row(space) == f"Reconstructed, {name}"
    assert rebuilt_row(untrained_space()) == "Reconstructed, A-VAE of the weights"


def test_an_unfiltered_dataset_says_so(tmp_path: Path) -> None:
    """The same hearts but for those that the filter rejects, and a card that tells."""
    strict = engine(tau=0.2)
    lax = dataclasses.replace(strict, privacy=Unfiltered(strict.privacy))
    plan = DatasetPlan(n=6)
    kept = synthesise(strict, plan, tmp_path / "filtered", disc_mask)
    taken = synthesise(lax, plan, tmp_path / "unfiltered", disc_mask)
    scores = [float(taken.extras[r.uid]["ReIdScore"]) for r in taken.records]
    above = int(np.sum(np.array(scores) >= 0.2))
    assert above > 0
    for ours, theirs in zip(kept.records, taken.records, strict=True):
        same = kept.extras[ours.uid]["Seed"] == taken.extras[theirs.uid]["Seed"]
        assert same == (float(taken.extras[theirs.uid]["ReIdScore"]) < 0.2)
    card = (tmp_path / "unfiltered" / "README.md").read_text()
    assert f"This dataset is not filtered: {above} of 6 hearts reach" in " ".join(card.split())
    assert "not filtered" not in (tmp_path / "filtered" / "README.md").read_text()
