"""The networks in training: how each one is wrapped, averaged and moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from echoflow.data.stream import Share
from echoflow.networks import zoo
from echoflow.networks.recompute import recompute
from echoflow.training import averages as powers
from echoflow.training import checkpoint
from echoflow.training.checkpoint import Average
from echoflow.training.draws import Draws
from echoflow.training.optimisers import learning_rate, optimisers
from echoflow.training.recipes import Engine
from echoflow.training.task import Logs, Task
from echoflow.types import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator


class Move(nn.Module):
    """A player's loss as a module: whatever a task computes is inside what is distributed."""

    def __init__(self, task: Task, player: str) -> None:
        super().__init__()
        self.net = task.nets[player]
        self._loss, self._player = task.loss, player
        self.logs: Logs = {}

    def forward(self, share: Share, step: int, rng: Draws) -> Tensor:
        loss = self._loss(self._player, share.batch, step, rng)
        self.logs = loss.logs
        return loss.value.float()


@dataclass
class Player:
    """A network in training: its loss as accelerate wraps it, its average, its optimisers."""

    move: Move
    distributed: nn.Module
    average: Average
    powers: tuple[powers.PowerAverage, ...]
    optimisers: dict[str, torch.optim.Optimizer]
    rate: float

    @property
    def net(self) -> nn.Module:
        """The bare network."""
        return self.move.net


def prepared(
    task: Task, engine: Engine, accelerator: Accelerator, resumed: Path | None
) -> tuple[dict[str, Player], int]:
    """Every player ready to move, and the step to go on from."""
    nets = dict(task.nets)
    averages = {name: Average(net, engine.ema) for name, net in nets.items()}
    kept = {
        n: powers.tracked(net) for n, net in nets.items() if engine.snapshot_every and is_kept(net)
    }
    plain = {name: optimisers(net, engine) for name, net in nets.items()}
    first = 0
    if resumed is not None and (found := checkpoint.newest(resumed)) is not None:
        first = checkpoint.read(found, nets, {**averages, **powers.labelled(kept)}, flat(plain))
    players = {}
    for name, net in nets.items():
        if engine.recompute and is_kept(net):
            recompute(net)
        if engine.compile:
            net.compile()
        move = Move(task, name)
        for average in (averages[name], *kept.get(name, ())):
            average.net.to(accelerator.device)
        prepared = accelerator.prepare(move)
        theirs = {kind: accelerator.prepare(one) for kind, one in plain[name].items()}
        rate = task.rates.get(name, 1.0)
        players[name] = Player(move, prepared, averages[name], kept.get(name, ()), theirs, rate)
    return players, first


def step_of(
    task: Task,
    players: Mapping[str, Player],
    share: Share,
    step: int,
    engine: Engine,
    accelerator: Accelerator,
) -> Logs:
    """One update of every player that moves, and of all averages."""
    share = share.to(accelerator.device)
    logs: Logs = {"lr": learning_rate(engine, step)}
    for name in task.players(step):
        player = players[name]
        for optimiser in player.optimisers.values():
            optimiser.zero_grad()
        moved = _gradients(name, player, share, step, engine, accelerator)
        norm = accelerator.clip_grad_norm_(player.net.parameters(), engine.clip or math.inf)
        moved["grad"] = float(norm or 0.0)
        for what, key in {"loss": "loss", "gradient": "grad"}.items():
            if not math.isfinite(moved[key]):
                raise _not_finite(f"{what} of {name}", step, share)
        for optimiser in player.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = logs["lr"] * player.rate
            optimiser.step()
        logs |= {f"{name}/{key}": value for key, value in moved.items()}
    for player in players.values():
        for average in (player.average, *player.powers):
            average.update(player.net, step)
    return logs


def _gradients(
    name: str, player: Player, share: Share, step: int, engine: Engine, accelerator: Accelerator
) -> Logs:
    """The gradients of the whole batch, part by part, and what was logged, averaged."""
    parts = share.parts(engine.micro)
    logs: Logs = {}
    for number, part in enumerate(parts, 1):
        rng = Draws(engine.seed, step, part.rows, engine.batch, name)
        weight = len(part.rows) / len(share.rows)
        quiet = nullcontext() if number == len(parts) else accelerator.no_sync(player.distributed)
        with quiet:
            rng.seed_layers()
            loss = player.distributed(part, step, rng)
            accelerator.backward(loss * weight)
        for key, value in {**player.move.logs, "loss": loss.item()}.items():
            logs[key] = logs.get(key, 0.0) + weight * value
    return _averaged(logs, accelerator)


def _averaged(logs: Logs, accelerator: Accelerator) -> Logs:
    """The mean of every number over the processes."""
    if accelerator.num_processes == 1:
        return logs
    keys = sorted(logs)
    values = torch.tensor([logs[key] for key in keys], device=accelerator.device)
    mean = accelerator.reduce(values, "mean")
    assert isinstance(mean, Tensor)
    return dict(zip(keys, mean.tolist(), strict=True))


def _not_finite(what: str, step: int, share: Share) -> InputError:
    uids = ", ".join(share.batch.uid[:8])
    more = " ..." if len(share.batch.uid) > 8 else ""
    return InputError(
        f"the {what} is not finite at step {step}; the last checkpoint is untouched. Lower "
        f"the learning rate, or check the videos of this batch: {uids}{more}."
    )


def flat(
    plain: Mapping[str, Mapping[str, torch.optim.Optimizer]],
) -> dict[str, torch.optim.Optimizer]:
    """Optimisers by `player/kind`."""
    return {f"{name}/{kind}": o for name, kinds in plain.items() for kind, o in kinds.items()}


def is_kept(net: nn.Module) -> bool:
    """Whether the run is about this network: a critic has done its part."""
    return type(net).__name__ in (*zoo.CLASSES, "AutoencoderKL")
