"""From noise to data: steps and the loop that joins them, seeds and plans, for every process.

A `Step` crosses one interval of the grid along a field; `churned` makes a step from a step.
`integrate` runs a step down a grid. Guidance, windows and thresholds are in `fields`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from echoflow.condition import NULLS, Condition
from echoflow.fields import guided_at_once, thresholded, windowed_by
from echoflow.process import Field, Network, Process
from echoflow.types import InputError, check_ef, choose

Past = tuple[float, Tensor] | None
"""What a step leaves to the next one: the time and the velocity it started from."""

Moved = tuple[Tensor, Past]
Step = Callable[[Field, Tensor, float, float, Past], Moved]
"""(field, x at t, t, t_next, past) -> (x at t_next, new past). Pure: all memory is in `past`."""

Noise = Callable[[int], Tensor]
"""Unit noise (b, ...): 0 is that of the start, 1 + k that of step k of the grid."""

ALIKE = 0.1  # how far apart, in shares of the steps, two starts count as one
DESCENT = 2**32 - 1  # keeps the seeds of later stages apart from the streams of noise


# ---- steps --------------------------------------------------------------------------------------


def euler(field: Field, x: Tensor, t: float, t_next: float, past: Past = None) -> Moved:
    """First order, one call (EDM algorithm 1, line 5; for both processes the same as DDIM)."""
    v = field(x, _time(t, x))
    return x + (t_next - t) * v, (t, v)


def heun(field: Field, x: Tensor, t: float, t_next: float, past: Past = None) -> Moved:
    """Second order, two calls; one at the last step: no field is asked for t = 0 (EDM alg. 1)."""
    v = field(x, _time(t, x))
    ahead = x + (t_next - t) * v
    if t_next == 0:
        return ahead, (t, v)
    v_next = field(ahead, _time(t_next, x))
    return x + (t_next - t) * (v + v_next) / 2, (t, v)


def multistep(field: Field, x: Tensor, t: float, t_next: float, past: Past = None) -> Moved:
    """Second order, one call: Adams-Bashforth 2 on any grid; the first step is Euler.

    It goes along the parabola whose slope is v now and was v_past one step ago.
    """
    v = field(x, _time(t, x))
    if past is None:
        return x + (t_next - t) * v, (t, v)
    t_past, v_past = past
    slope = (v - v_past) / (t - t_past)
    return x + (t_next - t) * (v + (t_next - t) / 2 * slope), (t, v)


STEPS: Mapping[str, Step] = {"euler": euler, "heun": heun, "multistep": multistep}


@dataclass(frozen=True)
class Churn:
    """Fresh noise while sampling (EDM algorithm 2, table 5; values of EchoDiffusion and Free-Echo).

    `amount` is S_churn; `low` and `high` bound the noise-to-signal ratio t / alpha(t) at which
    noise is added (S_tmin, S_tmax); `inflation` is S_noise.
    """

    amount: float = 80.0
    low: float = 0.05
    high: float = 50.0
    inflation: float = 1.003

    def __post_init__(self) -> None:
        inflated = math.isfinite(self.inflation) and self.inflation > 0
        if not (self.amount >= 0 and 0 <= self.low <= self.high and inflated):
            raise InputError(f"churn needs amount >= 0, low <= high and inflation > 0; got {self}.")

    def gamma(self, ratio: float, steps: int) -> float:
        """Relative rise of the noise level at one step of `steps`, at most sqrt(2) - 1."""
        return min(self.amount / steps, math.sqrt(2) - 1) if self.low <= ratio <= self.high else 0.0


def churned(step: Step, process: Process, churn: Churn, grid: Tensor, noise: Noise) -> Step:
    """`step` from a raised noise level (EDM algorithm 2, lines 4-6), for any process.

    x_t / alpha is data plus noise of ratio r = t / alpha. Raising r to r' adds noise of variance
    r'^2 - r^2, and x is scaled to the new alpha. `grid` is the whole grid, also when the run starts
    later; the noise of a step is asked only where it is used. A velocity from before the noise
    belongs to another path and is forgotten.
    """
    index = {t: k for k, t in enumerate(grid.tolist())}

    def kicked(field: Field, x: Tensor, t: float, t_next: float, past: Past = None) -> Moved:
        alpha = process.alpha(t)
        gamma = churn.gamma(t / alpha, len(grid) - 1) if alpha > 0 else 0.0
        if gamma == 0:
            return step(field, x, t, t_next, past)
        t_hat = process.raised(t, gamma)
        scale = process.alpha(t_hat) / alpha
        spread = churn.inflation * math.sqrt(t_hat**2 - (scale * t) ** 2)
        return step(field, scale * x + spread * noise(1 + index[t]).to(x), t_hat, t_next, None)

    return kicked


# ---- the loop -----------------------------------------------------------------------------------


def integrate(field: Field, x: Tensor, grid: Tensor, step: Step = euler) -> Tensor:
    """x carried from grid[0] to grid[-1]. The grid stays in float64 on the CPU, x as it came."""
    past: Past = None
    for t, t_next in pairwise(grid.tolist()):
        x, past = step(field, x, t, t_next, past)
    return x


def _time(t: float, x: Tensor) -> Tensor:
    """t as (b,): float32, or float64 for a float64 x."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.full((len(x),), t, dtype=dtype, device=x.device)


