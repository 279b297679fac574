"""Whole samples: seeds, plans, partly noised starts, long videos, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from closed_forms import MEAN, PROCESSES, STD, gaussian, network
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.fields import window_starts, windowed
from echoflow.process import Process, RectifiedFlow, corrupt
from echoflow.sampling import (
    STEPS,
    Churn,
    SamplingPlan,
    begin,
    heun,
    integrate,
    noise_like,
    sample,
)
from echoflow.types import InputError


@pytest.fixture(params=PROCESSES.values(), ids=list(PROCESSES))
def process(request: pytest.FixtureRequest) -> Process:
    return request.param


# ---- seeds and whole samples --------------------------------------------------------------------


def test_noise_depends_on_the_seed_alone() -> None:
    seeds = [5, 0, 2**40 + 5, 9]
    batch = noise_like((3, 4), seeds)
    for i, seed in enumerate(seeds):
        assert torch.equal(noise_like((3, 4), [seed])[0], batch[i])
    assert torch.equal(noise_like((3, 4), seeds[::-1]), batch.flip(0))
    assert len({tuple(row.flatten().tolist()) for row in batch}) == 4


def test_noise_is_unit_and_streams_are_unrelated() -> None:
    a, b = (noise_like((100_000,), [11], stream)[0] for stream in (0, 1))
    c = noise_like((100_000,), [11 + 2**32])[0]
    assert a.mean().abs() < 0.02
    assert a.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(torch.stack([a, b, c])).fill_diagonal_(0).abs().max() < 0.02


def test_noise_values_are_pinned() -> None:
    """A seed names a heart: these bits must never change."""
    pinned = [-0.7012473344802856, 0.713093638420105, -0.11486046761274338]
    assert noise_like((3,), [2024])[0].tolist() == pinned


@pytest.mark.parametrize("plan", [SamplingPlan(6), SamplingPlan(6, "heun", churn=Churn())])
def test_sample_is_the_same_alone_and_in_any_batch(process: Process, plan: SamplingPlan) -> None:
    net, shape = network(process, gaussian(process)), (2, 3, 4)
    cond = Condition(ef=torch.tensor([20.0, 40.0, 60.0]))
    batch = sample(net, process, cond, shape, [4, 8, 15], plan)
    assert batch.shape == (3, 2, 3, 4)
    for i, seed in enumerate([4, 8, 15]):
        assert torch.equal(sample(net, process, cond.select([i]), shape, [seed], plan)[0], batch[i])
    turned = sample(net, process, cond.select([2, 0, 1]), shape, [15, 4, 8], plan)
    assert torch.equal(turned, batch[[2, 0, 1]])


def test_sample_has_the_data_distribution(process: Process) -> None:
    net = network(process, gaussian(process))
    x0 = sample(net, process, Condition(), (40_000,), [1], SamplingPlan(40, "heun"))
    assert x0.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x0.std().item() == pytest.approx(STD, rel=0.03)


def test_temperature_narrows_the_distribution(process: Process) -> None:
    """Of a Gaussian, whose flow is linear, by exactly as much."""
    net, cool = network(process, gaussian(process)), SamplingPlan(40, "heun", temperature=0.8)
    x0 = sample(net, process, Condition(), (40_000,), [1], cool)
    assert x0.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x0.std().item() == pytest.approx(0.8 * STD, rel=0.03)
    assert not cool.guides_like(replace(cool, temperature=1.0))


@pytest.mark.parametrize("solver", STEPS)
def test_partly_noised_start_joins_the_full_run(process: Process, solver: str) -> None:
    """With one data point, x_t = alpha x0 + t noise is on the full run's path at every step."""
    x0 = torch.full((2, 3), 0.4)
    point = network(process, lambda x, t: (x - x0) / over(t, x))
    for k in (0, 1, 5, 7):
        plan = SamplingPlan(8, solver, start_index=k)
        end = sample(point, process, Condition(), (3,), [1, 2], plan, start=x0)
        torch.testing.assert_close(end, x0, rtol=0, atol=3e-5)


def test_partly_noised_start_is_the_corrupted_start(process: Process) -> None:
    x0, noise = torch.rand(2, 3), noise_like((3,), [1, 2])
    t = process.grid(8)[5].item()
    wanted = corrupt(process, x0, noise, torch.full((2,), t))
    torch.testing.assert_close(begin(process, noise, t, x0), wanted)
    net, plan = network(process, gaussian(process)), SamplingPlan(8, "heun", start_index=5)
    end = sample(net, process, Condition(), (3,), [1, 2], plan, start=x0)
    tail = integrate(process.field(net, Condition()), wanted, process.grid(8)[5:], heun)
    torch.testing.assert_close(end, tail)


