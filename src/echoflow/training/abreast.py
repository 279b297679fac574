"""Runs that do not need one another, several at once: small networks leave cores idle.

Each has a process of its own with its share of the cores. A signal to the first process ends all of
them, every one behind a checkpoint; where it is killed instead, they save and leave by themselves.
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

from echoflow.training.fit import Progress
from echoflow.training.recipes import Recipe
from echoflow.training.stages import trained
from echoflow.training.stopping import leaving, stoppable
from echoflow.types import InputError

Job = tuple[Recipe, Path]
"""A recipe, and the folder of its run."""
Tell = Callable[[str, int, int], None]
"""(what, done, in all)."""

LOOK = 0.2  # seconds between two looks at who is done


def train_all(jobs: Sequence[Job], at_once: int, tell: Tell = lambda *_: None) -> None:
    """Train, or train on, every run that is not finished, in order, `at_once` of them at a time.

    Which runs share the machine changes no weight beyond the rounding of another number of threads.
    `InputError`: one was refused or has failed, which it says itself; the others have saved.
    """
    if at_once == 1:
        for recipe, run in jobs:
            trained(recipe, run, _telling(recipe, tell))
        return
    waiting, running, failed = list(jobs), list[_Worker](), list[_Worker]()
    try:
        with stoppable() as asked:
            while (waiting or running) and not asked() and not failed:
                while waiting and len(running) < at_once:
                    running.append(_Worker.start(*waiting.pop(0), at_once))
                sleep(LOOK)
                for worker in running:
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
            f"the training of stage {failed[0].recipe.stage} has ended, with the message above; "
            "the others have saved a checkpoint. The same command goes on."
        )


@dataclass
class _Worker:
    """A run in a process of its own, which counts its steps in shared memory."""

    recipe: Recipe
    process: SpawnProcess
    step: Synchronized[int]
    told: int = 0

    @classmethod
    def start(cls, recipe: Recipe, run: Path, at_once: int) -> _Worker:
        context = get_context("spawn")
        step = context.Value("i", 0)
        threads = max(1, torch.get_num_threads() // at_once)
        process = context.Process(target=_work, args=(recipe, run, threads, step, os.getpid()))
        process.start()
        return cls(recipe, process, step)

    def report(self, tell: Tell) -> None:
        """Pass on how far it is, if that is further than before."""
        now = self.step.value
        if now > self.told:
            self.told = now
            tell(self.recipe.stage, now, self.recipe.engine.steps)


def _work(recipe: Recipe, run: Path, threads: int, step: Synchronized[int], parent: int) -> None:
    torch.set_num_threads(threads)

    def progress(done: int, total: int) -> None:
        step.value = done
        if os.getppid() != parent:
            signal.raise_signal(signal.SIGTERM)

    try:
        trained(recipe, run, _telling(recipe, lambda stage, done, total: progress(done, total)))
    except InputError as error:
        sys.exit(f"{recipe.stage}: {error}")


def _telling(recipe: Recipe, tell: Tell) -> Progress:
    return lambda step, logs: tell(recipe.stage, step, recipe.engine.steps)
