"""LPIPS (Zhang et al. 2018): how different two images look to the features of VGG16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from echoflow.types import InputError

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Images (b, 1 or 3, h, w) in [-1, 1], twice -> distances (b,), float32."""


def perceptual() -> Perceptual:
    """The loss of the package `lpips`; `InputError` where it or its weights are missing."""
    try:
        import lpips  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "avae.lpips needs the package lpips; install echoflow[metrics], or set avae.lpips=0."
        ) from None
    try:
        net = lpips.LPIPS(net="vgg", verbose=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"avae.lpips needs the ImageNet weights of torchvision's vgg16 ({error}); put them "
            "into the checkpoints of torch's hub folder, or set avae.lpips=0."
        ) from error
    return _Frozen(net.eval().requires_grad_(False))


class _Frozen:
    """The network in float32 wherever the images are."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        colour = [x.float().expand(-1, 3, -1, -1) for x in (a, b)]
        with torch.autocast(a.device.type, enabled=False):
            return self.net.to(a.device)(*colour).flatten()
