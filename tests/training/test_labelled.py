"""Training Free-Echo: what sources hold and tell, the task, and a run from recipe to folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from closed_forms import golden
from golden_cases import cases, stored_weights
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.labels import Label, sector_of
from echoflow.data.manifest import Manifest
from echoflow.data.phantom import PhantomPatient
from echoflow.data.phantom.layout import write_layout
from echoflow.data.pixels import signed
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.data.truths import label_maps
from echoflow.interop.freeecho import RULES, read
from echoflow.interop.keymap import to_ours
from echoflow.networks import rows, zoo
from echoflow.networks.unet3d_labels import LabelUNet3D, LabelUNet3DConfig
from echoflow.process import EDM, corrupt
from echoflow.training.draws import Draws
from echoflow.training.labelled import LabelledClips, LabelTask
from echoflow.training.options import FreeEchoOptions, Told
from echoflow.training.provenance import _values
from echoflow.training.stages import train
from echoflow.training.table import named, preset
from echoflow.types import Batch, InputError, Split, View

TINY = LabelUNet3DConfig(1, 32, 3, 8, (1, 2), heads=2, head=8)
WINDOW = Window(3, size=32, short="black")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    """Three phantoms of five frames, as CAMUS and as EchoNet-Dynamic; one of each trains."""
    root = tmp_path_factory.mktemp("hearts")
    splits = (Split.TRAIN, Split.VAL, Split.TEST)
    made = []
    for patient, split in enumerate(splits):
        one = PhantomPatient.sample(5, patient, "adult").render(View.A4C, 5, 10.0, phase=0.0)
        made.append(replace(one, clip=replace(one.clip, split=split)))
    for layout in ("camus", "dynamic"):
        write_layout(layout, made, root / layout)
    return {layout: open_source(root / layout) for layout in ("camus", "dynamic")}


def clips(manifest: Manifest, told: Told, window: Window = WINDOW) -> LabelledClips:
    return LabelledClips.of(manifest, manifest.records, window, told, 1)


@pytest.mark.parametrize("layout", ["camus", "dynamic"])
def test_what_the_network_is_told(hearts: dict[str, Manifest], layout: str) -> None:
    manifest = hearts[layout]
    every = {told: clips(manifest, told) for told in ("nothing", "sector", "labels")}
    assert {source.videos.shape[1:] for source in every.values()} == {(3, 32, 32)}
    assert not every["nothing"].labels.any()
    for video, sector in zip(every["sector"].videos, every["sector"].labels, strict=True):
        assert np.array_equal(sector, sector_of(video))
    labels = every["labels"].labels
    wanted = {0, 1, 2, 3, 4} if layout == "camus" else {0, 1, 2, 3}
    assert set(np.unique(labels)) == wanted
    batch = every["labels"].batch(np.array([1]), RNG)
    assert batch.x.shape == (1, 1, 3, 32, 32)
    assert bool((batch.x.abs() <= 1).all())
    assert batch.cond.mask is not None
    assert batch.cond.mask[0, Label.CAVITY - 1].sum() == (labels[1] == Label.CAVITY).sum()


def test_labels_are_those_of_the_first_frame(hearts: dict[str, Manifest]) -> None:
    """At the full size of a phantom, where nothing is resized: CAMUS is drawn at end-diastole."""
    manifest = hearts["dynamic"]
    source = clips(manifest, "labels", Window(3))
    truth = PhantomPatient.sample(5, 0, "adult").render(View.A4C, 5, 10.0, phase=0.0).truth
    assert np.array_equal(source.labels[0] == Label.CAVITY, truth.mask[0])
    camus = hearts["camus"]
    drawn = label_maps(camus, camus.records[0])
    assert set(np.unique(np.stack(list(drawn.values())))) == {0, 1, 2, 3}


def test_three_channels_are_equal(hearts: dict[str, Manifest]) -> None:
    manifest = hearts["dynamic"]
    x = (
        LabelledClips.of(manifest, manifest.records, WINDOW, "nothing", 3)
        .batch(np.arange(2), RNG)
        .x
    )
    assert x.shape == (2, 3, 3, 32, 32)
    assert torch.equal(x[:, 0], x[:, 2])


def test_a_dataset_without_drawings_is_refused(hearts: dict[str, Manifest]) -> None:
    bare = replace(hearts["camus"], label_maps={})
    with pytest.raises(InputError, match=r"no video of this split is drawn; set .*told=sector"):
        clips(bare, "labels")


def task(drop: float) -> LabelTask:
    torch.manual_seed(0)
    net = LabelUNet3D(replace(TINY, size=8))
    return LabelTask(net, FreeEchoOptions(frames=3, drop=drop), [example()])


def example() -> Batch:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(4, 1, 3, 8, 8, generator=rng) * 2 - 1
    mask = torch.zeros(4, 4, 8, 8)
    mask[:, 1, 2:5, 2:5] = 1
    return Batch(x, Condition(mask=mask), tuple("abcd"))


def test_labels_are_dropped_by_share() -> None:
    """With a share of one the loss is that without labels, and with none that with them."""
    batch, draws = example(), lambda: Draws(0, 0, range(4), 4)
    bare = Batch(batch.x, batch.cond.without("mask"), batch.uid)
    told, dropped = task(drop=0.0), task(drop=1.0)
    with_labels, without = (told.loss("net", b, 0, draws()).value for b in (batch, bare))
    torch.testing.assert_close(dropped.loss("net", batch, 0, draws()).value, without)
    assert abs((with_labels - without).item()) > 1e-4
    logs = told.validate(told.nets)
    assert logs["val/loss"] > 0
    assert logs["val/mask"] != 0
    assert told.picture(told.nets).shape == (5 * 8, 4 * 8)


@pytest.mark.parametrize("told", ["sector", "labels"])
def test_a_run(hearts: dict[str, Manifest], told: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(rows.ROWS, "Free-Echo-tiny", TINY)
    settings = ["engine.steps=2", "engine.batch=1", "engine.precision=fp32"]
    recipe = named("phantom-Free-Echo").changed(
        [*settings, "model=Free-Echo-tiny", "freeecho.frames=2", f"freeecho.told={told}"]
    )
    recipe = recipe.model_copy(update={"data": str(hearts["camus"].root)})
    run = train(recipe, tmp_path / "run")
    net = zoo.load(run / "net")
    assert isinstance(net, LabelUNet3D)
    assert net.config == replace(TINY, frames=2)


@pytest.mark.parametrize("name", ["camus", "dynamic", "camus-labels", "dynamic-labels"])
def test_as_the_paper_and_as_its_code(name: str) -> None:
    paper, code = (preset(f"Free-Echo-{name}{way}") for way in ("", "-code"))
    was, now = (dict(_values(one.recipe)) for one in (paper, code))
    drop = {"freeecho.drop": (0.1, 0.0)} if name.endswith("-labels") else {}
    wanted = {"freeecho.frames": (24, 16), "engine.batch": (16, 12), **drop}
    assert {key: (was[key], now[key]) for key in was if was[key] != now[key]} == wanted
    assert all(code.sources[key].startswith("released code, Free-Echo") for key in wanted)
    assert paper.sources["engine.precision"].startswith("ours")
    said = {"freeecho.frames", "engine.batch", "engine.lr", "engine.steps", "freeecho.sigma_data"}
    assert all(paper.sources[key].startswith("paper, Free-Echo") for key in said)


def test_golden_training_loss() -> None:
    """Noise levels, noised clip, estimate and loss of the published network and code."""
    weights, about = golden("freeecho/unet3d.tiny")
    net = LabelUNet3D(read(about["config"]))
    net.load_state_dict(to_ours(RULES, stored_weights(weights)))
    tolerance = golden("freeecho/training.tiny")[1]["tolerance"]
    ((_, at, wanted),) = cases("freeecho/training.tiny")
    assert not any(value is None for value in at.values())
    x0, noise, labels = (at[k] for k in ("video01", "noise.video", "cond"))
    assert x0 is not None
    assert noise is not None
    assert labels is not None
    process, cond = EDM(sigma_data=0.5), Condition(mask=one_hot(labels))
    t = process.times(torch.special.ndtr(at["noise.sigma_normal"]))
    torch.testing.assert_close(t, wanted["sigma"], **tolerance)
    x0 = 2 * x0 - 1
    x = corrupt(process, x0, noise, t)
    torch.testing.assert_close(x, wanted["noised"], **tolerance)
    found = process.denoised(net, x, t, cond)
    torch.testing.assert_close(found, wanted["D"], **tolerance)
    loss = process.loss(net, x0, noise, t, cond)
    torch.testing.assert_close(loss, wanted["loss_per_sample"], **tolerance)
    torch.testing.assert_close(loss.mean(), wanted["loss"], **tolerance)


def one_hot(labels: Tensor) -> Tensor:
    """(b, h, w) -> the planes of all labels but the background."""
    return torch.stack([labels == label for label in Label if label], dim=1).float()


def test_white_is_one() -> None:
    """The pixel-space systems see [-1, 1], both ends included."""
    assert signed(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
