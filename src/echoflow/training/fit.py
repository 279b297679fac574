"""The only training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from echoflow.data.stream import BatchStream, Share
from echoflow.networks import zoo
from echoflow.networks.recompute import recompute
from echoflow.training import averages as powers
from echoflow.training import best, checkpoint, folder
from echoflow.training.checkpoint import Average
from echoflow.training.draws import Draws
from echoflow.training.optimisers import learning_rate, optimisers
from echoflow.training.recipes import Engine, Recipe
from echoflow.training.stopping import leaving, stoppable
from echoflow.training.task import Logs, Task
from echoflow.types import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from echoflow.data.clips import Source

Progress = Callable[[int, Logs], None]
"""(step, numbers logged)."""


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


@dataclass
class Clock:
    """How fast it goes: examples per second, and the share of the time spent waiting for data."""

    batch: int
    started: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    steps: int = 0

    def read(self) -> Logs:
        """The figures since the last start."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        return {"samples/s": self.steps * self.batch / seconds, "waiting": self.waited / seconds}

    def restart(self) -> None:
        """Count from now on, so that validation does not count."""
        self.started, self.waited, self.steps = time.monotonic(), 0.0, 0


def fit(
    task: Task,
    source: Source,
    recipe: Recipe,
    run: str | Path,
    resume: bool = False,
    progress: Progress = lambda step, logs: None,
    fingerprint: str = "",
) -> Path:
    """Train `task` as the recipe's engine says; returns the run folder, described in `folder`.

    Ctrl-C and SIGTERM end the step and save a checkpoint before the process leaves. Every random
    number follows from (seed, step, row of the global batch): an interrupted run that is resumed
    ends with the bits of an uninterrupted one, and the number of processes does not matter.
    `fingerprint` is that of the data; a resumed run must have the same.
    """
    run, engine = Path(run), recipe.engine
    accelerator = _accelerator(engine, run)
    main = accelerator.is_main_process
    with ExitStack() as stack:
        if main:
            stack.enter_context(folder.held(run))
            folder.begin(run, recipe, fingerprint, resume)
        accelerator.wait_for_everyone()
        players, first = _players(task, engine, accelerator, run if resume else None)
        share = (accelerator.process_index, accelerator.num_processes)
        stream = BatchStream(source, engine.batch, engine.seed, *share)
        log = folder.Metrics(run / folder.METRICS, first) if main else None
        accelerator.init_trackers("tensorboard")
        asked = stack.enter_context(stoppable())
        clock, step = Clock(engine.batch), first
        for batch in _timed(_shares(stream, first, engine), clock):
            logs = _step(task, players, batch, step, engine, accelerator)
            step, clock.steps = step + 1, clock.steps + 1
            stop = _agreed(asked(), accelerator)
            last = step == engine.steps
            if step % engine.validate_every == 0 or last:
                logs |= clock.read()
                logs |= _validated(task, players, main, run, step, engine)
                clock.restart()
            if log is not None:
                log.add(step, logs)
                accelerator.log(logs, step)
                progress(step, logs)
            if main and engine.snapshot_every and (step % engine.snapshot_every == 0 or last):
                for name, player in players.items():
                    powers.keep(run, name, step, player.powers)
            if main and (step % engine.checkpoint_every == 0 or last or stop):
                _save(run, step, players)
            if stop:
                raise leaving(stop)
        if main:
            _finish(run, players)
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.wait_for_everyone()
    return run


def _accelerator(engine: Engine, run: Path) -> Accelerator:
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # a former run of this process may have had another precision
    alone = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return Accelerator(
        cpu=alone,  # without this, processes on a CPU would not find each other
        mixed_precision=engine.precision if engine.precision != "fp32" else "no",
        # a released video transformer has queries that its single token never needs
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        log_with=list(engine.report_to) or None,
        project_dir=run if engine.report_to else None,
    )


