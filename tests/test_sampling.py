"""Fields and steps: orders of convergence, guidance, windows and churn."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from closed_forms import MEAN, PROCESSES, STD, Counted, gaussian, transported
from hypothesis import given, settings
from hypothesis import strategies as st

from echoflow.condition import Condition, over
from echoflow.fields import guided, guided_at_once, window_starts, windowed
from echoflow.process import Process, RectifiedFlow
from echoflow.sampling import (
    STEPS,
    Churn,
    begin,
    churned,
    heun,
    integrate,
    noise_like,
)

ORDERS = {"euler": 1, "heun": 2, "multistep": 2}
CALLS = {"euler": 10, "heun": 19, "multistep": 10}  # field calls for 10 steps


@pytest.fixture(params=PROCESSES.values(), ids=list(PROCESSES))
def process(request: pytest.FixtureRequest) -> Process:
    return request.param


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
