"""What a flow model does now, on one sheet: few steps, no guidance, the same noise every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.data.pixels import to_uint8
from echoflow.latents import LatentSpace, LatentStats
from echoflow.networks import zoo
from echoflow.process import Process
from echoflow.sampling import SamplingPlan, sample
from echoflow.types import Batch, InputError

PLAN = SamplingPlan(steps=8, solver="multistep", scale=1.0)
EFS = (20.0, 50.0, 80.0)
COLUMNS = 8


def space_of(decoder: str | Path, stats: LatentStats) -> LatentSpace:
    """The latents of `stats` and the A-VAE in the folder `decoder`."""
    avae = cast(Any, zoo.load(decoder))
    if type(avae).__name__ != "AutoencoderKL":
        raise InputError(f"decoder {decoder} holds a {type(avae).__name__}; give an A-VAE.")
    if avae.config["latent_channels"] != len(stats.mean):
        raise InputError(
            f"decoder {decoder} makes latents of {avae.config['latent_channels']} channels, the "
            f"data have {len(stats.mean)}; give the A-VAE that encoded them."
        )
    return LatentSpace(avae, stats)


@torch.no_grad()
def anatomies(
    net: nn.Module, process: Process, batch: Batch, space: LatentSpace | None
) -> np.ndarray:
    """Masks, recorded anatomies, and generated ones of the same masks and views, uint8 (h, w)."""
    some = min(COLUMNS, len(batch.x))
    cond = batch.cond.select(slice(some))
    made = _sampled(net, process, cond, batch.x.shape[1:], range(some))
    rows = [shown(z, space) for z in (batch.x[:some], made)]
    if cond.mask is not None:
        mask = F.interpolate(cond.mask[:, :1].float(), rows[0].shape[1:])[:, 0]
        rows.insert(0, (160 * mask).byte())
    return rearrange(torch.stack(rows), "r n h w -> (r h) (n w)").numpy()


@torch.no_grad()
def sweep(net: nn.Module, process: Process, batch: Batch, space: LatentSpace | None) -> np.ndarray:
    """A recorded clip, and its anatomy animated at every one of `EFS`, a row each, uint8 (h, w).

    The first column is the anatomy, the others are evenly spaced in time.
    """
    n = len(EFS)
    first = batch.cond.select(slice(1))
    frame = torch.zeros_like(batch.x[:1, :, 0]) if first.frame is None else first.frame
    cond = Condition(ef=torch.tensor(EFS), frame=frame.repeat(n, 1, 1, 1))
    made = _sampled(net, process, cond, batch.x.shape[1:], [0] * n)
    clips = torch.cat([batch.x[:1], made])
    moments = torch.linspace(0, clips.shape[2] - 1, COLUMNS - 1).round().long()
    tall = frame[:, :, None].repeat(1 + n, 1, 1, 1, 1)
    columns = torch.cat([tall, clips[:, :, moments]], dim=2)
    pixels = shown(rearrange(columns, "r c t h w -> (r t) c h w"), space)
    return rearrange(pixels, "(r t) h w -> (r h) (t w)", r=1 + n).numpy()


def shown(z: Tensor, space: LatentSpace | None) -> Tensor:
    """Latents (n, c, h, w) as pixels; without a decoder, their first channel enlarged, +-3 std."""
    if space is not None:
        return space.decode(z).cpu()
    return to_uint8(F.interpolate(z[:, :1] / 3, scale_factor=4.0))[:, 0].cpu()


def _sampled(
    net: nn.Module, process: Process, cond: Condition, shape: Sequence[int], seeds: Sequence[int]
) -> Tensor:
    device = next(net.parameters()).device
    made = sample(net, process, cond.to(device), shape, seeds, PLAN, device=device)
    return made.cpu()