def noise_like(shape: Sequence[int], seeds: Sequence[int], stream: int = 0) -> Tensor:
    """Unit Gaussian noise (b, *shape), float32 on the CPU; sample i depends on seeds[i] alone.

    Another `stream` of the same seed is independent. NumPy's generator draws, because torch's keeps
    only 32 bits of a seed, and its first values change with the shape.
    """
    if any(seed < 0 for seed in seeds):
        raise InputError(f"seeds must be non-negative whole numbers; got {min(seeds)}.")
    keys = [np.random.SeedSequence(int(seed), spawn_key=(stream,)) for seed in seeds]
    draws = [np.random.Generator(np.random.PCG64(key)) for key in keys]
    noise = [torch.from_numpy(rng.standard_normal(tuple(shape), np.float32)) for rng in draws]
    return torch.stack(noise) if noise else torch.empty(0, *shape)


def descended(seeds: Sequence[int], key: int) -> list[int]:
    """A new seed from each, whose noise is unrelated: for the next stage of a cascade."""
    keys = (np.random.SeedSequence(int(seed), spawn_key=(DESCENT, key)) for seed in seeds)
    return [int(one.generate_state(1, np.uint64)[0]) for one in keys]


@dataclass(frozen=True)
class SamplingPlan:
    """How to sample; a value that goes into recipes and reports.

    `negative` names the fields that are null in the negative branch of guidance; None means all.
    With `negative_ef` that branch asks for an EF of its own instead: guidance then leads away from
    a heart that beats too little, which scales the motion, and not from the mean heart.
    `start_index` k > 0 starts at step k of the grid from a partly noised x0. `overlap`: frames.
    `threshold` is the quantile of dynamic thresholding, see `thresholded`. `temperature` scales the
    noise of the start: below 1 samples keep closer to what is likeliest (Kingma and Dhariwal 2018).
    """

    steps: int = 25
    solver: str = "multistep"
    scale: float = 1.0
    negative: tuple[str, ...] | None = None
    negative_ef: float | None = None
    churn: Churn | None = None
    start_index: int = 0
    overlap: int = 8
    threshold: float | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        choose(self.solver, STEPS, "solver")
        for name in self.negative or ():
            choose(name, NULLS, "condition field")
        if self.steps < 1:
            raise InputError(f"steps must be at least 1; got {self.steps}.")
        if not 0 <= self.start_index < self.steps:
            raise InputError(
                f"start_index must be in [0, {self.steps - 1}] for {self.steps} steps; "
                f"got {self.start_index}."
            )
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise InputError(
                f"scale must be a number >= 0 (0: negative only, 1: no guidance); got {self.scale}."
            )
        if self.churn is not None and self.solver == "multistep":
            raise InputError('churn needs a one-step solver; use "heun" or "euler".')
        if self.negative_ef is not None:
            check_ef(self.negative_ef)
        if self.overlap < 0:
            raise InputError(f"overlap must be at least 0 frames; got {self.overlap}.")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise InputError(f"threshold must be a quantile in (0, 1]; got {self.threshold}.")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature must be a number above 0; got {self.temperature}.")

    def guides_like(self, other: SamplingPlan) -> bool:
        """Whether both lead away from the same thing, equally far, from a start alike."""
        begun = self.start_index / self.steps - other.start_index / other.steps
        own = (self.scale, self.negative, self.negative_ef, self.temperature)
        theirs = (other.scale, other.negative, other.negative_ef, other.temperature)
        return own == theirs and abs(begun) <= ALIKE

    def tuned(
        self,
        steps: int | None = None,
        scale: float | None = None,
        solver: str | None = None,
        start: int | None = None,
    ) -> SamplingPlan:
        """The plan with what is given; the multistep solver takes no churn.

        With other `steps` alone it starts after the same share of them.
        """
        share = self.start_index / self.steps
        steps = steps or self.steps
        return replace(
            self,
            steps=steps,
            start_index=min(round(share * steps), steps - 1) if start is None else start,
            scale=self.scale if scale is None else scale,
            solver=solver or self.solver,
            churn=None if solver == "multistep" else self.churn,
        )

    def negative_of(self, cond: Condition) -> Condition:
        """The condition of the negative branch."""
        other = cond.without(*(NULLS if self.negative is None else self.negative))
        if self.negative_ef is None or cond.ef is None:
            return other
        return replace(other, ef=torch.full_like(cond.ef, self.negative_ef))


