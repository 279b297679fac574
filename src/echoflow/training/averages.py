"""Averages of the weights whose length is chosen after training (Karras et al. 2024, EDM2).

Two averages with power-function profiles are tracked, and snapshots of both kept in the run folder.
The profile of any other length is then a least-squares combination of the snapshots' profiles, and
the same combination of the snapshots is its average. `sigma_rel` is the standard deviation of a
profile as a share of the training time so far: 0.10 looks back about a tenth of it.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from echoflow.files import atomic_file
from echoflow.types import InputError

FOLDER = "snapshots"
LENGTHS = (0.05, 0.10)  # sigma_rel of the averages that are tracked, as in EDM2
LONGEST = 12**-0.5  # sigma_rel of the plain mean of all weights
KEPT = torch.float16  # rounds 8 times finer than bfloat16, and combining amplifies what it rounds
WORST = 0.25  # relative error of a profile from which an average is refused

Values = NDArray[np.floating[Any]]


class PowerAverage:
    """Average after t updates whose weight for the update k <= t is proportional to k^gamma.

    Its decay is (1 - 1/t)^(gamma + 1), so the first update forgets the initial weights. Buffers
    are those of the network.
    """

    def __init__(self, net: nn.Module, sigma_rel: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.sigma_rel, self.gamma = sigma_rel, exponent(sigma_rel)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights of `net` after its update number `step`, counted from 0."""
        weight = 1.0 - (1.0 - 1.0 / (step + 1)) ** (self.gamma + 1.0)
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), weight)
        for mine, theirs in zip(self.net.buffers(), net.buffers(), strict=True):
            mine.copy_(theirs)


def tracked(net: nn.Module) -> tuple[PowerAverage, ...]:
    """The averages from which others are made afterwards."""
    return tuple(PowerAverage(net, sigma_rel) for sigma_rel in LENGTHS)


def labelled(players: Mapping[str, Sequence[PowerAverage]]) -> dict[str, PowerAverage]:
    """The averages of all players by a name of their own, such as net@0.050."""
    return {f"{name}@{one.sigma_rel:.3f}": one for name, each in players.items() for one in each}


def exponent(sigma_rel: float) -> float:
    """The gamma of a profile of relative width `sigma_rel`, in (0, 0.2887): the largest root of

    sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)).
    """
    if not 0.0 < sigma_rel < LONGEST:
        raise InputError(
            f"sigma_rel must lie between 0 and {LONGEST:.4f}, the mean of all weights; "
            f"got {sigma_rel}."
        )
    inverse = sigma_rel**-2
    return float(np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse]).real.max())


def combination(times: Sequence[float], gammas: Sequence[float], gamma: float) -> Values:
    """The weights (n,) that make profiles of `gammas` at `times` the one of `gamma` at the last.

    Least squares in closed form (EDM2, algorithm 3), under the condition that the weights sum to 1:
    free ones sum to 0.987 for 20 snapshots and sigma_rel 0.25, and would shrink the network by it.
    """
    t, g, n = np.asarray(times, np.float64), np.asarray(gammas, np.float64), len(times)
    system = np.zeros((n + 1, n + 1))  # stationarity of the Lagrangian, then the condition
    system[:n, :n] = overlap(t[:, None], g[:, None], t, g)
    system[n, :n] = system[:n, n] = 1.0
    aim = np.append(overlap(t, g, t[-1], gamma), 1.0)
    return np.linalg.lstsq(system, aim, rcond=None)[0][:n]


def overlap(
    ta: Values | float, ga: Values | float, tb: Values | float, gb: Values | float
) -> Values:
    """Integral of the product of two profiles (gamma + 1) s^gamma / t^(gamma + 1), s in [0, t]."""
    first, last = np.minimum(ta, tb), np.maximum(ta, tb)
    later = np.where(np.asarray(ta) < np.asarray(tb), gb, ga)
    return np.asarray((ga + 1) * (gb + 1) * (first / last) ** later / ((ga + gb + 1) * last))


