"""The only training loop."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch
from torch import nn

from echoflow.data.clips import BatchStream, Source
from echoflow.networks import zoo
from echoflow.training import checkpoint
from echoflow.training.checkpoint import Average
from echoflow.training.recipes import Engine, Recipe
from echoflow.training.task import Logs, Task
from echoflow.types import Batch, InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

Progress = Callable[[int, Logs], None]


def fit(
    task: Task,
    source: Source,
    recipe: Recipe,
    run: str | Path,
    resume: bool = False,
    progress: Progress = lambda step, logs: None,
) -> Path:
    """Train `task` as the recipe's engine says; returns the folder of the averaged networks.

    The run folder gets `recipe.yaml`, `metrics.jsonl`, `checkpoint-<step>` folders and, at the end,
    one folder per player with its averaged weights. Ctrl-C ends the step and saves a checkpoint
    before it leaves.
    """
    from accelerate import Accelerator

    run, engine = Path(run), recipe.engine
    _open_run(run, recipe, resume)
    precision = engine.precision if engine.precision != "fp32" else "no"
    accelerator = Accelerator(mixed_precision=precision)
    nets = dict(task.nets)
    averages = {name: Average(net, engine.ema) for name, net in nets.items()}
    optimisers = {
        f"{name}/{kind}": optimiser
        for name, net in nets.items()
        for kind, optimiser in _optimisers(net, engine).items()
    }
    first = 0
    if resume and (found := checkpoint.checkpoints(run)):
        first = checkpoint.read(found[-1], nets, averages, optimisers)
    for name, net in nets.items():
        if engine.compile:
            net.compile()
        task.nets[name] = accelerator.prepare(net)
        averages[name].net.to(accelerator.device)
    optimisers = {name: accelerator.prepare(optimiser) for name, optimiser in optimisers.items()}
    stream = BatchStream(
        source, engine.batch, engine.seed, accelerator.process_index, accelerator.num_processes
    )
    log = _Log(run / "metrics.jsonl", first)
    step = first

    def save() -> None:
        if accelerator.is_main_process:
            plain = {n: getattr(o, "optimizer", o) for n, o in optimisers.items()}
            checkpoint.write(run, step, nets, averages, plain)

    with _deferred_interrupt() as interrupted:
        for batch in _batches(stream, first, engine):
            logs = _move(task, batch, step, engine, optimisers, accelerator)
            for name, net in nets.items():
                averages[name].update(net, step)
            step += 1
            if step % engine.validate_every == 0 or step == engine.steps:
                logs |= task.validate({name: average.net for name, average in averages.items()})
            log.add(step, logs)
            progress(step, logs)
            if step % engine.checkpoint_every == 0 or step == engine.steps or interrupted():
                save()
            if interrupted():
                raise KeyboardInterrupt
    return _finish(run, averages)


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits until the step is whole: a checkpoint must never hold half an update.

    A second one stops at once, without a checkpoint. A process told to ignore Ctrl-C goes on doing
    so, and outside the main thread nothing changes, because Python allows no handler there.
    """
    asked = threading.Event()
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or former is signal.SIG_IGN:
        yield asked.is_set
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, remember)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, former)


def learning_rate(engine: Engine, step: int) -> float:
    """Linear warm-up, constant, then linear decay to zero over the last share of the steps."""
    warm = min(1.0, (step + 1) / max(engine.warmup, 1))
    tail = max(1, round(engine.decay * engine.steps))
    return engine.lr * warm * min(1.0, (engine.steps - step) / tail)


