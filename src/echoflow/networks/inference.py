"""How a trained network computes when it is used: exactly, in bfloat16, or compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.dit_v1 import FMiTv1, FMvTv1
from echoflow.networks.packed import packed
from echoflow.networks.prepared import Modulation, Stepwise, Still
from echoflow.networks.replayed import Replayed
from echoflow.types import INFERENCE, Inference, choose


def for_inference(net: nn.Module, inference: Inference) -> nn.Module:
    """A generative network for one of the settings.

    On a CPU the released block style takes its products from oneDNN (`packed`); any other network
    is itself for `exact`. On a GPU a compiled transformer is replayed as one CUDA graph.
    """
    choose(inference, INFERENCE, "inference setting")
    on_gpu = next(net.parameters()).is_cuda
    packs = isinstance(net, FMiTv1 | FMvTv1) and not on_gpu
    if inference == "exact":
        return packed(net) if packs else net
    if packs:
        net = half = packed(net, torch.bfloat16)
    else:
        half = HalfStepwise(net) if isinstance(net, Stepwise) else Half(net)
    if inference == "bf16":
        return half
    for part in getattr(net, "blocks", [net]):  # alike, so compiled once for all
        part.compile()
    return Replayed(half) if on_gpu and isinstance(half, Stepwise) else half


def _autocast(device: torch.device) -> torch.autocast:
    """Without its cache of weights, whose tensors a CUDA graph could not find again."""
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


class Half(nn.Module):
    """A network whose products are made in bfloat16; what goes in and comes out is float32."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.config: Any = net.config

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        with _autocast(x.device):
            return self.net(x, t, cond).float()


class HalfStepwise(Stepwise):
    """`Half` for a network that comes in parts; every part is made in bfloat16."""

    def __init__(self, net: Stepwise) -> None:
        super().__init__()
        self.net = net
        self.config: Any = net.config

    def still(self, cond: Condition) -> Still:
        with _autocast(device_of(self.net)):
            return self.net.still(cond)

    def modulation(self, t: Tensor, still: Still) -> Modulation:
        with _autocast(t.device):
            return self.net.modulation(t, still)

    def velocity(self, x: Tensor, ada: Modulation, still: Still) -> Tensor:
        with _autocast(x.device):
            return self.net.velocity(x, ada, still).float()


def device_of(net: nn.Module) -> torch.device:
    """Where a network lies; packed ones have buffers only."""
    return next(tensor for part in (net.parameters(), net.buffers()) for tensor in part).device
