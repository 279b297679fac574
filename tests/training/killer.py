"""Trains a tiny task in child processes, kills each at a random moment, and lets the last one end.

Usage: python killer.py STAGE RUN KILLS SEED. An undisturbed run lies beside RUN, called `whole`.
Children are forked, so that none has to import torch.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from test_fit import Noise, recipe
from worker import EVERYTHING, Pairs

from echoflow.training.fit import fit
from echoflow.training.recipes import Recipe


def settings(stage: str) -> Recipe:
    return recipe(stage, 60).changed(["engine.checkpoint_every=2", "engine.validate_every=60"])


def train(stage: str, run: Path) -> None:
    torch.set_num_threads(1)
    build, shape, _ = EVERYTHING[stage]
    source = Pairs(shape) if stage == "reid" else Noise(shape)
    fit(build(), source, settings(stage), run, resume=run.exists())


def child(stage: str, run: Path) -> int:
    """The process number of a child that trains."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            train(stage, run)
            code = 0
        finally:
            os._exit(code)
    return pid


def main(stage: str, run: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    start = time.monotonic()
    os.waitpid(child(stage, run.with_name("whole")), 0)
    whole = time.monotonic() - start
    done = cut = 0
    while done < kills:
        pid = child(stage, run)
        wait = rng.uniform(0.0, 2.5 * whole / kills) + 0.1 * whole
        time.sleep(wait)
        if os.waitpid(pid, os.WNOHANG)[0]:  # it was faster: begin again
            print("a run ended between two kills", flush=True)
            break
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        done += 1
        cut += bool(list(run.glob(".checkpoint*")))
    print(f"{done} kills, {cut} of them in the middle of a save", flush=True)
    _, status = os.waitpid(child(stage, run), 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