def _move(
    task: Task,
    batch: Batch,
    step: int,
    engine: Engine,
    optimisers: Mapping[str, torch.optim.Optimizer],
    accelerator: Accelerator,
) -> Logs:
    """One update of every player."""
    batch = Batch(batch.x.to(accelerator.device), batch.cond.to(accelerator.device), batch.uid)
    logs: Logs = {"lr": learning_rate(engine, step)}
    for number, name in enumerate(list(task.nets)):
        key = (engine.seed * 1_000_003 + step) * 17 + number * 7 + accelerator.process_index * 131
        rng = torch.Generator().manual_seed(key % 2**63)
        with accelerator.autocast():
            loss = task.loss(name, batch, step, rng)
        if loss is None:
            continue
        if not math.isfinite(loss.value.item()):
            raise InputError(
                f"the loss of {name} is not finite at step {step}; lower the learning rate or "
                f"check the videos of this batch: {', '.join(batch.uid[:3])} ..."
            )
        accelerator.backward(loss.value)
        norm = accelerator.clip_grad_norm_(task.nets[name].parameters(), engine.clip)
        for key, optimiser in optimisers.items():
            if key.startswith(f"{name}/"):
                for group in optimiser.param_groups:
                    group["lr"] = logs["lr"] * task.rates.get(name, 1.0)
                optimiser.step()
            optimiser.zero_grad()
        logs |= {f"{name}/{key}": value for key, value in loss.logs.items()}
        logs |= {f"{name}/loss": loss.value.item(), f"{name}/grad": float(norm or 0.0)}
    return logs


def _optimisers(net: nn.Module, engine: Engine) -> dict[str, torch.optim.Optimizer]:
    """AdamW for everything, or Muon (Jordan et al. 2024) for the matrices inside and AdamW for the
    rest: embeddings, head, vectors, convolutions."""
    matrices = {n: p for n, p in net.named_parameters() if p.ndim > 1}
    inner = {
        n: p
        for n, p in matrices.items()
        if engine.optimiser == "muon" and p.ndim == 2 and n.startswith("blocks.")
    }
    groups = [
        {
            "params": [p for n, p in matrices.items() if n not in inner],
            "weight_decay": engine.weight_decay,
        },
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    found: dict[str, torch.optim.Optimizer] = {
        "adamw": torch.optim.AdamW(groups, lr=engine.lr, betas=engine.betas, foreach=True)
    }
    if inner:
        found["muon"] = _muon(list(inner.values()), engine)
    return found


def _muon(params: list[nn.Parameter], engine: Engine) -> torch.optim.Optimizer:
    """Muon scaled so that AdamW's learning rate serves both (Liu et al. 2025, section 2.2)."""
    if not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"optimiser muon needs torch >= 2.9, this is {torch.__version__}; use adamw."
        )
    return torch.optim.Muon(params, engine.lr, engine.weight_decay, adjust_lr_fn="match_rms_adamw")


def _batches(stream: BatchStream, first: int, engine: Engine) -> Iterator[Batch]:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        stream,
        batch_size=None,
        sampler=range(first, engine.steps),
        num_workers=engine.workers,
        prefetch_factor=2 if engine.workers else None,
    )
    return iter(loader)


def _open_run(run: Path, recipe: Recipe, resume: bool) -> None:
    """Create or check the run folder and write the resolved recipe."""
    if run.exists() and any(run.iterdir()) and not resume:
        raise InputError(f"folder {run} is not empty; choose another, or resume the run in it.")
    if resume and not checkpoint.checkpoints(run) and run.exists() and any(run.iterdir()):
        raise InputError(f"{run} has no whole checkpoint to resume from; start in a new folder.")
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.yaml").write_text(recipe.to_yaml())


def _finish(run: Path, averages: dict[str, Average]) -> Path:
    for name, average in averages.items():
        if type(average.net).__name__ in (*zoo.CLASSES, "AutoencoderKL"):
            zoo.save(average.net, run / name)
    return run


class _Log:
    """`metrics.jsonl`: one JSON object per step, with the seconds since the start."""

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.start = path, time.monotonic()
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= first]
            path.write_text("".join(f"{line}\n" for line in kept))

    def add(self, step: int, logs: Logs) -> None:
        seconds = round(time.monotonic() - self.start, 2)
        rounded = {key: float(f"{value:.6g}") for key, value in logs.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "seconds": seconds, **rounded}) + "\n")


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62
