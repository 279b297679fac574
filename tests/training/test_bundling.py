"""Finished runs become weights that generate; what does not fit together is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_engine import TINY
from torch import nn

from echoflow.cli import main
from echoflow.data.shardwriter import Item, write_latents
from echoflow.data.tensorfile import read_statistics
from echoflow.data.windows import Latents
from echoflow.files import sha256
from echoflow.latents import Moments
from echoflow.networks import zoo
from echoflow.pipeline import load
from echoflow.privacy import PrivacyByView, PrivacyFilter
from echoflow.training.bundling import bundled
from echoflow.training.stages import NETWORKS
from echoflow.training.table import named
from echoflow.types import InputError, Record, Split, View

PATIENTS = 6


class Made:
    """Random latents of 9 frames, patients of one view, the last two held out.

    The odd ones are traced in frames 2 and 7, the others not at all; in PLAX none is.
    """

    findings = ()

    def __init__(self, view: View, avae: str, fps: float = 16.0, shift: float = 0.0) -> None:
        split = [Split.TRAIN] * (PATIENTS - 2) + [Split.VAL] * 2
        known = (fps, 9, 16, 16, 50.0, None, None)
        self.records = tuple(
            Record(f"{view.name}{i}", f"{i}", "test", view, split[i], f"p{i}", *known)
            for i in range(PATIENTS)
        )
        rng = torch.manual_seed(int(view))
        self.mean = torch.randn(PATIENTS, 9, 2, 8, 8, generator=rng) + shift
        self.avae = avae

    def __len__(self) -> int:
        return PATIENTS

    def plan(self) -> dict[str, str]:
        return {"avae": self.avae}

    def items(self, numbers: range):
        for i in numbers:
            traced = (
                np.array([2, 7]) if i % 2 and self.records[i].view != View.PLAX else np.arange(0)
            )
            masks = torch.ones(len(traced), 8, 8, dtype=torch.uint8)
            moments = Moments(self.mean[i], torch.full((9, 2, 8, 8), 0.1))
            yield Item(self.records[i], moments, traced, masks, "")


def finished(folder: Path, stage: str, data: Sequence[Path], *settings: str) -> Path:
    """The run folder of a stage, as a training leaves it."""
    torch.manual_seed(0)
    net = zoo.build(TINY[stage])
    for p in net.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.1)
    recipe = named(f"nano-{stage}").changed(list(settings))
    recipe = recipe.model_copy(update={"data": ",".join(map(str, data)), "decoder": None})
    zoo.save(net, folder / NETWORKS[recipe.stage])  # type: ignore[index]
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Mapping[str, Path]:
    """One run of each stage; the models learned from A4C and PSAX, of which A4C normalises."""
    avae = finished(tmp_path / "avae", "avae", [tmp_path / "videos"])
    sha = sha256(avae / "avae" / zoo.WEIGHTS)
    a4c = write_latents(Made(View.A4C, sha), tmp_path / "a4c").folder
    stats = read_statistics(a4c)
    psax = write_latents(Made(View.PSAX, sha), tmp_path / "psax", scaling=stats).folder
    found = {"avae": avae}
    for stage in ("lifm", "lvfm", "reid"):
        settings = ["flow.shift=2.5"] if stage == "lvfm" else []
        found[stage] = finished(tmp_path / stage, stage, [a4c, psax], *settings)
    for stage in ("ef", "lv"):
        found[stage] = finished(tmp_path / stage, stage, [tmp_path / "videos"])
    return found


def test_runs_become_weights_that_generate(
    runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    words = ["bundle", *(str(run) for run in reversed([*runs.values()])), "--out", str(out)]
    assert main(words) == 0
    assert "privacy: 12 anatomies, tau A4C " in capsys.readouterr().out
    card = json.loads((out / zoo.BUNDLE).read_text())
    told = {"size": 8, "frames": 8, "fps": 16.0, "name": "bundle", "data": "a4c, psax"}
    assert {name: card[name] for name in told} == told
    assert card["shift"]["lvfm"] == 2.5
    assert card["motion"]["scale"] == 2.0
    assert card["untraced"] == []
    pipeline = load(out)
    assert isinstance(pipeline.privacy, PrivacyFilter)
    z = pipeline.anatomies([View.PSAX], torch.ones(1, 1, 112, 112), [1])
    assert len(pipeline.privacy.verdicts(z)) == 1
    assert pipeline.animate(z, torch.tensor([50.0]), [2], views=[View.PSAX]).shape[2] == 8
    for stage in runs:
        kept = zoo.load(out / stage).state_dict()
        for name, value in zoo.load(runs[stage] / NETWORKS[stage]).state_dict().items():  # type: ignore[index]
            assert torch.equal(kept[name], value)
        assert f"stage: {stage}" in (out / stage / "recipe.yaml").read_text()
        assert str(tmp_path) not in (out / stage / "recipe.yaml").read_text()


def test_the_gallery_is_every_anatomy_that_was_learned_from(
    runs: Mapping[str, Path], tmp_path: Path
) -> None:
    """Traced frames where some are, else the first; a training anatomy itself is rejected."""
    privacy = bundled([*runs.values()], tmp_path / "b").privacy
    assert isinstance(privacy, PrivacyFilter)
    uids = [f"{view}{i}" for view in ("A4C", "PSAX") for i in (0, 1, 1, 2, 3, 3)]
    assert list(privacy.gallery.uids) == uids
    assert set(privacy.thresholds()) == {"A4C", "PSAX"}
    latents = Latents.read(tmp_path / "psax", Split.TRAIN)
    copy = latents.draw(np.array([1, 2]), np.array([[7], [0]]), None)[:, 0]
    verdicts = privacy.verdicts(copy)
    assert [v.accepted for v in verdicts] == [False, False]
    assert [v.nearest for v in verdicts] == ["PSAX1", "PSAX2"]


def test_a_filter_for_each_view(runs: Mapping[str, Path], tmp_path: Path) -> None:
    """Each with the network that learned the view; a view without one has no filter."""
    own = [finished(tmp_path / f"reid-{n}", "reid", [tmp_path / n]) for n in ("a4c", "psax")]
    rest = [run for stage, run in runs.items() if stage != "reid"]
    privacy = bundled([*rest, *own], tmp_path / "two").privacy
    assert isinstance(privacy, PrivacyByView)
    assert {v: set(f.gallery.groups or ()) for v, f in privacy.filters.items()} == {
        View.A4C: {"A4C"},
        View.PSAX: {"PSAX"},
    }
    assert (tmp_path / "two" / "reid" / "PSAX" / "recipe.yaml").is_file()
    one = bundled([*rest, own[0]], tmp_path / "one").privacy
    assert isinstance(one, PrivacyByView)
    assert list(one.filters) == [View.A4C]
    none = bundled(rest, tmp_path / "none").privacy
    assert none.thresholds() == {}
    z = torch.randn(1, 2, 8, 8)
    for name, view in (("one", View.PSAX), ("none", View.A4C)):
        with pytest.raises(InputError, match=f"cannot check the privacy of {view.name}"):
            load(tmp_path / name).privacy.verdicts(z, [view])


def test_a_published_autoencoder_needs_no_run(runs: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["avae"] / "avae", tmp_path / "published")
    parts = bundled([tmp_path / "published", runs["lvfm"]], tmp_path / "b")
    assert set(parts.nets) == {"avae", "lvfm"}
    assert load(tmp_path / "b").image is None
    network = runs["lvfm"] / "net"
    with pytest.raises(InputError, match=r"a network of stage lvfm; .* give the folder of its run"):
        bundled([runs["avae"], network], tmp_path / "c")


def test_views_without_any_mask(runs: Mapping[str, Path], tmp_path: Path) -> None:
    """The image model saw empty masks there, and is to see them again."""
    plax = write_latents(
        Made(View.PLAX, sha256(runs["avae"] / "avae" / zoo.WEIGHTS)),
        tmp_path / "plax",
        scaling=read_statistics(tmp_path / "a4c"),
    ).folder
    lifm = finished(tmp_path / "lifm2", "lifm", [tmp_path / "a4c", plax])
    bundled([runs["avae"], runs["lvfm"], lifm], tmp_path / "b")
    assert load(tmp_path / "b").untraced == (View.PLAX,)


def test_guidance_only_with_what_was_dropped(runs: Mapping[str, Path], tmp_path: Path) -> None:
    """A condition that was never dropped cannot be null in the negative branch."""
    data = [tmp_path / "a4c", tmp_path / "psax"]
    for number, (ef, frame, negative, scale) in enumerate(
        [(0.1, 0.1, ["ef", "frame"], 2.0), (0.1, 0.0, ["ef"], 2.0), (0.0, 0.0, None, 1.0)]
    ):
        settings = [f"flow.drop_ef={ef}", f"flow.drop_frame={frame}"]
        lvfm = finished(tmp_path / f"lvfm{number}", "lvfm", data, *settings)
        motion = bundled([runs["avae"], lvfm], tmp_path / f"b{number}").card["motion"]
        assert (motion["negative"] and list(motion["negative"]), motion["scale"]) == (
            negative,
            scale,
        )


def test_what_does_not_fit_together(runs: Mapping[str, Path], tmp_path: Path) -> None:
    """One sentence each, and nothing is left behind."""
    sha = sha256(runs["avae"] / "avae" / zoo.WEIGHTS)
    fast = write_latents(Made(View.A4C, sha, fps=30.0), tmp_path / "fast").folder
    other = write_latents(Made(View.A4C, "another"), tmp_path / "other").folder
    apart = write_latents(Made(View.PSAX, sha, shift=1.0), tmp_path / "apart").folder

    def lvfm(name: str, *data: Path) -> Path:
        return finished(tmp_path / f"lvfm-{name}", "lvfm", data)

    unfinished = lvfm("unfinished", tmp_path / "a4c")
    shutil.rmtree(unfinished / "net")
    cascade = tmp_path / "cascade"
    cascade.mkdir()
    (cascade / "recipe.yaml").write_text(named("phantom-2SCM-1").to_yaml())
    reid = finished(tmp_path / "reid-apart", "reid", [apart])
    avae, whole = runs["avae"], runs["lvfm"]
    cases = {
        "needs a run of stage lvfm": [avae],
        "avae and one of lvfm": [runs["ef"]],
        "are both of stage lvfm": [avae, whole, lvfm("again", tmp_path / "a4c")],
        "is not finished; train it on with --resume": [avae, unfinished],
        "trained stage cascade, which is no part of a bundle": [avae, cascade],
        "which another A-VAE encoded": [avae, lvfm("other", other)],
        "clips of 16 to 30 frames a second": [avae, lvfm("rates", tmp_path / "a4c", fast)],
        "Encode the second with --scaling": [avae, whole, reid],
        "there is no recipe file": [avae, tmp_path / "nowhere"],
    }
    for told, chosen in cases.items():
        with pytest.raises(InputError, match=told):
            bundled(chosen, tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()
