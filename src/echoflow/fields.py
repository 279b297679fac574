"""Fields made from fields, for every process: guidance, windows over longer videos, thresholds.

A `Field` is dx/dt; `sampling` carries a sample along it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.process import Field, Network, Process
from echoflow.types import InputError


def guided(cond: Field, negative: Field, scale: float) -> Field:
    """Classifier-free guidance, v_neg + scale (v_cond - v_neg) (EchoFlow eq. 16-18).

    Scale 0 is the negative field and 1 the conditional one, each exactly, with one call per step.
    """
    if scale == 0:
        return negative
    if scale == 1:
        return cond

    def field(x: Tensor, t: Tensor) -> Tensor:
        v = negative(x, t)
        return v + scale * (cond(x, t) - v)

    return field


def guided_at_once(
    process: Process,
    net: Network,
    cond: Condition,
    negative: Condition,
    scale: float,
    times: Sequence[float] = (),
) -> Field:
    """`guided`, with both branches in one call of the network on twice the batch.

    What the network needs at `times` is computed at once.
    """
    if scale in (0, 1):
        return process.field(net, cond if scale == 1 else negative, times)
    both = process.field(net, Condition.cat([negative, cond]), times)

    def field(x: Tensor, t: Tensor) -> Tensor:
        v, v_cond = both(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
        return v + scale * (v_cond - v)

    return field


def windowed(field: Field, frames: int, overlap: int) -> Field:
    """A field of `frames` frames made to fit longer videos (b, c, t, h, w).

    Windows are spread evenly and share at least `overlap` frames, over which one fades linearly
    into the next: the weights of every frame sum to 1. A video of `frames` frames is one call.
    """
    return windowed_by(lambda start: field, frames, overlap)


def windowed_by(at: Callable[[int], Field], frames: int, overlap: int) -> Field:
    """The same where windows differ: `at(start)` is the field of the one from frame `start` on.

    That is so under a condition that runs along time itself.
    """
    if not 0 <= overlap < frames:
        raise InputError(
            f"overlap must be in [0, {frames - 1}] for {frames} frames; got {overlap}."
        )

    def wide(x: Tensor, t: Tensor) -> Tensor:
        first, *rest = window_starts(x.shape[2], frames, overlap)
        v = at(first)(x[:, :, first : first + frames], t)
        for start in rest:
            v = _crossfade(v, at(start)(x[:, :, start : start + frames], t), start)
        return v

    return wide


def window_starts(length: int, frames: int, overlap: int) -> list[int]:
    """First frames of the fewest windows that cover `length` and overlap enough, spread evenly."""
    if length < frames:
        raise InputError(f"the video has {length} frames; the model needs at least {frames}.")
    last = length - frames
    strides = math.ceil(last / (frames - overlap))
    return [0, *(k * last // strides for k in range(1, strides + 1))]


def _crossfade(left: Tensor, right: Tensor, start: int) -> Tensor:
    """`right` laid over `left` from frame `start` on, faded in over the frames they share."""
    shared = left.shape[2] - start
    weight = torch.arange(1, shared + 1, device=left.device, dtype=left.dtype) / (shared + 1)
    blend = torch.lerp(left[:, :, start:], right[:, :, :shared], weight.reshape(-1, 1, 1))
    return torch.cat([left[:, :, :start], blend, right[:, :, shared:]], dim=2)


def thresholded(field: Field, quantile: float | None = 0.95) -> Field:
    """Dynamic thresholding of x0_hat (Saharia et al. 2022, sec. 2.3), as EchoDiffusion samples.

    Each sample is clamped to +-q and divided by q: its `quantile` of |x0_hat|, but at least 1. The
    static kind, without a quantile, clamps to +-1.
    """

    def tamed(x: Tensor, t: Tensor) -> Tensor:
        x0 = x - over(t, x) * field(x, t)
        if quantile is None:
            return (x - x0.clamp(-1, 1)) / over(t, x)
        q = over(x0.abs().flatten(1).quantile(quantile, dim=1).clamp(min=1), x0)
        return (x - x0.clamp(-q, q) / q) / over(t, x)

    return tamed