def mismatch(times: Sequence[float], gammas: Sequence[float], gamma: float, w: Values) -> float:
    """How far the combined profile is from the one that is meant, relative, in the L2 norm."""
    t, g = np.asarray(times, np.float64), np.asarray(gammas, np.float64)
    meant = float(overlap(t[-1], gamma, t[-1], gamma))
    made = float(w @ overlap(t[:, None], g[:, None], t, g) @ w)
    both = float(w @ overlap(t, g, t[-1], gamma))
    return math.sqrt(max(0.0, made - 2 * both + meant) / meant)


@dataclass(frozen=True)
class Snapshot:
    """A tracked average after `step` updates."""

    path: Path
    step: int
    sigma_rel: float


def keep(run: Path, player: str, step: int, averages: Iterable[PowerAverage]) -> None:
    """Write the averages of a player after `step` updates: parameters in float16, buffers as is.

    Each file is complete or absent; a resumed run writes the same bytes again.
    """
    for average in averages:
        own = dict(average.net.named_parameters())
        tensors = {
            name: value.to(KEPT if name in own else None).cpu().contiguous()
            for name, value in average.net.state_dict().items()
        }
        name = f"{player}-{step:07d}-{average.sigma_rel:.3f}.safetensors"
        with atomic_file(run / FOLDER / name) as file:
            save_file(tensors, str(file))


def snapshots(run: str | Path, player: str) -> list[Snapshot]:
    """The snapshots of a player, oldest first."""
    name = re.compile(re.escape(player) + r"-(\d+)-(\d\.\d+)\.safetensors")
    found = [(path, name.fullmatch(path.name)) for path in (Path(run) / FOLDER).glob("*")]
    kept = [Snapshot(path, int(m[1]), float(m[2])) for path, m in found if m]
    return sorted(kept, key=lambda one: (one.step, one.sigma_rel))


def posthoc(
    run: str | Path, player: str, sigma_rel: float, step: int | None = None
) -> dict[str, Tensor]:
    """The average of relative width `sigma_rel` after `step` updates, the last by default.

    A state dict in float32. `InputError`: there are no snapshots, or none of that step, or they are
    too few for such an average.
    """
    gamma = exponent(sigma_rel)
    used = _until(snapshots(run, player), step, f"{run}: player {player}")
    times, gammas = [one.step for one in used], [exponent(one.sigma_rel) for one in used]
    weights = combination(times, gammas, gamma)
    error = mismatch(times, gammas, gamma, weights)
    if error > WORST:
        raise InputError(
            f"{len(set(times))} snapshots until step {times[-1]} do not give sigma_rel {sigma_rel}"
            f" (its profile would be {error:.0%} off); ask for one nearer to "
            f"{LENGTHS[0]} ... {LENGTHS[1]}, or train with a smaller engine.snapshot_every."
        )
    return combined([one.path for one in used], weights)


def _until(found: list[Snapshot], step: int | None, where: str) -> list[Snapshot]:
    """The snapshots up to `step`, which must be one of theirs."""
    if not found:
        raise InputError(
            f"{where} has no snapshots; train with engine.snapshot_every, say a hundredth of the "
            "steps."
        )
    steps = sorted({one.step for one in found})
    last = steps[-1] if step is None else step
    if last not in steps:
        near = ", ".join(map(str, sorted(sorted(steps, key=lambda s: abs(s - last))[:3])))
        raise InputError(f"{where} has no snapshot of step {last}; the nearest are {near}.")
    return [one for one in found if one.step <= last]


def combined(paths: Sequence[Path], weights: Values) -> dict[str, Tensor]:
    """The weighted sum of the parameters in files of `keep`; buffers come from the last one."""
    sums: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for path, weight in zip(paths, weights.tolist(), strict=True):
        for name, value in _tensors(path).items():
            if value.dtype != KEPT:
                buffers[name] = value
            elif name in sums:
                sums[name].add_(value.double(), alpha=weight)
            else:
                sums[name] = weight * value.double()
    return {name: value.float() for name, value in sums.items()} | buffers


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it and resume the run.") from error
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise InputError(f"{path}: {broken[0]} is not finite; remove the file.")
    return tensors
