"""Training the flow-matching models: anatomies (LIFM) and videos (LVFM) (EchoFlow eq. 8-15)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.latents import LatentSpace
from echoflow.process import RectifiedFlow
from echoflow.training import pictures
from echoflow.training.draws import Draws
from echoflow.training.options import FlowOptions
from echoflow.training.task import Logs, Loss
from echoflow.types import Batch, InputError


class FlowTask:
    """One player, `net`, that predicts the velocity; conditions are dropped independently.

    `space` decodes what pictures show; without it they show latents.
    """

    rates: Mapping[str, float] = {}

    def __init__(
        self,
        net: nn.Module,
        options: FlowOptions,
        held_out: Sequence[Batch],
        space: LatentSpace | None = None,
    ) -> None:
        if options.stills > 0 and held_out[0].x.ndim == 4:
            raise InputError("flow.stills takes videos apart, and this model makes images; set 0.")
        self.nets: dict[str, nn.Module] = {"net": net}
        self.process = process_of(options)
        self.options = options
        self.held_out = held_out
        self.space = space

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        x, net = batch.x, self.nets[player]
        cond = noisy_frame(batch.cond, self.options.frame_noise, rng)
        cond = cond.dropped(self.options.chances, rng.generators(len(x)))
        noise, u = self._draw(x, rng)
        noise = with_offset(noise, self.options.noise_offset, rng)
        logs = {}
        if self.options.stills > 0:
            logs["stills"] = float(due(step, self.options.stills))
        if due(step, self.options.stills):
            x, noise, u, cond = apart(x, noise, u, cond, grain(net))
        t = self.process.times(u).to(x.device)
        error = self.process.error(net, x, noise, t, cond)
        fine = error.square().mean()
        if self.options.coarse == 0:
            return Loss(fine, logs)
        shared = coarse(error, self.options.coarse_cells)
        return Loss(fine + self.options.coarse * shared, {**logs, "fine": fine.item()})

    def _draw(self, x: Tensor, rng: Draws) -> tuple[Tensor, Tensor]:
        """Noise, and what times are made of, spread evenly over the batch."""
        return rng.normal(x), rng.even()

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
            noise, u = self._draw(x, rng)
            t = self.process.times(u).to(x.device)
            right = float(self.process.loss(net, x, noise, t, cond).mean())
            sums["val/loss"] += right / len(self.held_out)
            if cond.ef is not None:
                swapped = type(cond)(ef=cond.ef.flip(0), frame=cond.frame)
                wrong = float(self.process.loss(net, x, noise, t, swapped).mean())
                sums["val/ef"] += (wrong - right) / len(self.held_out)
        return sums

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        """Anatomies under their masks, or one heart at several EF; see `pictures`."""
        net, first = averaged["net"], self.held_out[0]
        if self.space is not None:
            avae: Any = self.space.avae
            avae.to(next(net.parameters()).device)
        draw = pictures.anatomies if first.x.ndim == 4 else pictures.sweep
        return draw(net, self.process, first, self.space)


def process_of(options: FlowOptions) -> RectifiedFlow:
    """The rectified flow of a recipe; training and sampling share its time shift."""
    return RectifiedFlow(shift=options.shift, training_times=options.times)


def noisy_frame(cond: Condition, std: float, rng: Draws) -> Condition:
    """The anatomy with Gaussian noise, so that the model copies less of its grain."""
    if std == 0 or cond.frame is None:
        return cond
    return replace(cond, frame=cond.frame + std * rng.normal(cond.frame))


def with_offset(noise: Tensor, std: float, rng: Draws) -> Tensor:
    """Noise (b, c, ...) shifted by one random number for each channel of each sample.

    As in the released lineage, so its variance is 1 + std^2 in training and 1 in sampling.
    """
    if std == 0:
        return noise
    shift = rng.normal(noise.flatten(2)[..., 0])
    return noise + std * shift.reshape(*shift.shape, *[1] * (noise.ndim - 2))


def coarse(error: Tensor, cells: tuple[int, int, int]) -> Tensor:
    """The mean square of local means of an error (b, c, [t,] h, w), times the cells of each.

    Of an error without correlation it is the mean square itself; an error that neighbours share, as
    of a wall in the wrong place, counts for up to as many times as there are `cells` (frames, rows,
    columns). Any such weighting keeps the best velocity where it was and changes what a small
    network learns first.
    """
    video = error if error.ndim == 5 else error[:, :, None]
    kernel = (min(cells[0], video.shape[2]), *cells[1:])
    return math.prod(kernel) * F.avg_pool3d(video, kernel).square().mean()


def due(step: int, share: float) -> bool:
    """Whether a step is among those, evenly spread, that make up a share of all."""
    return math.floor((step + 1) * share) > math.floor(step * share)


def apart(
    x: Tensor, noise: Tensor, u: Tensor, cond: Condition, grain: int
) -> tuple[Tensor, Tensor, Tensor, Condition]:
    """Clips as many shortest clips of `grain` frames, each with the condition of its whole.

    Joint training on images and videos (Ho et al. 2022, section 3): nothing is attended to along
    time, and many more times are seen at once. Every piece has the place of a first frame, so this
    is for windows cut at random, not for gated loops.
    """
    n = x.shape[2] // grain
    pieces = "b c (n o) h w -> (b n) c o h w"
    times = (u[:, None] + torch.arange(n) / n) % 1.0
    x, noise = (rearrange(part, pieces, o=grain) for part in (x, noise))
    return x, noise, times.flatten(), cond.repeat(n)


def grain(net: nn.Module) -> int:
    """Frames of the shortest clip that a video network takes: those of one token."""
    patch = getattr(net.config, "patch", (1,))
    return patch[0]
