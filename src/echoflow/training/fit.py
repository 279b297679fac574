"""The only training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from echoflow.data.stream import BatchStream, Sent, Share, received
from echoflow.files import atomic_file
from echoflow.networks import zoo
from echoflow.training import averages as powers
from echoflow.training import best, checkpoint, folder
from echoflow.training.players import Player, flat, is_kept, prepared, step_of
from echoflow.training.recipes import Engine, Recipe
from echoflow.training.stopping import leaving, stoppable
from echoflow.training.task import Logs, Task

if TYPE_CHECKING:
    from accelerate import Accelerator

    from echoflow.data.clips import Source

Progress = Callable[[int, Logs], None]
"""(step, numbers logged)."""


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

    Ctrl-C and SIGTERM end the step and save a checkpoint before the process leaves; from the last
    step on they let the run finish first. Every random number follows from (seed, step, row of the
    global batch): an interrupted run that is resumed ends with the bits of an uninterrupted one,
    and the number of processes does not matter. `fingerprint` is that of the data; a
    resumed run must have the same.
    """
    run, engine = Path(run), recipe.engine
    accelerator = _accelerator(engine, run)
    main = accelerator.is_main_process
    with ExitStack() as stack:
        if main:
            stack.enter_context(folder.held(run))
            folder.begin(run, recipe, fingerprint, resume)
        accelerator.wait_for_everyone()
        players, first = prepared(task, engine, accelerator, run if resume else None)
        share = (accelerator.process_index, accelerator.num_processes)
        stream = BatchStream(source, engine.batch, engine.seed, *share)
        log = folder.Metrics(run / folder.METRICS, first) if main else None
        accelerator.init_trackers("tensorboard")
        asked = stack.enter_context(stoppable())
        clock, step = Clock(engine.batch), first
        for batch in _timed(_shares(stream, first, engine), clock):
            logs = step_of(task, players, batch, step, engine, accelerator)
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
            if stop and not last:
                raise leaving(stop)
        if main:
            _finish(run, players)
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.wait_for_everyone()
        if stop := _agreed(asked(), accelerator):
            raise leaving(stop)
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


def _agreed(asked: int, accelerator: Accelerator) -> int:
    """The signal that any process was sent: all leave after the same step."""
    if accelerator.num_processes == 1:
        return asked
    signals = accelerator.gather(torch.tensor([asked], device=accelerator.device))
    assert isinstance(signals, Tensor)
    return int(signals.max())


def _validated(
    task: Task, players: Mapping[str, Player], main: bool, run: Path, step: int, engine: Engine
) -> Logs:
    """The numbers on the fixed set and, every so often, a picture; the first process does it."""
    if not main:
        return {}
    averaged = {name: player.average.net for name, player in players.items()}
    due = engine.picture_every and (step % engine.picture_every == 0 or step == engine.steps)
    if due and (picture := task.picture(averaged)) is not None:
        write_picture(run / "pictures" / f"step-{step:07d}.png", picture)
    logs = task.validate(averaged)
    if engine.keep == "best":
        best.keep(run, step, logs, {n: net for n, net in averaged.items() if is_kept(net)})
    return logs


def write_picture(path: Path, picture: np.ndarray) -> None:
    """A PNG file of a grey or colour picture, complete or absent."""
    from PIL import Image

    with atomic_file(path) as work:
        Image.fromarray(picture).save(work)


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
    """The batches of all steps, each made while the step before it runs."""
    steps = range(first, engine.steps)
    if engine.workers:
        from torch.utils.data import DataLoader

        yield from map(
            received,
            DataLoader(
                Sent(stream),
                batch_size=None,
                sampler=steps,
                num_workers=engine.workers,
                prefetch_factor=2,
            ),
        )
        return
    with ThreadPoolExecutor(1, "batches") as maker:
        made: Future[Share] | None = None
        for step in steps:
            made = made or maker.submit(stream.__getitem__, step)
            share = made.result()
            more = step + 1 < engine.steps
            made = maker.submit(stream.__getitem__, step + 1) if more else None
            yield share


def _save(run: Path, step: int, players: Mapping[str, Player]) -> None:
    plain = {
        name: {kind: getattr(o, "optimizer", o) for kind, o in player.optimisers.items()}
        for name, player in players.items()
    }
    nets = {name: player.net for name, player in players.items()}
    averages = {name: player.average for name, player in players.items()}
    kept = powers.labelled({name: player.powers for name, player in players.items()})
    checkpoint.write(run, step, nets, {**averages, **kept}, flat(plain))


def _finish(run: Path, players: Mapping[str, Player]) -> None:
    for name, player in players.items():
        if is_kept(player.net):
            zoo.save(best.found(run, name) or player.average.net, run / name)
