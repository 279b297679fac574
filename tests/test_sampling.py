"""Sampling: orders of convergence, guidance, windows, churn, seeds, starts, and golden traces."""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.process import EDM, Field, Process, RectifiedFlow, corrupt
from echoflow.sampling import (
    STEPS,
    Churn,
    SamplingPlan,
    begin,
    churned,
    euler,
    guided,
    guided_at_once,
    heun,
    integrate,
    noise_like,
    sample,
    thresholded,
    window_starts,
    windowed,
)
from echoflow.types import InputError

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
ORDERS = {"euler": 1, "heun": 2, "multistep": 2}
CALLS = {"euler": 10, "heun": 19, "multistep": 10}  # field calls for 10 steps
PROCESSES: dict[str, Process] = {
    "flow": RectifiedFlow(),
    "flow-shifted": RectifiedFlow(shift=2.0),
    "edm": EDM(),
}
MEAN, STD = 0.7, 0.4


@pytest.fixture(params=PROCESSES.values(), ids=list(PROCESSES))
def process(request: pytest.FixtureRequest) -> Process:
    return request.param


def gaussian(process: Process, mean: float = MEAN, std: float = STD) -> Field:
    """The exact field of data N(mean, std^2): x0_hat is the posterior mean."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        t = over(t, x)
        alpha = process.alpha(t)
        gain = alpha * std**2 / (alpha**2 * std**2 + t**2)
        return (x - mean - gain * (x - alpha * mean)) / t

    return field


def transported(process: Process, x: Tensor, t: float, t_next: float) -> Tensor:
    """The exact solution of the Gaussian's ODE: the standard score of x never changes."""
    (a, b), (s, s_next) = (process.alpha(t), process.alpha(t_next)), (t, t_next)
    spread = math.sqrt((b**2 * STD**2 + s_next**2) / (a**2 * STD**2 + s**2))
    return b * MEAN + spread * (x - a * MEAN)


def network(process: Process, field: Field):
    """The network, in the process's own output, whose field is `field`."""

    def flow(x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return field(x, t)

    def edm(x: Tensor, c_noise: Tensor, cond: Condition) -> Tensor:
        assert isinstance(process, EDM)
        t, d = (4 * c_noise).exp(), process.sigma_data
        scale = over((t**2 + d**2).sqrt(), x)
        return (over(t, x) / scale * x - field(x * scale, t)) * scale / d

    return edm if isinstance(process, EDM) else flow


class Counted:
    """A field that counts its calls and keeps what it was asked."""

    def __init__(self, field: Field) -> None:
        self.field, self.asked = field, []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v = self.field(x, t)
        self.asked.append((x, t, v))
        return v


# ---- solvers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPS)
def test_order_of_convergence(process: Process, name: str) -> None:
    """Halving the intervals divides the error by 2^order, against the exact Gaussian solution.

    EDM's last interval, sigma_min to 0, does not shrink with the others and is left out.
    """
    errors = []
    for steps in (64, 128, 256):
        grid = (
            process.grid(steps) if isinstance(process, RectifiedFlow) else process.grid(steps)[:-1]
        )
        x = process.t_max * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
        end = integrate(gaussian(process), x, grid, STEPS[name])
        exact = transported(process, x, process.t_max, grid[-1].item())
        errors.append((end - exact).abs().max().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert ORDERS[name] - 0.15 < orders[-1] < ORDERS[name] + 0.6, (errors, orders)


@pytest.mark.parametrize("name", STEPS)
def test_every_solver_solves_straight_paths_exactly(process: Process, name: str) -> None:
    """One data point: the path is a line, so a single step arrives (EDM's c_skip = 1 limit too)."""
    x0 = torch.full((3, 2), 0.3, dtype=torch.float64)
    point = lambda x, t: (x - x0) / over(t, x)  # noqa: E731
    x = begin(process, torch.randn(3, 2, dtype=torch.float64), process.t_max, x0)
    for steps in (1, 2, 7):
        torch.testing.assert_close(integrate(point, x, process.grid(steps), STEPS[name]), x0)


@pytest.mark.parametrize("name", STEPS)
def test_calls_per_step_and_never_at_zero(process: Process, name: str) -> None:
    field = Counted(gaussian(process))
    integrate(field, torch.ones(2, 1), process.grid(10), STEPS[name])
    assert len(field.asked) == CALLS[name]
    assert all((t > 0).all() for _, t, _ in field.asked)
    assert all(t.shape == (2,) and t.dtype == torch.float32 for _, t, _ in field.asked)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_integrate_keeps_the_dtype(process: Process, dtype: torch.dtype) -> None:
    x = torch.ones(2, 3, dtype=dtype)
    assert integrate(gaussian(process), x, process.grid(4), heun).dtype == dtype


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_tail_of_a_run_is_the_run_from_there(process: Process, name: str) -> None:
    grid, x, step = process.grid(12), torch.linspace(-1, 1, 6)[:, None], STEPS[name]
    whole = integrate(gaussian(process), x, grid, step)
    middle = integrate(gaussian(process), x, grid[:6], step)
    assert torch.equal(integrate(gaussian(process), middle, grid[5:], step), whole)


# ---- guidance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "cond_calls", "negative_calls"), [(0.0, 0, 1), (1.0, 1, 0), (0.5, 1, 1), (3.0, 1, 1)]
)
def test_guidance_algebra_and_calls(scale: float, cond_calls: int, negative_calls: int) -> None:
    x, t = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2)
    cond, negative = Counted(lambda x, t: x.sin()), Counted(lambda x, t: 2 * x)
    v = guided(cond, negative, scale)(x, t)
    assert (len(cond.asked), len(negative.asked)) == (cond_calls, negative_calls)
    if scale in (0, 1):
        assert torch.equal(v, x.sin() if scale else 2 * x)
    torch.testing.assert_close(v, (1 - scale) * 2 * x + scale * x.sin())


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_in_one_batch_is_the_same(process: Process, scale: float) -> None:
    net = lambda x, t, cond: x * over(cond.ef.nan_to_num(-1) + t, x)  # noqa: E731
    cond = Condition(ef=torch.tensor([30.0, 60.0]))
    negative = cond.without("ef")
    x, t = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0.4, 0.6])
    apart = guided(process.field(net, cond), process.field(net, negative), scale)
    assert torch.equal(guided_at_once(process, net, cond, negative, scale)(x, t), apart(x, t))


