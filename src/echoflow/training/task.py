"""What the training loop needs to know about a model: a `Task`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor, nn

from echoflow.types import Batch

Logs = dict[str, float]


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, and numbers to log beside it."""

    value: Tensor
    logs: Logs


class Task(Protocol):
    """One or more players, each with its own optimiser, and how to score them.

    `nets` are the players by name, in the order in which they move at every step; the loop replaces
    them by their distributed wrappers, so a task always calls `self.nets[name]`. `rates` is the
    share of the recipe's learning rate that a player gets, 1 where it is not named.
    """

    nets: dict[str, nn.Module]
    rates: Mapping[str, float]

    def loss(self, player: str, batch: Batch, step: int, rng: Generator) -> Loss | None:
        """The loss of a player on a batch; None if it does not move at this step."""
        ...

    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Numbers from the averaged networks on a fixed set; deterministic."""
        ...
