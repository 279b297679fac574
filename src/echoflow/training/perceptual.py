"""LPIPS (Zhang et al. 2018) as a loss: how different two images look to VGG16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from echoflow.metrics.lpips import Lpips
from echoflow.types import InputError

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Images (b, 1 or 3, h, w) in [-1, 1], twice -> distances (b,), float32."""


def perceptual() -> Perceptual:
    """LPIPS on VGG16 as a loss; `InputError` where the package or the trunk's file is missing."""
    try:
        net = Lpips("vgg").net
    except InputError as error:
        raise InputError(f"avae.lpips is above 0, but {error} Or set avae.lpips=0.") from None
    return _Frozen(net)


class _Frozen:
    """The network in float32 wherever the images are."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        colour = [x.float().expand(-1, 3, -1, -1) for x in (a, b)]
        with torch.autocast(a.device.type, enabled=False):
            return self.net.to(a.device)(*colour).flatten()