def test_guiding_velocities_is_guiding_data_estimates(process: Process) -> None:
    """x0_hat is affine in v, so eq. 16-18 hold for either."""
    a, b = gaussian(process, 0.2), gaussian(process, 0.9)
    x, t = torch.randn(4, 2, dtype=torch.float64), torch.full((4,), 0.3, dtype=torch.float64)
    estimate = lambda field: x - over(t, x) * field(x, t)  # noqa: E731
    wanted = estimate(b) + 2.5 * (estimate(a) - estimate(b))
    torch.testing.assert_close(estimate(guided(a, b, 2.5)), wanted)


# ---- windows ------------------------------------------------------------------------------------


def test_window_of_the_video_length_changes_nothing() -> None:
    field = Counted(lambda x, t: torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    x, t = torch.randn(2, 3, 8, 4, 4), torch.ones(2)
    assert torch.equal(windowed(field, 8, 3)(x, t), field(x, t))
    assert torch.equal(field.asked[0][0], x)
    assert len(field.asked) == 2


@pytest.mark.parametrize("length", [9, 12, 13, 16, 29])
def test_windows_keep_constant_and_framewise_fields(length: int) -> None:
    x, t = (
        torch.randn(2, 3, length, 4, 4, generator=torch.Generator().manual_seed(0)),
        torch.ones(2),
    )
    constant = windowed(lambda x, t: torch.full_like(x, 0.1), 8, 3)(x, t)
    assert torch.equal(constant, torch.full_like(x, 0.1))
    torch.testing.assert_close(windowed(lambda x, t: -3 * x, 8, 3)(x, t), -3 * x)


def test_windows_fade_linearly() -> None:
    """Two windows of 4 frames that share 2: the second comes in with weights 1/3 and 2/3."""
    marks = iter([0.0, 3.0])
    field = windowed(lambda x, t: torch.full_like(x, next(marks)), 4, 2)
    faded = field(torch.zeros(1, 1, 6, 1, 1), torch.ones(1)).flatten()
    torch.testing.assert_close(faded, torch.tensor([0.0, 0, 1, 2, 3, 3]))


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 40), overlap=st.integers(0, 39), extra=st.integers(0, 150))
def test_windows_cover_the_video_and_overlap_enough(frames: int, overlap: int, extra: int) -> None:
    overlap = min(overlap, frames - 1)
    starts = window_starts(frames + extra, frames, overlap)
    strides = [b - a for a, b in pairwise(starts)]
    assert starts[0] == 0
    assert starts[-1] == extra
    assert all(0 < stride <= frames - overlap for stride in strides)
    assert len(starts) == 1 + math.ceil(extra / (frames - overlap))