def begin(process: Process, noise: Tensor, t: float, x0: Tensor | None = None) -> Tensor:
    """The first x_t: alpha(t) x0 + t noise, or t noise without x0 (SDEdit, Meng et al. 2022)."""
    return t * noise if x0 is None else process.alpha(t) * x0.to(noise) + t * noise


@torch.no_grad()
def sample(
    net: Network,
    process: Process,
    cond: Condition,
    shape: Sequence[int],
    seeds: Sequence[int],
    plan: SamplingPlan,
    start: Tensor | None = None,
    frames: int | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """x0 (b, *shape), float32: sample i from seeds[i] and condition i.

    `start` (b, *shape) is the x0 to begin from at `plan.start_index`. `frames` is what the network
    was trained on; a longer `shape` is done in windows.
    """
    _check_request(cond, shape, seeds, plan, start)
    noise = partial(noise_like, shape, seeds)
    return from_noise(net, process, cond, lambda k: noise(k).to(device), plan, start, frames)


@torch.no_grad()
def from_noise(
    net: Network,
    process: Process,
    cond: Condition,
    noise: Noise,
    plan: SamplingPlan,
    start: Tensor | None = None,
    frames: int | None = None,
) -> Tensor:
    """`sample` with noise of any origin, which also says how many samples of which shape."""
    grid = process.grid(plan.steps)
    x = begin(process, plan.temperature * noise(0), grid[plan.start_index].item(), start)
    field = _field(net, process, cond, plan, grid[plan.start_index : -1].tolist(), x, frames)
    step = STEPS[plan.solver]
    if plan.churn is not None:
        step = churned(step, process, plan.churn, grid, noise)
    return integrate(field, x, grid[plan.start_index :], step)


def _field(
    net: Network,
    process: Process,
    cond: Condition,
    plan: SamplingPlan,
    times: Sequence[float],
    x: Tensor,
    frames: int | None,
) -> Field:
    """The field that a plan asks for: guided, in windows where x is longer, thresholded."""

    def of(cond: Condition) -> Field:
        return guided_at_once(process, net, cond, plan.negative_of(cond), plan.scale, times)

    if frames is None or x.shape[2] == frames:
        field = of(cond)
    elif cond.lowres is None:
        whole = of(cond)
        field = windowed_by(lambda start: whole, frames, plan.overlap)
    else:
        part = cache(lambda start: of(cond.between(start, start + frames)))
        field = windowed_by(part, frames, plan.overlap)
    return field if plan.threshold is None else thresholded(field, plan.threshold)


def _check_request(
    cond: Condition,
    shape: Sequence[int],
    seeds: Sequence[int],
    plan: SamplingPlan,
    start: Tensor | None,
) -> None:
    if cond.present() and len(cond) != len(seeds):
        raise InputError(f"{len(seeds)} seeds for {len(cond)} conditions; give one seed each.")
    if plan.start_index > 0 and start is None:
        raise InputError(f"start_index {plan.start_index} needs a start, the x0 to begin from.")
    if start is not None and start.shape != (len(seeds), *shape):
        raise InputError(
            f"the start has shape {tuple(start.shape)}; it must be {(len(seeds), *shape)}."
        )