@pytest.mark.parametrize("solver", STEPS)
def test_every_time_of_a_sample_is_prepared(process: Process, solver: str) -> None:
    """A network that can prepare is told all times at once, and is asked for no others."""

    class Patient:
        def __call__(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
            raise AssertionError("a network that can be prepared is not called plainly")

        def prepare(self, cond: Condition, times: Tensor):
            known = times.tolist()

            def field(x: Tensor, t: Tensor) -> Tensor:
                assert set(t.tolist()) <= set(known)
                asked.extend(t.tolist())
                return torch.zeros_like(x)

            assert len(known) == 5
            return field

    asked: list[float] = []
    cond = Condition(ef=torch.tensor([50.0]))
    sample(Patient(), process, cond, (1, 2, 2), [0], SamplingPlan(5, solver, scale=2.0))
    assert len(set(asked)) == 5


def test_longer_videos_are_sampled_in_windows(process: Process) -> None:
    lengths, net = [], network(process, gaussian(process))

    def short(x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        lengths.append(x.shape[2])
        return net(x, t, cond)

    plan = SamplingPlan(5, "heun", overlap=2)
    long = sample(short, process, Condition(), (1, 13, 2, 2), [3], plan, frames=6)
    assert set(lengths) == {6}
    whole = sample(net, process, Condition(), (1, 13, 2, 2), [3], plan)
    torch.testing.assert_close(long, whole, rtol=1e-4, atol=1e-4)


def test_a_window_sees_its_part_of_the_lowres_video() -> None:
    """A network that answers with the low-resolution video alone, in windows as in one piece."""
    video = torch.randn(1, 1, 13, 2, 2, generator=torch.Generator().manual_seed(0))
    cond, plan = Condition(lowres=video), SamplingPlan(5, overlap=2)
    net = lambda x, t, cond: (x - cond.lowres) / over(t, x)  # noqa: E731
    for scale in (1.0, 3.0):
        asked = replace(plan, scale=scale, negative=("ef",))
        end = sample(net, RectifiedFlow(), cond, (1, 13, 2, 2), [1], asked, frames=6)
        torch.testing.assert_close(end, video)


def test_a_threshold_bounds_the_end() -> None:
    wide = network(RectifiedFlow(), gaussian(RectifiedFlow(), mean=4.0))
    free, bounded = (
        sample(wide, RectifiedFlow(), Condition(), (50,), [1], SamplingPlan(8, threshold=q))
        for q in (None, 1.0)
    )
    assert free.max() > 4
    assert bounded.abs().max() <= 1 + 1e-6


def test_plan_chooses_the_negative_branch() -> None:
    cond = Condition(ef=torch.tensor([55.0]), frame=torch.ones(1, 1, 2, 2))
    assert SamplingPlan().negative_of(cond).frame.sum() == 0  # type: ignore[union-attr]
    only_ef = SamplingPlan(negative=("ef",)).negative_of(cond)
    assert only_ef.frame is cond.frame
    assert only_ef.ef.isnan().all()  # type: ignore[union-attr]
    low = SamplingPlan(negative=(), negative_ef=10.0).negative_of(cond)
    assert low.ef is not None
    assert low.ef.tolist() == [10.0] * len(cond)
    assert low.frame is cond.frame
    assert SamplingPlan(negative_ef=10.0).negative_of(Condition(view=cond.view)).ef is None


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplingPlan(steps=0), "steps must be at least 1; got 0."),
        (lambda: SamplingPlan(solver="huen"), "Did you mean heun?"),
        (lambda: SamplingPlan(scale=-1), "scale must be a number >= 0"),
        (lambda: SamplingPlan(scale=math.nan), "got nan."),
        (lambda: SamplingPlan(negative=("efs",)), "Did you mean ef?"),
        (lambda: SamplingPlan(negative_ef=0.1), "Multiply a fraction by 100"),
        (lambda: SamplingPlan(start_index=25), "start_index must be in [0, 24] for 25 steps"),
        (lambda: SamplingPlan(temperature=0), "temperature must be a number above 0; got 0."),
        (lambda: SamplingPlan(threshold=95), "threshold must be a quantile in (0, 1]; got 95."),
        (lambda: SamplingPlan(overlap=-1), "overlap must be at least 0 frames; got -1."),
        (lambda: SamplingPlan(churn=Churn()), 'churn needs a one-step solver; use "heun"'),
        (lambda: Churn(amount=-1), "churn needs amount >= 0"),
        (lambda: noise_like((2,), [3, -1]), "seeds must be non-negative whole numbers; got -1."),
        (lambda: windowed(lambda x, t: x, 8, 8), "overlap must be in [0, 7] for 8 frames; got 8."),
        (lambda: window_starts(5, 8, 2), "the video has 5 frames; the model needs at least 8."),
    ],
)
def test_refusals(make, message: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("plan", "seeds", "start", "message"),
    [
        (SamplingPlan(), [1], None, "1 seeds for 2 conditions; give one seed each."),
        (SamplingPlan(start_index=3), [1, 2], None, "start_index 3 needs a start"),
        (SamplingPlan(start_index=3), [1, 2], torch.ones(2, 4), "shape (2, 4); it must be (2, 3)"),
    ],
)
def test_sample_refuses(
    plan: SamplingPlan, seeds: list[int], start: Tensor | None, message: str
) -> None:
    cond = Condition(ef=torch.tensor([50.0, 60.0]))
    with pytest.raises(InputError) as error:
        sample(lambda x, t, cond: x, RectifiedFlow(), cond, (3,), seeds, plan, start)
    assert message in str(error.value)
