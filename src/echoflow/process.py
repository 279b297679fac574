"""How data becomes noise, and what a network's output means.

One convention for all: `t` is the noise coefficient, `x_t = alpha(t) x0 + t noise`. Data is t = 0.
Rectified flow has alpha = 1 - t on [0, 1]; EDM has alpha = 1 on [0, 80] (its sigma is our t). Both
then share the same ODE,

    dx/dt = v = (x_t - x0_hat) / t,        x0_hat = x_t - t v,

so everything in `sampling` is written once, for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.types import InputError, choose

Time = TypeVar("Time", float, Tensor)
Field = Callable[[Tensor, Tensor], Tensor]
"""(x_t (b, ...), t (b,)) -> dx/dt, shaped like x_t."""


class Network(Protocol):
    """Every backbone, image or video, ours or foreign. `t` is float32 (b,)."""

    def __call__(self, x: Tensor, t: Tensor, cond: Condition, /) -> Tensor: ...


class Process(Protocol):
    """A way from data to noise: t runs from 0 to `t_max`."""

    @property
    def t_max(self) -> float: ...

    def alpha(self, t: Time) -> Time:
        """The data coefficient at noise coefficient t."""
        ...

    def raised(self, t: float, gamma: float) -> float:
        """The time at which the noise-to-signal ratio t / alpha(t) is 1 + gamma times that of t."""
        ...

    def times(self, u: Tensor) -> Tensor:
        """Training times from `u` uniform in [0, 1); float32 in, float32 out."""
        ...

    def grid(self, steps: int) -> Tensor:
        """Sampling times t_max ... 0: float64, `steps` intervals, so `steps` + 1 values."""
        ...

    def field(self, net: Network, cond: Condition, times: Sequence[float] = ()) -> Field:
        """The probability-flow velocity of a network under one condition.

        What the network needs at `times`, the ones that will be asked, is computed at once.
        """
        ...

    def denoised(self, net: Network, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """x0_hat, the network's estimate of the data."""
        ...

    def error(self, net: Network, x0: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """What training makes small, float32 like x0: the output of the network less its target."""
        ...

    def loss(self, net: Network, x0: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """Training loss of each sample, float32 (b,): the mean square of its error."""
        ...


@runtime_checkable
class Preparable(Protocol):
    """A network that computes once per sample what does not change over the sampling steps."""

    def prepare(self, cond: Condition, times: Tensor) -> Field: ...


def bound(net: Network, cond: Condition, times: Tensor) -> Field:
    """A network under one condition, prepared for `times` (n,) if it can be."""
    if isinstance(net, Preparable):
        return net.prepare(cond, times)
    return lambda x, t: net(x, t, cond)


def corrupt(process: Process, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha(t) x0 + t noise, with one t per sample."""
    t = over(t, x0)
    return process.alpha(t) * x0 + t * noise


@dataclass(frozen=True)
class RectifiedFlow:
    """Straight lines from data to noise (EchoFlow sec. 3; Liu et al. 2022): v = noise - x0.

    `shift` > 1 spends more times near the noise, t -> s t / (1 + (s - 1) t), in training and in
    the grid alike (Esser et al. 2024, eq. 23); "logit-normal" draws t = sigmoid(n) before it.
    The released code trains with v = (1 - e) noise - x0 and e = 1e-5; here, as in the paper, e = 0.
    """

    shift: float = 1.0
    training_times: Literal["uniform", "logit-normal"] = "uniform"

    def __post_init__(self) -> None:
        _positive(shift=self.shift)
        choose(self.training_times, ("uniform", "logit-normal"), "time distribution")

    @property
    def t_max(self) -> float:
        return 1.0

    def alpha(self, t: Time) -> Time:
        return 1 - t

    def raised(self, t: float, gamma: float) -> float:
        return (1 + gamma) * t / (1 + gamma * t)

    def times(self, u: Tensor) -> Tensor:
        t = torch.sigmoid(normal_quantile(u)) if self.training_times == "logit-normal" else u
        return self._shifted(t)

    def grid(self, steps: int) -> Tensor:
        return self._shifted(torch.linspace(1, 0, _count(steps) + 1, dtype=torch.float64))

    def field(self, net: Network, cond: Condition, times: Sequence[float] = ()) -> Field:
        call = bound(net, cond, torch.tensor(times, dtype=torch.float32))
        return lambda x, t: call(x, t).to(x.dtype)

    def denoised(self, net: Network, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return x - over(t, x) * net(x, t, cond)

    def error(self, net: Network, x0: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> Tensor:
        v = net(corrupt(self, x0, noise, t), t, cond)
        return v.float() - (noise - x0).float()

    def loss(self, net: Network, x0: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return _mean_square(self.error(net, x0, noise, t, cond))

    def _shifted(self, t: Tensor) -> Tensor:
        return self.shift * t / (1 + (self.shift - 1) * t)


@dataclass(frozen=True)
class EDM:
    """Variance exploding noise with the preconditioning of Karras et al. 2022 (table 1, "Ours").

    D(x; t) = c_skip x + c_out F(c_in x, c_noise), where F is the network. Written out with
    S = sqrt(t^2 + sigma_data^2), the velocity is v = t x / S^2 - sigma_data F / S, without the 0/0
    of (x - D) / t. EchoDiffusion uses sigma_data 0.25, Free-Echo 0.5.
    """

    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    p_mean: float = -1.2
    p_std: float = 1.2

    def __post_init__(self) -> None:
        _positive(sigma_data=self.sigma_data, sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        _positive(rho=self.rho, p_std=self.p_std)
        if not math.isfinite(self.p_mean):
            raise InputError(f"p_mean must be a number; got {self.p_mean}.")
        if not self.sigma_min < self.sigma_max:
            raise InputError(
                f"sigma_min must be below sigma_max; got {self.sigma_min} and {self.sigma_max}."
            )

    @property
    def t_max(self) -> float:
        return self.sigma_max

    def alpha(self, t: Time) -> Time:
        return 1 + 0 * t

    def raised(self, t: float, gamma: float) -> float:
        return (1 + gamma) * t

    def times(self, u: Tensor) -> Tensor:
        """Log-normal noise levels (Karras et al., table 1: ln sigma ~ N(p_mean, p_std^2))."""
        return torch.exp(self.p_mean + self.p_std * normal_quantile(u))

    def grid(self, steps: int) -> Tensor:
        """Karras et al. eq. 5: `steps` levels from sigma_max to sigma_min, then 0."""
        ramp = torch.linspace(0, 1, _count(steps), dtype=torch.float64)
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        grid = torch.cat([(high + ramp * (low - high)) ** self.rho, ramp.new_zeros(1)])
        grid[0] = self.sigma_max
        return grid

    def field(self, net: Network, cond: Condition, times: Sequence[float] = ()) -> Field:
        call = bound(net, cond, _c_noise(torch.tensor(times, dtype=torch.float32)))

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            scale = self._scale(over(t, x))
            f = call(x / scale, _c_noise(t)).to(x.dtype)
            return over(t, x) / scale**2 * x - self.sigma_data / scale * f

        return velocity

    def denoised(self, net: Network, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        scale = self._scale(over(t, x))
        c_skip, c_out = (self.sigma_data / scale) ** 2, over(t, x) * self.sigma_data / scale
        return c_skip * x + c_out * self._raw(net, x, t, cond)

    def error(self, net: Network, x0: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """Karras et al. eq. 2 with lambda = 1 / c_out^2, which leaves a plain MSE on F.

        The target (x0 - c_skip x_t) / c_out is (t / sigma_data x0 - sigma_data noise) / S.
        """
        f = self._raw(net, corrupt(self, x0, noise, t), t, cond)
        ratio = over(t, x0) / self.sigma_data
        target = (ratio * x0 - self.sigma_data * noise) / self._scale(over(t, x0))
        return f.float() - target.float()

    def loss(self, net: Network, x0: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return _mean_square(self.error(net, x0, noise, t, cond))

    def _scale(self, t: Tensor) -> Tensor:
        return (t**2 + self.sigma_data**2).sqrt()

    def _raw(self, net: Network, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return net(x / self._scale(over(t, x)), _c_noise(t), cond)


def _c_noise(t: Tensor) -> Tensor:
    """ln(t) / 4, what a network of EDM is told of t."""
    return t.clamp(min=1e-20).log() / 4


def normal_quantile(u: Tensor) -> Tensor:
    """Standard normal values from uniform ones; the tails end at +-5.3, as float32 u do."""
    edge = 2.0**-24
    return torch.special.ndtri(u.clamp(edge, 1 - edge))


def _mean_square(error: Tensor) -> Tensor:
    return error.square().flatten(1).mean(1)


def _count(steps: int) -> int:
    if steps < 1:
        raise InputError(f"steps must be at least 1; got {steps}.")
    return steps


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number; got {value}.")
