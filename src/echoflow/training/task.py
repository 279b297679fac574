"""What the training loop needs to know about a model: a `Task`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from echoflow.training.draws import Draws
from echoflow.types import Batch

Logs = dict[str, float]


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, the mean over the examples it saw, and numbers to log beside it."""

    value: Tensor
    logs: Logs


class Task(Protocol):
    """One or more players, each with its own optimiser, and how to score them.

    `nets` are the players by name; `rates` is the share of the recipe's learning rate that a player
    gets, 1 where it is not named. A loss is a mean over independent examples, so that parts of a
    batch may be computed one after the other or by several processes.
    """

    nets: dict[str, nn.Module]
    rates: Mapping[str, float]

    def players(self, step: int) -> Sequence[str]:
        """Who moves at this step, in order."""
        ...

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        """The loss of a player on a batch."""
        ...

    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Numbers from the averaged networks on a fixed set; deterministic."""
        ...

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        """What the averaged networks do now, uint8 (h, w), for a person to look at; or nothing."""
        ...
