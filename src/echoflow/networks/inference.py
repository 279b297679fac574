"""How a trained network computes when it is used: exactly, in bfloat16, or compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.dit_v1 import FMiTv1, FMvTv1
from echoflow.networks.packed import packed
from echoflow.process import Field, bound
from echoflow.types import INFERENCE, Inference, choose


def for_inference(net: nn.Module, inference: Inference) -> nn.Module:
    """A generative network for one of the settings; `net` itself for `exact`."""
    choose(inference, INFERENCE, "inference setting")
    if inference == "bf16":
        if isinstance(net, FMiTv1 | FMvTv1) and not next(net.parameters()).is_cuda:
            return packed(net, torch.bfloat16)
        return Autocast(net)
    if inference == "compiled":
        for part in getattr(net, "blocks", [net]):  # alike, so compiled once for all
            part.compile()
    return net


class Autocast(nn.Module):
    """A network whose products are made in bfloat16; what goes in and comes out is float32."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.config: Any = net.config

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.net(x, t, cond).float()

    def prepare(self, cond: Condition, times: Tensor) -> Field:
        """What the network prepares, if it does."""
        kind = device_of(self.net).type
        with torch.autocast(kind, torch.bfloat16):
            field = bound(self.net, cond, times)

        def half(x: Tensor, t: Tensor) -> Tensor:
            with torch.autocast(kind, torch.bfloat16):
                return field(x, t).float()

        return half


def device_of(net: nn.Module) -> torch.device:
    """Where a network lies; packed ones have buffers only."""
    return next(tensor for part in (net.parameters(), net.buffers()) for tensor in part).device
