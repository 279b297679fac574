"""Training the flow-matching models: anatomies (LIFM) and videos (LVFM) (EchoFlow eq. 8-15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from echoflow.process import RectifiedFlow
from echoflow.training.draws import Draws
from echoflow.training.recipes import FlowOptions
from echoflow.training.task import Logs, Loss
from echoflow.types import Batch


class FlowTask:
    """One player, `net`, that predicts the velocity; conditions are dropped independently."""

    rates: Mapping[str, float] = {}

    def __init__(self, net: nn.Module, options: FlowOptions, held_out: Sequence[Batch]) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.process = process_of(options)
        self.options = options
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        cond = batch.cond.dropped(self.options.chances, rng.generators(len(batch.x)))
        noise, t = self._draw(batch.x, rng)
        losses = self.process.loss(self.nets[player], batch.x, noise, t, cond)
        return Loss(losses.mean(), {})

    def _draw(self, x: Tensor, rng: Draws) -> tuple[Tensor, Tensor]:
        """Noise and times; the times are spread evenly over the batch."""
        return rng.normal(x), self.process.times(rng.even()).to(x.device)

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Mean loss on fixed batches, noise and times; for videos also with a wrong EF.

        `val/ef` is how much worse the loss is when every sample is told another one's EF: zero
        means that the EF is ignored.
        """
        net = averaged["net"]
        device = next(net.parameters()).device
        sums = {"val/loss": 0.0, "val/ef": 0.0}
        for number, batch in enumerate(self.held_out):
            rng = Draws(0, number, range(len(batch.x)), len(batch.x))
            x, cond = batch.x.to(device), batch.cond.to(device)
            noise, t = self._draw(x, rng)
            right = float(self.process.loss(net, x, noise, t, cond).mean())
            sums["val/loss"] += right / len(self.held_out)
            if cond.ef is not None:
                swapped = type(cond)(ef=cond.ef.flip(0), frame=cond.frame)
                wrong = float(self.process.loss(net, x, noise, t, swapped).mean())
                sums["val/ef"] += (wrong - right) / len(self.held_out)
        return sums

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        return None


def process_of(options: FlowOptions) -> RectifiedFlow:
    """The rectified flow of a recipe; training and sampling share its time shift."""
    return RectifiedFlow(shift=options.shift, training_times=options.times)
