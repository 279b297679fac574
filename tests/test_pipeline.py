"""The pipeline: a seed gives the same bits alone and in a batch; bundles that are not whole."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_engine import TINY
from torch import nn

from echoflow.calibration import Curve, EFCalibration
from echoflow.interop.tuning import retune
from echoflow.metrics.cavity import cavity
from echoflow.networks import zoo
from echoflow.pipeline import Pipeline, load
from echoflow.privacy import Gallery, PrivacyFilter
from echoflow.sampling import Churn, SamplingPlan
from echoflow.types import InputError, View


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    for stage, config in TINY.items():
        net = zoo.build(config)
        for p in net.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.1)
        zoo.save(net, folder / stage)
    reid = zoo.load(folder / "reid")
    z = torch.randn(6, 2, 8, 8)
    gallery = Gallery.of(reid, z, [f"p{i}" for i in range(6)])  # type: ignore[arg-type]
    PrivacyFilter(reid, gallery, 0.999).save(folder / "privacy.safetensors")
    plan = dataclasses.asdict(SamplingPlan(steps=3, scale=2.0))
    card = {"mean": [0, 0], "std": [1, 1], "size": 8, "frames": 8, "fps": 16}
    card |= {"shift": {"lifm": 1.5, "lvfm": 3.0}, "anatomy": plan, "motion": plan}
    (folder / zoo.BUNDLE).write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def pipeline(bundle: Path) -> Pipeline:
    return load(bundle)


def test_bf16_stays_close_to_exact_and_keeps_the_bits_of_a_seed(bundle: Path) -> None:
    exact, half = load(bundle), load(bundle, inference="bf16")
    z = exact.anatomies([View.A4C, View.PSAX], None, [3, 4])
    ef = torch.tensor([30.0, 60.0])
    a, b = exact.animate(z, ef, [1, 2]), half.animate(z, ef, [1, 2])
    assert 0 < (a - b).abs().max() < 0.1
    assert b.dtype is torch.float32
    assert torch.equal(half.animate(z[1:], ef[1:], [2])[0], b[1])
    pixels = exact.decode(a).float(), half.decode(a).float()
    assert (pixels[0] - pixels[1]).abs().mean() < 1


def test_an_inference_setting_is_refused_by_name(bundle: Path) -> None:
    with pytest.raises(InputError, match="inference setting 'fp16'"):
        load(bundle, inference="fp16")  # type: ignore[arg-type]


def test_one_seed_alone_and_in_a_batch_of_eight_gives_the_same_bits(pipeline: Pipeline) -> None:
    seeds, views = list(range(40, 48)), [View(i % 3) for i in range(8)]
    masks = (torch.rand(8, 1, 112, 112, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    ef = torch.linspace(15, 75, 8)
    z = pipeline.anatomies(views, masks, seeds)
    clips = pipeline.animate(z, ef, seeds)
    pixels = pipeline.decode(clips)
    for i in (0, 5, 7):
        alone = pipeline.anatomies([views[i]], masks[i : i + 1], [seeds[i]])
        clip = pipeline.animate(alone, ef[i : i + 1], [seeds[i]])
        assert torch.equal(alone[0], z[i])
        assert torch.equal(clip[0], clips[i])
        assert torch.equal(pipeline.decode(clip)[0], pixels[i])
        assert pipeline.privacy.verdicts(alone)[0] == pipeline.privacy.verdicts(z)[i]
        assert torch.equal(pipeline.regressor(pixels)[i], pipeline.regressor(pixels[i : i + 1])[0])


def test_longer_videos_than_trained(pipeline: Pipeline) -> None:
    z = pipeline.anatomies([View.A4C], None, [3])
    plan = SamplingPlan(steps=3, overlap=4)
    long = pipeline.animate(z, torch.tensor([50.0]), [3], plan, frames=14)
    assert long.shape == (1, 2, 14, 8, 8)
    assert pipeline.regressor(pipeline.decode(long)).shape == (1,)


def test_the_ef_and_the_seed_change_the_video(pipeline: Pipeline) -> None:
    z = pipeline.anatomies([View.A4C], None, [3])
    base = pipeline.animate(z, torch.tensor([50.0]), [3])
    assert not torch.equal(pipeline.animate(z, torch.tensor([20.0]), [3]), base)
    assert not torch.equal(pipeline.animate(z, torch.tensor([50.0]), [4]), base)


def test_a_start_from_the_beating_anatomy(pipeline: Pipeline, bundle: Path) -> None:
    """Same bits alone and in a batch; the heart rate can be asked for; it needs a segmenter."""
    disc = torch.hypot(*(torch.arange(16.0)[i] - 7.5 for i in ((slice(None), None), (None,)))) < 5
    seen = dataclasses.replace(pipeline, finder=lambda video, prior: np.stack([disc] * len(video)))
    plan, seeds, ef = (
        SamplingPlan(steps=4, start_index=2, overlap=4),
        [5, 6],
        torch.tensor([30.0, 60.0]),
    )
    views = [View.A4C, View.PSAX]
    z = pipeline.anatomies(views, None, seeds)
    both = seen.animate(z, ef, seeds, plan, views=views)
    alone = seen.animate(z[1:], ef[1:], seeds[1:], plan, views=views[1:])
    assert torch.equal(alone[0], both[1])
    fast = seen.animate(z, ef, seeds, plan, views=views, heart_rate=110.0)
    assert not torch.equal(fast, both)
    noise = seen.animate(z, ef, seeds, SamplingPlan(steps=4), views=views)
    assert not torch.equal(noise, both)
    long = seen.animate(z, ef, seeds, plan, 14, views=views)
    assert long.shape == (2, 2, 14, 8, 8)
    with pytest.raises(InputError, match="choose a start above 0"):
        seen.animate(z, ef, seeds, SamplingPlan(steps=4), heart_rate=60.0)
    bare = dataclasses.replace(pipeline, finder=cavity)
    with pytest.raises(InputError, match=r"no segmenter \(lv\)"):
        bare.animate(z, ef, seeds, plan)


def test_a_plan_with_other_steps_starts_after_the_same_share() -> None:
    plan = SamplingPlan(steps=12, start_index=6)
    assert plan.tuned(24).start_index == 12
    assert plan.tuned(1).start_index == 0
    assert plan.tuned(24, start=3).start_index == 3
    assert plan.tuned(24).guides_like(plan)
    assert not plan.tuned(start=0).guides_like(plan)


def test_a_calibration_belongs_to_its_guidance(bundle: Path, tmp_path: Path) -> None:
    """The network is told what comes out as asked; with other guidance, what was asked."""
    folder = tmp_path / "b"
    shutil.copytree(bundle, folder)
    plain = load(folder)
    every, a4c = Curve((20.0, 60.0), (20.0, 60.0)), Curve((10.0, 40.0), (20.0, 80.0))
    curves = EFCalibration({"all": every, "A4C": a4c})
    retune(folder, plain.motion, curves)
    tuned = load(folder)
    assert (tuned.calibration, tuned.motion) == (curves, plain.motion)
    z, ef = plain.anatomies([View.A4C], None, [3]), torch.tensor([40.0])
    assert torch.equal(tuned.animate(z, ef, [1]), plain.animate(z, ef, [1]))
    told = plain.animate(z, torch.tensor([20.0]), [1])
    assert torch.equal(tuned.animate(z, ef, [1], views=[View.A4C]), told)
    fewer = dataclasses.replace(plain.motion, steps=2)  # the same guidance
    told = plain.animate(z, torch.tensor([20.0]), [1], fewer)
    assert torch.equal(tuned.animate(z, ef, [1], fewer, views=[View.A4C]), told)
    other, low = dataclasses.replace(plain.motion, scale=1.5), torch.tensor([30.0])
    assert torch.equal(tuned.animate(z, low, [1], other), plain.animate(z, low, [1], other))


def test_a_plan_comes_back_as_it_was_kept(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    plan = SamplingPlan(7, "heun", 2.5, ("ef",), 10.0, Churn(3.0), 2, 4, 0.9, 0.8)
    assert all(getattr(plan, f.name) != f.default for f in dataclasses.fields(plan))
    retune(folder, plan, EFCalibration({"all": Curve((20.0, 60.0), (20.0, 60.0))}))
    assert load(folder).motion == plan
    card = json.loads((folder / zoo.BUNDLE).read_text())
    (folder / zoo.BUNDLE).write_text(json.dumps(card | {"motion": {"stepz": 3}}))
    with pytest.raises(InputError, match=r"sampling plan cannot be used: .*'stepz'"):
        load(folder)


def test_encode_and_decode_fit_together(pipeline: Pipeline) -> None:
    frames = torch.randint(0, 256, (2, 16, 16), dtype=torch.uint8)
    assert pipeline.decode(pipeline.encode(frames)).shape == frames.shape


def test_requests_that_make_no_sense(pipeline: Pipeline) -> None:
    z = pipeline.anatomies([View.A4C], None, [3])
    with pytest.raises(InputError, match="Multiply a fraction by 100"):
        pipeline.animate(z, torch.tensor([0.55]), [3])
    with pytest.raises(InputError, match="mask must hold only 0 and 1"):
        pipeline.anatomies([View.A4C], torch.full((1, 1, 112, 112), 0.5), [3])
    with pytest.raises(InputError, match="clips of 8 frames; got 5"):
        pipeline.regressor(torch.zeros(1, 5, 16, 16, dtype=torch.uint8))
    with pytest.raises(InputError, match="1 seeds need as many conditions; got 2"):
        pipeline.animate(torch.cat([z, z]), torch.tensor([40.0, 50.0]), [3])
    with pytest.raises(InputError, match="at least one seed"):
        pipeline.anatomies([], None, [])


def test_bundles_that_are_not_whole(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no weights nanoo"):
        load("nanoo")
    with pytest.raises(InputError, match=r"bundle\.json is missing"):
        load(tmp_path)
    (tmp_path / zoo.BUNDLE).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        load(tmp_path)
    (tmp_path / zoo.BUNDLE).write_text('{"fps": 16}')
    with pytest.raises(InputError, match="lacks anatomy"):
        load(tmp_path)
    card = json.loads((bundle / zoo.BUNDLE).read_text())
    for wrong in ({"size": "big"}, {"motion": {"stepz": 3}}, {"shift": 3.0}, {"fps": -1}):
        (tmp_path / zoo.BUNDLE).write_text(json.dumps({**card, **wrong}))
        with pytest.raises(InputError, match=r"is damaged|must be positive|plan cannot be used"):
            load(tmp_path)
    (tmp_path / zoo.BUNDLE).write_text((bundle / zoo.BUNDLE).read_text())
    with pytest.raises(InputError, match=r"no model in .*avae"):
        load(tmp_path)