# ---- churn --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPS)
def test_no_churn_is_the_deterministic_step(process: Process, name: str) -> None:
    grid, x = process.grid(8), torch.linspace(-1, 1, 5)[:, None]
    step = churned(STEPS[name], process, Churn(amount=0), grid, partial(noise_like, (1,), range(5)))
    assert torch.equal(
        integrate(gaussian(process), x, grid, step),
        integrate(gaussian(process), x, grid, STEPS[name]),
    )


def test_churn_raises_the_noise_level_of_the_right_marginal(process: Process) -> None:
    """x_t of Gaussian data has mean alpha mean and variance alpha^2 std^2 + t^2; after too."""
    grid, n, visited = process.grid(10), 200_000, []
    churn = Churn(amount=100, inflation=1.0)
    fresh = partial(noise_like, (n,), [7])

    def probe(field, x, t, t_next, past=None):
        visited.append((x, t))
        return x, None

    for t in grid.tolist()[2:8]:
        alpha = process.alpha(t)
        x0, noise = noise_like((n,), [1]) * STD + MEAN, noise_like((n,), [2])
        churned(probe, process, churn, grid, fresh)(
            gaussian(process), alpha * x0 + t * noise, t, 0.0, None
        )
        x, t_hat = visited[-1]
        alpha = process.alpha(t_hat)
        assert t_hat > t
        std = math.sqrt(alpha**2 * STD**2 + t_hat**2)
        assert x.std().item() == pytest.approx(std, rel=0.01)
        assert x.mean().item() == pytest.approx(alpha * MEAN, abs=0.02 * std)


@pytest.mark.parametrize(("name", "tolerance"), [("exact", 0.012), ("heun", 0.03)])
def test_churned_sampling_keeps_the_data_distribution(
    process: Process, name: str, tolerance: float
) -> None:
    """With exact steps only the finite sample is left as an error: churn itself has no bias."""
    n, grid = 50_000, process.grid(64)

    def exact(field, x, t, t_next, past=None):
        return transported(process, x, t, t_next), None

    churn, fresh = Churn(amount=32, inflation=1.0), partial(noise_like, (n,), [3])
    step = exact if name == "exact" else STEPS[name]
    x = begin(process, fresh(0), process.t_max)
    x0 = integrate(gaussian(process), x, grid, churned(step, process, churn, grid, fresh))
    assert x0.mean().item() == pytest.approx(MEAN, abs=tolerance * STD)
    assert x0.std().item() == pytest.approx(STD, rel=tolerance)
    plain = integrate(gaussian(process), x, grid, step)
    assert torch.corrcoef(torch.cat([x0, plain]))[0, 1] < 0.5  # another draw, not the same one


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


def test_longer_videos_are_sampled_in_windows(process: Process) -> None:
    lengths = []
    net = network(process, Counted(gaussian(process)))

    def short(x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        lengths.append(x.shape[2])
        return net(x, t, cond)

    plan = SamplingPlan(5, "heun", overlap=2)
    long = sample(short, process, Condition(), (1, 13, 2, 2), [3], plan, frames=6)
    assert set(lengths) == {6}
    whole = sample(net, process, Condition(), (1, 13, 2, 2), [3], plan)
    torch.testing.assert_close(long, whole, rtol=1e-4, atol=1e-4)


def test_plan_chooses_the_negative_branch() -> None:
    cond = Condition(ef=torch.tensor([55.0]), frame=torch.ones(1, 1, 2, 2))
    assert SamplingPlan().negative_of(cond).frame.sum() == 0  # type: ignore[union-attr]
    only_ef = SamplingPlan(negative=("ef",)).negative_of(cond)
    assert only_ef.frame is cond.frame
    assert only_ef.ef.isnan().all()  # type: ignore[union-attr]


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplingPlan(steps=0), "steps must be at least 1; got 0."),
        (lambda: SamplingPlan(solver="huen"), "Did you mean heun?"),
        (lambda: SamplingPlan(scale=-1), "scale must be a number >= 0"),
        (lambda: SamplingPlan(scale=math.nan), "got nan."),
        (lambda: SamplingPlan(negative=("efs",)), "Did you mean ef?"),
        (lambda: SamplingPlan(start_index=25), "start_index must be in [0, 24] for 25 steps"),
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