def _players(
    task: Task, engine: Engine, accelerator: Accelerator, resumed: Path | None
) -> tuple[dict[str, Player], int]:
    """Every player ready to move, and the step to go on from."""
    nets = dict(task.nets)
    averages = {name: Average(net, engine.ema) for name, net in nets.items()}
    kept = {
        n: powers.tracked(net) for n, net in nets.items() if engine.snapshot_every and _is_kept(net)
    }
    plain = {name: optimisers(net, engine) for name, net in nets.items()}
    first = 0
    if resumed is not None and (found := checkpoint.newest(resumed)) is not None:
        first = checkpoint.read(found, nets, {**averages, **powers.labelled(kept)}, _flat(plain))
    players = {}
    for name, net in nets.items():
        if engine.recompute and _is_kept(net):
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


def _step(
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
        if not math.isfinite(moved["loss"]):
            raise _not_finite(name, step, share)
        norm = accelerator.clip_grad_norm_(player.net.parameters(), engine.clip or math.inf)
        for optimiser in player.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = logs["lr"] * player.rate
            optimiser.step()
        logs |= {f"{name}/{key}": value for key, value in moved.items()}
        logs[f"{name}/grad"] = float(norm or 0.0)
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


def _agreed(asked: int, accelerator: Accelerator) -> int:
    """The signal that any process was sent: all leave after the same step."""
    if accelerator.num_processes == 1:
        return asked
    signals = accelerator.gather(torch.tensor([asked], device=accelerator.device))
    assert isinstance(signals, Tensor)
    return int(signals.max())


def _not_finite(name: str, step: int, share: Share) -> InputError:
    uids = ", ".join(share.batch.uid[:8])
    more = " ..." if len(share.batch.uid) > 8 else ""
    return InputError(
        f"the loss of {name} is not finite at step {step}; the last checkpoint is untouched. Lower "
        f"the learning rate, or check the videos of this batch: {uids}{more}."
    )


def _validated(
    task: Task, players: Mapping[str, Player], main: bool, run: Path, step: int, engine: Engine
) -> Logs:
    """The numbers on the fixed set and, every so often, a picture; the first process does it."""
    if not main:
        return {}
    averaged = {name: player.average.net for name, player in players.items()}
    due = engine.picture_every and (step % engine.picture_every == 0 or step == engine.steps)
    if due and (picture := task.picture(averaged)) is not None:
        _write_picture(run / "pictures" / f"step-{step:07d}.png", picture)
    logs = task.validate(averaged)
    if engine.keep == "best":
        best.keep(run, step, logs, {n: net for n, net in averaged.items() if _is_kept(net)})
    return logs


def _write_picture(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(path)


def _timed(shares: Iterator[Share], clock: Clock) -> Iterator[Share]:
    """The same, with the time that each took to come."""
    while True:
        asked = time.monotonic()
        share = next(shares, None)
        clock.waited += time.monotonic() - asked
        if share is None:
            return
        yield share


def _shares(stream: BatchStream, first: int, engine: Engine) -> Iterator[Share]:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        stream,
        batch_size=None,
        sampler=range(first, engine.steps),
        num_workers=engine.workers,
        prefetch_factor=2 if engine.workers else None,
    )
    return iter(loader)


def _save(run: Path, step: int, players: Mapping[str, Player]) -> None:
    plain = {
        name: {kind: getattr(o, "optimizer", o) for kind, o in player.optimisers.items()}
        for name, player in players.items()
    }
    nets = {name: player.net for name, player in players.items()}
    averages = {name: player.average for name, player in players.items()}
    kept = powers.labelled({name: player.powers for name, player in players.items()})
    checkpoint.write(run, step, nets, {**averages, **kept}, _flat(plain))


def _flat(
    plain: Mapping[str, Mapping[str, torch.optim.Optimizer]],
) -> dict[str, torch.optim.Optimizer]:
    """Optimisers by `player/kind`."""
    return {f"{name}/{kind}": o for name, kinds in plain.items() for kind, o in kinds.items()}


def _finish(run: Path, players: Mapping[str, Player]) -> None:
    for name, player in players.items():
        if _is_kept(player.net):
            zoo.save(best.found(run, name) or player.average.net, run / name)


def _is_kept(net: nn.Module) -> bool:
    """Whether the run is about this network: a critic has done its part."""
    return type(net).__name__ in (*zoo.CLASSES, "AutoencoderKL")
