"""Cascades: stored samples with every denoiser call, seeds, single stages, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from closed_forms import golden
from golden_cases import cases, stored_weights
from torch import Tensor, nn

from echoflow import cascade as cascades
from echoflow import sampling
from echoflow.cascade import LOWRES_NOISE, Cascade, Stage
from echoflow.condition import Condition, over
from echoflow.interop.keymap import to_ours
from echoflow.interop.unet3d import RULES, read
from echoflow.lowres import LowRes
from echoflow.networks.unet3d import UNet3D, UNet3DConfig
from echoflow.pipeline import Generator
from echoflow.process import EDM, Field
from echoflow.sampling import Churn, SamplingPlan, descended, heun
from echoflow.types import InputError

PROCESS = EDM(sigma_data=0.25)
PLAN = SamplingPlan(3, "heun", 2.0, ("ef",), churn=Churn(), threshold=0.95)
FIRST = UNet3DConfig(1, 8, 4, 8, (1, 2), (1, 1), (False, True), heads=2, head=8, groups=4)
FORMS = (FIRST, replace(FIRST, size=16, frames=8, lowres=True, memory_saving=True))
RATES = (4.0, 8.0)


def stage(form: UNet3DConfig, fps: float, plan: SamplingPlan = PLAN) -> Stage:
    """A stage whose every weight is random, none zero."""
    torch.manual_seed(form.size)
    net = UNet3D(form).eval().requires_grad_(False)
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)
    generator = Generator(net, PROCESS, (form.channels, form.frames, form.size, form.size))
    return Stage(generator, plan, fps, LowRes("trilinear") if form.lowres else None)


@pytest.fixture(scope="module")
def two() -> Cascade:
    return Cascade(tuple(stage(*pair) for pair in zip(FORMS, RATES, strict=True)))


def asked(n: int) -> Condition:
    rng = torch.Generator().manual_seed(0)
    frame = 2 * torch.rand(n, 1, 16, 16, generator=rng) - 1
    return Condition(ef=torch.linspace(20, 60, n), frame=frame)


# ---- stored values ------------------------------------------------------------------------------

FILE = "echodiffusion/sampling.tiny"
SAMPLES = ["cascade_trilinear_scale5", "cascade_nearest_scale5", "base_scale1", "base_scale5"]
SAMPLES += ["base_scale5_nochurn"]


def released(how: dict[str, Any]) -> Cascade:
    """The cascade of a stored case."""
    stages = []
    for i, kind in enumerate(("base", "up")[: how["stop_after_stage"]]):
        data, about = golden(f"echodiffusion/unet3d_{kind}.tiny")
        size, frames = how["image_sizes"][i], how["frames"][i]
        net = UNet3D(replace(read(about["config"]), size=size, frames=frames))
        net.load_state_dict(to_ours(RULES, stored_weights(data)))
        plan = SamplingPlan(
            how["num_sample_steps"][i],
            "heun",
            how["cond_scale"],
            ("ef",),
            churn=Churn(how["S_churn"][i]),
            threshold=0.95,
        )
        generator = Generator(net.eval(), PROCESS, (3, frames, size, size))
        lowres = LowRes(how["resize_mode"]) if i else None
        stages.append(Stage(generator, plan, float(frames), lowres))
    return Cascade(tuple(stages))


@pytest.mark.parametrize("name", SAMPLES)
def test_golden_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored noise in, the video of every stage out.

    A stage is given the stored video of the one before, since differences of 1e-3 there, which are
    float32's, grow a hundredfold on the way through the last step of these wild networks.
    """
    _, at, wanted = stored_case(name)
    how, cond, seeds = arguments(name), condition(at), range(len(at["text_embeds"]))
    play(monkeypatch, at, seeds)
    before, tolerance = None, golden(FILE)[1]["tolerance"]
    for i, one in enumerate(released(how).stages):
        theirs = seeds if i == 0 else descended(seeds, i)
        video, key = (one.sample(cond, theirs, before) + 1) / 2, f"video_stage{i + 1}"
        torch.testing.assert_close(video, wanted[key], **tolerance)
        before = 2 * wanted[key] - 1