# ---- golden traces ------------------------------------------------------------------------------


def golden(name: str) -> tuple[dict[str, Tensor], dict]:
    path = GOLDEN / f"{name}.safetensors"
    if not path.exists():
        pytest.skip("golden data are not beside this checkout")
    from safetensors.torch import load_file

    return load_file(path), json.loads(path.with_suffix(".json").read_text())


def test_golden_guided_euler_step() -> None:
    """The branch velocities follow from scales 0 and 1; scale 2 must then follow from them."""
    data, about = golden("sampling.tiny")
    grid, noise = RectifiedFlow().grid(about["steps"]), data["noise"]
    torch.testing.assert_close(grid.float(), data["timesteps"])
    first = {s: data[f"first_step.both.scale{s}"] for s in (0, 1, 2)}
    negative, cond = ((first[s] - noise) / (grid[1] - grid[0]).item() for s in (0, 1))
    field = guided(lambda x, t: cond, lambda x, t: negative, 2.0)
    moved, _ = euler(field, noise, grid[0].item(), grid[1].item())
    torch.testing.assert_close(moved, first[2], **about["tolerance"])


def test_golden_dynamic_threshold() -> None:
    data, about = golden("echodiffusion/edm_math.tiny")
    x0_hat = data["dynamic_threshold.x"]
    t = torch.full((len(x0_hat),), 2.0)
    x = torch.zeros_like(x0_hat)
    v = thresholded(lambda x, t: (x - x0_hat) / over(t, x))(x, t)
    torch.testing.assert_close(x - 2 * v, data["dynamic_threshold.out"], **about["tolerance"])


def test_golden_churn_levels() -> None:
    data, about = golden("echodiffusion/edm_math.tiny")
    for name, schedule in about["schedules"].items():
        churn, steps = Churn(amount=schedule["S_churn"]), schedule["steps"]
        sigma = EDM().grid(steps).tolist()
        gamma = [churn.gamma(s, steps) for s in sigma]
        raised = [EDM().raised(s, g) for s, g in zip(sigma, gamma, strict=True)]
        for key, found in (("gamma", gamma), ("sigma_hat", raised)):
            wanted = data[schedule[key]]
            torch.testing.assert_close(torch.tensor(found), wanted, **about["tolerance"], msg=name)


CLOSED_FORM = ["churn_dynamic", "nochurn_dynamic", "churn_noclamp", "wide_dynamic", "two_steps"]
CLOSED_FORM += ["full_64", "full_32_churn40"]


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_golden_stochastic_heun(name: str) -> None:
    """Every denoiser call and the end of EchoDiffusion's sampler on Gaussian data."""
    data, about = golden("echodiffusion/sampler_closed_form.tiny")
    case = next(case for case in about["cases"] if case["name"] == name)
    plan, noise = case["arguments"], data[case["inputs"]["noise"]]
    mean, std = data["mu"].reshape(1, 3, 1, 1, 1), plan["s"]
    gauss = lambda x, t: (x - mean) * over(t / (t**2 + std**2), x)  # noqa: E731
    field = Counted(thresholded(gauss) if plan["clamp"] else gauss)
    grid = EDM(sigma_data=plan["sigma_data"]).grid(plan["steps"])
    churn = Churn(amount=plan["S_churn"])
    step = churned(heun, EDM(), churn, grid, lambda k: noise[k])
    end = integrate(field, begin(EDM(), noise[0], grid[0].item()), grid, step)
    found = {
        "final": (end.clamp(-1, 1) + 1) / 2,
        "calls_x": torch.stack([x for x, _, _ in field.asked]),
        "calls_D": torch.stack([x - over(t, x) * v for x, t, v in field.asked]),
        "calls_sigma": torch.stack([t[0] for _, t, _ in field.asked]),
    }
    for key, about_output in case["outputs"].items():
        wanted = data[about_output["key"]]
        torch.testing.assert_close(found[key], wanted, **about["tolerance"])
