"""Processes: grids, training times, identities between v, noise and x0, and golden values."""

from __future__ import annotations

import pytest
import torch
from closed_forms import golden
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.process import EDM, Process, RectifiedFlow, corrupt, normal_quantile
from echoflow.types import InputError

PROCESSES: dict[str, Process] = {
    "flow": RectifiedFlow(),
    "flow-shifted": RectifiedFlow(shift=3.0),
    "flow-logit": RectifiedFlow(training_times="logit-normal"),
    "edm": EDM(),
    "edm-0.25": EDM(sigma_data=0.25),
}
NONE = Condition()


@pytest.fixture(params=PROCESSES.values(), ids=list(PROCESSES))
def process(request: pytest.FixtureRequest) -> Process:
    return request.param


def triple(process: Process, b: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """x0, noise (b, 4, 3, 2) and t (b,) in float64, t from near data to near noise."""
    rng = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(b, 4, 3, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    return x0, noise, process.t_max * torch.linspace(0.02, 0.98, b, dtype=torch.float64)


def oracle(process: Process, x0: Tensor, noise: Tensor, t: Tensor):
    """The network whose x0_hat is x0 exactly, written in each process's own output."""
    if isinstance(process, EDM):
        d = process.sigma_data
        sigma = over(t, x0)
        c_skip, c_out = d**2 / (sigma**2 + d**2), sigma * d / (sigma**2 + d**2).sqrt()
        output = (x0 - c_skip * (x0 + sigma * noise)) / c_out
    else:
        output = noise - x0
    return lambda x, t, cond: output


# ---- grids and times ----------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 25, 100])
def test_grid_has_exactly_n_intervals_from_t_max_to_0(process: Process, steps: int) -> None:
    grid = process.grid(steps)
    assert grid.dtype == torch.float64
    assert grid.shape == (steps + 1,)
    assert grid[0] == process.t_max
    assert grid[-1] == 0
    assert (grid.diff() < 0).all()


def test_edm_grid_passes_through_sigma_min() -> None:
    assert EDM().grid(18)[-2].item() == pytest.approx(0.002, rel=1e-12)


def test_shift_moves_grid_and_times_alike() -> None:
    plain, shifted = RectifiedFlow(), RectifiedFlow(shift=3.0)
    u = torch.linspace(0, 1, 11)
    expected = 3 * u / (1 + 2 * u)
    torch.testing.assert_close(shifted.times(u), expected)
    torch.testing.assert_close(shifted.grid(10).float(), expected.flip(0))
    torch.testing.assert_close(plain.times(u), u)


def test_times_are_float32_inside_the_process(process: Process) -> None:
    u = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    u[:2] = torch.tensor([0.0, 1.0])
    t = process.times(u)
    assert t.dtype == torch.float32
    assert t.isfinite().all()
    assert (t >= 0).all()
    order = u.argsort()
    assert (t[order].diff() >= 0).all()
    if not isinstance(process, EDM):
        assert (t <= process.t_max).all()


def test_edm_times_are_log_normal() -> None:
    rng = torch.Generator().manual_seed(0)
    log = EDM(p_mean=-1.2, p_std=1.2).times(torch.rand(20000, generator=rng)).log()
    assert log.mean().item() == pytest.approx(-1.2, abs=0.04)
    assert log.std().item() == pytest.approx(1.2, abs=0.03)


def test_logit_normal_times_are_symmetric_and_central() -> None:
    u = torch.rand(20000, generator=torch.Generator().manual_seed(0))
    t = RectifiedFlow(training_times="logit-normal").times(u)
    assert t.mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.logit(t).std().item() == pytest.approx(1.0, abs=0.02)


# ---- identities ---------------------------------------------------------------------------------


def test_velocity_and_data_estimate_say_the_same(process: Process) -> None:
    """v = (x_t - x0_hat) / t, for a network that is no oracle at all."""
    x0, noise, t = triple(process)
    x = corrupt(process, x0, noise, t)
    net = lambda x, t, cond: torch.sin(3 * x) + over(t, x)  # noqa: E731
    v, x0_hat = process.field(net, NONE)(x, t), process.denoised(net, x, t, NONE)
    torch.testing.assert_close(v, (x - x0_hat) / over(t, x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x0_hat, x - over(t, x) * v, rtol=1e-9, atol=1e-9)


def test_oracle_has_no_loss_and_finds_data_and_noise(process: Process) -> None:
    x0, noise, t = triple(process)
    net, x = oracle(process, x0, noise, t), corrupt(process, x0, noise, t)
    torch.testing.assert_close(process.denoised(net, x, t, NONE), x0)
    v = noise if isinstance(process, EDM) else noise - x0
    torch.testing.assert_close(process.field(net, NONE)(x, t), v)
    loss = process.loss(net, x0, noise, t, NONE)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.zeros(len(x0)))


def test_velocity_is_the_time_derivative_of_the_path(process: Process) -> None:
    """d/dt (alpha(t) x0 + t noise); the path is straight, so any difference quotient is exact."""
    x0, noise, t = triple(process)
    net = oracle(process, x0, noise, t)
    later, now = corrupt(process, x0, noise, t + 0.01), corrupt(process, x0, noise, t)
    torch.testing.assert_close(process.field(net, NONE)(now, t), (later - now) / 0.01)


def test_edm_loss_is_the_weighted_denoising_error() -> None:
    """Karras et al. eq. 2: lambda |D - x0|^2, lambda = (t^2 + sd^2) / (t sd)^2."""
    process = EDM(sigma_data=0.25)
    x0, noise, t = triple(process)
    net = lambda x, t, cond: torch.tanh(x)  # noqa: E731
    d = process.denoised(net, corrupt(process, x0, noise, t), t, NONE)
    weight = (t**2 + 0.25**2) / (t * 0.25) ** 2
    expected = weight * (d - x0).square().flatten(1).mean(1)
    torch.testing.assert_close(process.loss(net, x0, noise, t, NONE), expected.float())


def test_flow_loss_is_the_error_of_v() -> None:
    process = RectifiedFlow()
    x0, noise, t = triple(process)
    loss = process.loss(lambda x, t, cond: torch.zeros_like(x), x0, noise, t, NONE)
    torch.testing.assert_close(loss, (noise - x0).square().flatten(1).mean(1).float())


def test_network_sees_unit_variance_under_edm() -> None:
    process, seen = EDM(sigma_data=0.5), []
    rng = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(3, 40000, generator=rng)
    t = torch.tensor([0.01, 1.0, 70.0])
    net = lambda x, t, cond: seen.append((x, t)) or x  # noqa: E731
    process.denoised(net, corrupt(process, x0, torch.randn(3, 40000, generator=rng), t), t, NONE)
    assert seen[0][0].std(1).tolist() == pytest.approx([1, 1, 1], rel=0.02)
    torch.testing.assert_close(seen[0][1], t.log() / 4)


def test_raised_multiplies_the_noise_to_signal_ratio(process: Process) -> None:
    for t in (0.01, 0.3, 0.9):
        higher = process.raised(t, 0.4)
        ratio = higher / process.alpha(higher) * process.alpha(t) / t
        assert ratio == pytest.approx(1.4)
        assert process.raised(t, 0.0) == t


def test_half_precision_networks_leave_state_and_loss_in_float32(process: Process) -> None:
    net = lambda x, t, cond: x.bfloat16()  # noqa: E731
    x0, noise, t = (value.float() for value in triple(process))
    assert process.field(net, NONE)(x0, t).dtype == torch.float32
    assert process.loss(net, x0, noise, t, NONE).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RectifiedFlow(shift=0.0), "shift must be a positive number; got 0.0."),
        (lambda: RectifiedFlow(training_times="uniforn"), "Did you mean uniform?"),  # type: ignore
        (lambda: EDM(sigma_data=-1.0), "sigma_data must be a positive number; got -1.0."),
        (lambda: EDM(sigma_min=90.0), "sigma_min must be below sigma_max; got 90.0 and 80.0."),
        (lambda: EDM().grid(0), "steps must be at least 1; got 0."),
        (lambda: RectifiedFlow().grid(-3), "steps must be at least 1; got -3."),
    ],
)
def test_refusals(make, message: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


# ---- golden values ------------------------------------------------------------------------------


def test_golden_interpolation_and_velocity() -> None:
    data, about = golden("math.tiny")
    process = RectifiedFlow()
    x0, noise, t = data["z0"], data["z1"], data["t"]
    x = corrupt(process, x0, noise, t)
    torch.testing.assert_close(x, data["zt_linear"], **about["tolerance"])
    net = lambda x, t, cond: data["v_linear"]  # noqa: E731
    assert process.loss(net, x0, noise, t, NONE).max() < 1e-10
    torch.testing.assert_close(process.denoised(net, x, t, NONE), x0, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [32, 64])
def test_golden_edm_grid(steps: int) -> None:
    data, about = golden("echodiffusion/edm_math.tiny")
    names = [name for name in data if name.startswith(f"N{steps}") and name.endswith("sigma")]
    for name in names:
        torch.testing.assert_close(EDM().grid(steps).float(), data[name], **about["tolerance"])


def test_golden_edm_preconditioning() -> None:
    """c_in and c_noise as the network sees them; c_skip, c_out from networks 0 and 1."""
    data, about = golden("echodiffusion/edm_math.tiny")
    process, sigma, seen = EDM(sigma_data=0.25), data["coef.sigma"], []
    x = torch.ones(len(sigma), 1)

    def net(value: float):
        return lambda x, t, cond: seen.append((x, t)) or torch.full_like(x, value)

    c_skip = process.denoised(net(0.0), x, sigma, NONE)
    c_out = process.denoised(net(1.0), x, sigma, NONE) - c_skip
    wanted = {name: data[f"coef.{name}"] for name in ("c_in", "c_noise", "c_skip", "c_out")}
    found = {"c_in": seen[0][0][:, 0], "c_noise": seen[0][1]}
    found |= {"c_skip": c_skip[:, 0], "c_out": c_out[:, 0]}
    torch.testing.assert_close(found, wanted, **about["tolerance"])


def test_golden_edm_loss_weight() -> None:
    """The loss of a network whose estimate of the data is off by one everywhere."""
    data, about = golden("echodiffusion/edm_math.tiny")
    process, sigma = EDM(sigma_data=0.25), data["coef.sigma"].double()
    x0, noise = torch.zeros(2, len(sigma), 1, dtype=torch.float64)
    c_out = over(sigma * 0.25 / (sigma**2 + 0.25**2).sqrt(), x0)
    loss = process.loss(lambda x, t, cond: 1 / c_out, x0, noise, sigma, NONE)
    torch.testing.assert_close(loss, data["coef.loss_weight"], **about["tolerance"])


def test_golden_edm_training_levels() -> None:
    data, about = golden("echodiffusion/edm_math.tiny")
    u = torch.special.ndtr(data["noise_distribution.normal"].double())
    t = EDM().times(u).float()
    torch.testing.assert_close(t, data["noise_distribution.sigma"], **about["tolerance"])
    torch.testing.assert_close(normal_quantile(u).float(), data["noise_distribution.normal"])