@pytest.mark.parametrize("name", SAMPLES)
def test_golden_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of the denoiser, its input and its answer, where it is asked what was stored."""
    _, at, wanted = stored_case(name)
    how, cond, seeds = arguments(name), condition(at), range(len(at["text_embeds"]))
    play(monkeypatch, at, seeds)
    before, tolerance = None, golden(FILE)[1]["tolerance"]
    for i, one in enumerate(released(how).stages):
        keys = [f"calls_{what}.stage{i + 1}" for what in ("x", "D", "sigma")]
        asked, answers, sigma = (wanted[key] for key in keys)
        calls = iter(range(len(seeds) * len(sigma)))

        def stored(field: Field, x: Tensor, t: Tensor) -> Tensor:
            i, k = divmod(next(calls), len(sigma))  # noqa: B023
            there = asked[k, i : i + 1]  # noqa: B023
            torch.testing.assert_close(x, there, **tolerance)
            torch.testing.assert_close(t[0], sigma[k], **tolerance)  # noqa: B023
            v = field(there, t)
            answer = answers[k, i : i + 1]  # noqa: B023
            torch.testing.assert_close(there - over(t, x) * v, answer, **tolerance)
            return v

        def step(field, x, t, t_next, past=None):
            return heun(partial(stored, field), x, t, t_next, past)

        monkeypatch.setitem(sampling.STEPS, "heun", step)  # type: ignore[arg-type]
        one.sample(cond, seeds if i == 0 else descended(seeds, i), before)
        assert next(calls, None) is None
        before = 2 * wanted[f"video_stage{i + 1}"] - 1


def stored_case(name: str) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    return next(case for case in cases(FILE) if case[0] == name)


def arguments(name: str) -> dict[str, Any]:
    return next(case["arguments"] for case in golden(FILE)[1]["cases"] if case["name"] == name)


def condition(at: dict[str, Any]) -> Condition:
    return Condition(ef=100 * at["text_embeds"][:, 0, 0], frame=2 * at["cond_images"] - 1)


def play(monkeypatch: pytest.MonkeyPatch, at: dict[str, Any], seeds: Sequence[int]) -> None:
    """Stored noise instead of that of the seeds which the stages get or descend to."""
    second = descended(seeds, 1)
    named = {"stage1": seeds, "stage2": second, "lowres": descended(second, LOWRES_NOISE)}
    stored: dict[int, Tensor] = {}
    for name, theirs in named.items():
        if (noise := at.get(f"noise.{name}")) is not None:
            noise = noise[None] if name == "lowres" else noise
            stored |= {seed: noise[:, i] for i, seed in enumerate(theirs)}

    def noise_like(shape: Sequence[int], seeds: Sequence[int], stream: int = 0) -> Tensor:
        return torch.stack([stored[seed][stream] for seed in seeds])

    for module in (sampling, cascades):
        monkeypatch.setattr(module, "noise_like", noise_like)


# ---- laws ---------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bits_alone_and_in_a_batch(two: Cascade) -> None:
    cond = asked(3)
    batch = two.sample(cond, [4, 8, 15])
    assert batch.shape == (3, *two.shape) == (3, 1, 8, 16, 16)
    assert batch.abs().max() <= 1
    for i, seed in enumerate([4, 8, 15]):
        assert torch.equal(two.sample(cond.select([i]), [seed])[0], batch[i])


def test_a_cascade_of_one_is_its_generator(two: Cascade) -> None:
    one, cond = two.stages[0], asked(2)
    alone = Cascade((one,)).sample(cond, [1, 2])
    assert torch.equal(alone, one.generator.sample(cond, [1, 2], one.plan).clamp(-1, 1))


def test_stages_by_hand_are_the_cascade(two: Cascade) -> None:
    """A stage can be sampled alone, also on a video that no stage made."""
    first, second = two.stages
    small = first.sample(asked(1), [5])
    by_hand = second.sample(asked(1), descended([5], 1), small)
    assert torch.equal(by_hand, two.sample(asked(1), [5]))
    recorded = torch.zeros_like(small)
    assert not torch.equal(second.sample(asked(1), descended([5], 1), recorded), by_hand)


def test_stages_draw_unrelated_noise() -> None:
    start = sampling.noise_like((4000,), [7])[0]
    later = [sampling.noise_like((4000,), descended([7], key))[0] for key in (0, 1, 2)]
    table = torch.corrcoef(torch.stack([start, *later]))
    assert table.fill_diagonal_(0).abs().max() < 0.06
    assert descended([7, 8], 1) == [*descended([7], 1), *descended([8], 1)]


def test_an_ef_of_zero_is_a_value(two: Cascade) -> None:
    cond, plan = asked(1), replace(PLAN, scale=1.0)
    zero, small, none = (
        two.sample(replace(cond, ef=torch.tensor([ef])), [3], plan)
        for ef in (0.0, 1e-4, float("nan"))
    )
    near, far = ((zero - other).abs().max().item() for other in (small, none))
    assert near < 1e-4
    assert far > 1e-3


def test_guidance_drops_nothing_but_the_ef(two: Cascade) -> None:
    """A plan that names no field means the EF here: no stage was trained without the others."""
    named, unnamed = (replace(PLAN, negative=names) for names in (("ef",), None))
    assert torch.equal(two.sample(asked(1), [3], named), two.sample(asked(1), [3], unnamed))


def test_a_start_reaches_every_stage_in_its_size(two: Cascade) -> None:
    """From the last step on, all that is left to take away is a little noise."""
    start = 0.5 * torch.ones(1, *two.shape)
    late = SamplingPlan(64, "heun", start_index=63)
    quiet = EDM(sigma_data=50.0)  # c_skip = 1, c_out = t
    stages = (replace(s, generator=replace(s.generator, process=quiet)) for s in two.stages)
    end = Cascade(tuple(stages)).sample(asked(1), [3], late, start)
    torch.testing.assert_close(end, start, atol=0.05, rtol=0)


@pytest.mark.parametrize("solver", ["heun", "euler", "multistep"])
def test_longer_videos_and_every_solver(two: Cascade, solver: str) -> None:
    plan = SamplingPlan(2, solver, overlap=1)
    longer = two.sample(asked(1), [3], plan, frames=11)
    assert longer.shape == (1, 1, 11, 16, 16)
    assert torch.equal(longer, two.sample(asked(1), [3], plan, frames=12)[:, :, :11])  # same speed
    with pytest.raises(InputError, match="makes videos of 8 frames or more; got 6"):
        two.sample(asked(1), [3], plan, frames=6)
    counts = []
    for one in two.stages:
        one.generator.net.register_forward_hook(lambda *_: counts.append(1))
    two.sample(asked(1), [3], plan)
    assert sum(counts) == two.calls(plan) == (6 if solver == "heun" else 4)


def test_stills_become_grey_videos(two: Cascade) -> None:
    still = torch.full((2, 16, 16), 128, dtype=torch.uint8)
    videos = two.animate(still, torch.tensor([30.0, 0.0]), [1, 2])
    assert videos.shape == (2, 8, 16, 16)
    assert videos.dtype == torch.uint8
    with pytest.raises(InputError, match="Multiply a fraction by 100"):
        two.animate(still[:1], torch.tensor([0.3]), [1])


# ---- refusals -----------------------------------------------------------------------------------


def broken(two: Cascade, case: str) -> tuple[Stage, ...]:
    first, second = two.stages
    return {
        "none": (),
        "order": (second, first),
        "twice": (first, first),
        "rate": (first, replace(second, fps=25.0)),
        "told": (first, replace(second, lowres=None)),
        "untold": (replace(first, lowres=LowRes()), second),
        "size": (
            first,
            replace(second, generator=replace(second.generator, shape=(1, 8, 32, 32))),
        ),
        "colour": (first, stage(replace(FORMS[1], channels=3), 8.0)),
    }[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("none", "needs at least one stage"),
        ("order", "stage 1 makes 8 frames of 16 pixels and stage 2 4 of 8; put the stages in"),
        ("twice", "stage 2 of a cascade needs a low-resolution input"),
        ("rate", r"stage 1 makes 1 s \(4 frames at 4 Hz\) and stage 2 0.32 s \(8 at 25 Hz\)"),
        ("told", "stage 2 of a cascade needs low-resolution settings"),
        ("untold", "stage 1 of a cascade takes no low-resolution settings"),
        ("size", r"sample .* \(1, 8, 32, 32\), and its network was made for \(1, 8, 16, 16\)"),
        ("colour", "stage 1 makes 1 colour channels and stage 2 3"),
    ],
)
def test_stages_that_do_not_fit(two: Cascade, case: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cascade(broken(two, case))


def test_requests_that_do_not_fit(two: Cascade) -> None:
    first, second = two.stages
    with pytest.raises(InputError, match="of 8 frames of 16 x 16 pixels needs the video of"):
        second.sample(asked(1), [1])
    with pytest.raises(InputError, match="takes no video of a stage"):
        first.sample(asked(1), [1], torch.zeros(1, 1, 4, 8, 8))
    for shape in (
        (2, 1, 4, 8, 8),
        (1, 3, 4, 8, 8),
        (1, 4, 8, 8),
        (1, 1, 4, 32, 32),
        (1, 1, 9, 8, 8),
    ):
        with pytest.raises(InputError, match=r"must have shape \(1, 1, 8, 16, 16\), or fewer"):
            second.sample(asked(1), [1], torch.zeros(shape))
    with pytest.raises(InputError, match="1 plans for 2 stages"):
        two.sample(asked(1), [1], [PLAN])
    with pytest.raises(InputError, match="start_index 1 needs a start"):
        two.sample(asked(1), [1], replace(PLAN, start_index=1))
    with pytest.raises(InputError, match="this stage animates a frame"):
        two.sample(Condition(ef=torch.tensor([50.0])), [1])
