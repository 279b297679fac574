"""One process of a job: trains a tiny task of `test_fit` into a folder. Run by torchrun."""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
from test_fit import TASKS, Noise, recipe

from echoflow.cli.failures import explain
from echoflow.networks import zoo
from echoflow.networks.heads import ReIdConfig
from echoflow.training.downstream import ReIdTask
from echoflow.training.fit import fit
from echoflow.training.options import ReIdOptions
from echoflow.training.task import Task
from echoflow.types import Batch


class Pairs(Noise):
    """Noise as pairs of frames."""

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        one = super().batch(index, rng)
        return Batch(one.x, type(one.cond)(), one.uid)


def reid_task() -> Task:
    torch.manual_seed(0)
    held = [Pairs((2, 4, 16, 16)).batch(np.arange(4), np.random.default_rng(1))]
    return ReIdTask(zoo.build(ReIdConfig(4, 16, 2)), ReIdOptions(), held)


EVERYTHING = {**TASKS, "reid": (reid_task, (2, 4, 16, 16), "net")}


def main(stage: str, run: str, dies_at: int) -> None:
    """`dies_at` is the step after which the second process ends without a word."""
    torch.set_num_threads(1)
    build, shape, _ = EVERYTHING[stage]
    source = Pairs(shape) if stage == "reid" else Noise(shape)

    # where a gradient is zero but for rounding, AdamW makes whole steps of the rounding
    slow = recipe(stage).changed(["engine.lr=5e-5"])

    if dies_at and os.environ.get("RANK") == "1":
        batch = source.batch

        def fatal(index: np.ndarray, rng: np.random.Generator) -> Batch:
            source.read = getattr(source, "read", 0) + 1  # type: ignore[attr-defined]
            if source.read > 2 * dies_at:  # type: ignore[attr-defined]
                os._exit(9)
            return batch(index, rng)

        source.batch = fatal  # type: ignore[method-assign]
    try:
        fit(build(), source, slow, run)
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        sys.exit(f"echoflow: {sentence}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
