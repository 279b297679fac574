"""Runs that do not need one another, several at once: small networks leave cores idle.

Each has a process of its own with its share of the cores, which grows as others end. A signal to
the first process ends all of them, every one behind a checkpoint; where it is killed instead, they
save and leave by themselves. They take no Ctrl-C, which a terminal sends to all: the first process
passes it on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from time import sleep

import torch

from echoflow.files import disk_full, is_full
from echoflow.training.fit import Progress
from echoflow.training.recipes import Recipe
from echoflow.training.stages import trained
from echoflow.training.stopping import leaving, stoppable
from echoflow.training.task import Logs
from echoflow.types import InputError

Job = tuple[Recipe, Path]
"""A recipe, and the folder of its run."""
Tell = Callable[[str, int, int], None]
"""(name of the run's folder, done, in all)."""

LOOK = 0.2  # seconds between two looks at who is done


def train_all(jobs: Sequence[Job], at_once: int, tell: Tell = lambda *_: None) -> None:
    """Train, or train on, every run that is not finished, in order, `at_once` of them at a time.

    Which runs share the machine changes no weight beyond the rounding of another number of threads.
    `InputError`: one was refused or has failed, which it says itself; the others have saved.
    """
    if at_once == 1:
        for recipe, run in jobs:
            trained(recipe, run, _telling(run.name, recipe, tell))
        return
    waiting, running, failed = list(jobs), list[_Worker](), list[_Worker]()
    try:
        with stoppable() as asked:
            while (waiting or running) and not asked() and not failed:
                threads = _threads(min(at_once, len(running) + len(waiting)))
                while waiting and len(running) < at_once:
                    running.append(_Worker.start(*waiting.pop(0), threads))
                sleep(LOOK)
                for worker in running:
                    worker.threads.value = threads
                    worker.report(tell)
                codes = [worker.process.exitcode for worker in running]
                failed = [worker for worker, code in zip(running, codes, strict=True) if code]
                running = [w for w, code in zip(running, codes, strict=True) if code is None]
            if stop := asked():
                raise leaving(stop)
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.process.join()
    if failed:
        raise InputError(
            f"the training of {failed[0].name} has ended, "
            f"{_why(failed[0].process.exitcode or 0)}; the others have saved a checkpoint. The "
            "same command goes on."
        )


def _threads(parts: int) -> int:
    """Of a run that has one of so many parts of the cores."""
    return max(1, torch.get_num_threads() // parts)


def _why(code: int) -> str:
    """What an exit code tells of the end of a process."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "killed from outside, as the system does where memory runs out (train fewer at once)"
    if number > 0:
        return f"by the signal {signal.strsignal(number)}"
    return "with the message above"


@dataclass
class _Worker:
    """A run in a process of its own; memory that both share holds its steps and its threads."""

    name: str
    recipe: Recipe
    process: SpawnProcess
    step: Synchronized[int]
    threads: Synchronized[int]
    told: int = 0

    @classmethod
    def start(cls, recipe: Recipe, run: Path, threads: int) -> _Worker:
        """A process that begins with so many threads."""
        context = get_context("spawn")
        step, share = context.Value("i", 0), context.Value("i", threads)
        process = context.Process(target=_work, args=(recipe, run, step, share, os.getpid()))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()  # which hears of no Ctrl-C while it does not know what to do about it
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return cls(run.name, recipe, process, step, share)

    def report(self, tell: Tell) -> None:
        """Pass on how far it is, if that is further than before."""
        now = self.step.value
        if now > self.told:
            self.told = now
            tell(self.name, now, self.recipe.engine.steps)


def _work(
    recipe: Recipe, run: Path, step: Synchronized[int], threads: Synchronized[int], parent: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    torch.set_num_threads(threads.value)

    def progress(done: int, logs: Logs) -> None:
        step.value = done
        if torch.get_num_threads() != threads.value:
            torch.set_num_threads(threads.value)
        if os.getppid() != parent:
            signal.raise_signal(signal.SIGTERM)

    try:
        trained(recipe, run, progress)
    except InputError as error:
        sys.exit(f"{run.name}: {error}")
    except (MemoryError, torch.OutOfMemoryError):
        sys.exit(f"{run.name}: memory is full; train fewer at once.")
    except OSError as error:
        kept = "checkpoints that are whole stay"
        full = disk_full(run, run.resolve(), kept) if is_full(error) else None
        sys.exit(f"{run.name}: {full or f'{error}; {kept}.'}")


def _telling(name: str, recipe: Recipe, tell: Tell) -> Progress:
    return lambda step, logs: tell(name, step, recipe.engine.steps)
