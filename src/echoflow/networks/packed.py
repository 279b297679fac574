"""Linear layers laid out in memory as oneDNN multiplies them, for inference on a CPU.

The same sums in another order: float32 stays float32. A weight is laid out once instead of at each
call, the GELU runs on a product that is still in registers, and an MLP goes over the tokens in
pieces whose hidden layer stays in cache. So does attention in bfloat16, where products of plain
rows are faster than the fused kernel; the scale of its scores is part of the weight.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from einops import rearrange
from torch import Tensor, nn

from echoflow.networks.layers_v1 import MLP, Attention, merged

Net = TypeVar("Net", bound=nn.Module)
PIECE = 784  # tokens that an MLP takes at once
SCORES = 2**20  # of attention that are made at once


def packed(net: Net, dtype: torch.dtype | None = None) -> Net:
    """A twin of `net` for inference, in `dtype`; `net` stays as it is and shares what it can.

    Layers that oneDNN cannot take (on a GPU, in float64) are ordinary ones in the twin. Its
    parameters have become buffers: it is not for training or saving.
    """
    if isinstance(net, nn.Linear) and _packable(net.weight, dtype):
        return Packed(net, dtype)  # type: ignore[return-value]
    if isinstance(net, MLP) and _packable(net.fc1.weight, dtype):
        return PackedMLP(net, dtype)  # type: ignore[return-value]
    half = dtype == torch.bfloat16
    if isinstance(net, Attention) and half and _packable(net.qkv.weight, dtype):
        return PackedAttention(net)  # type: ignore[return-value]
    twin = copy.copy(net)
    tensors = {**net._parameters, **net._buffers}
    twin._parameters, twin._buffers = {}, {name: _cast(t, dtype) for name, t in tensors.items()}
    twin._modules = {name: packed(m, dtype) for name, m in net._modules.items() if m is not None}
    return twin


class Packed(nn.Module):
    """`nn.Linear`, with a GELU (tanh form) behind it if asked."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype | None, gelu: bool = False) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(_cast(linear.weight, dtype))
        self.bias = _cast(linear.bias, dtype)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        made = opaque if torch.compiler.is_compiling() else product
        return made(x, self.weight, self.bias, self.gelu)


def product(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    """x (..., into) times a weight that oneDNN has laid out -> (..., out)."""
    after = ("gelu", [], "tanh") if gelu else ("none", [], "")
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *after)


opaque = torch.library.custom_op("echoflow::product", product, mutates_args=())
"""`product` for a compiler, which cannot look into such a weight and leaves it as it is."""


@opaque.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(weight)))


class PackedMLP(nn.Module):
    """`MLP` over a piece of the tokens at a time."""

    def __init__(self, mlp: MLP, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.fc1 = Packed(mlp.fc1, dtype, gelu=True)
        self.fc2 = Packed(mlp.fc2, dtype)

    def forward(self, x: Tensor) -> Tensor:
        pieces = [self.fc2(self.fc1(piece)) for piece in x.flatten(0, -2).split(PIECE)]
        return torch.cat(pieces).unflatten(0, x.shape[:-1])


class PackedAttention(nn.Module):
    """`Attention` in bfloat16, some rows at a time."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        qkv, half = copy.deepcopy(attention.qkv), torch.bfloat16
        width, self.heads = qkv.in_features, attention.heads
        with torch.no_grad():
            for part in (qkv.weight, qkv.bias):
                if part is not None:
                    part[:width] *= (width // self.heads) ** -0.5
        self.scrambled = attention.scrambled
        self.qkv, self.proj = Packed(qkv, half), Packed(attention.proj, half)

    def forward(self, x: Tensor, axis: str = "s") -> Tensor:
        """As `Attention.forward`."""
        b, other = len(x), "t" if axis == "s" else "s"
        heads = f"b t s (three h d) -> three (b {other}) h {axis} d"
        parts = rearrange(self.qkv(x.to(torch.bfloat16)), heads, three=3, h=self.heads)
        _, rows, h, n, _ = parts.shape
        y, step = parts.new_empty(parts.shape[1:]), max(1, SCORES // (h * n * n))
        for piece in (slice(first, first + step) for first in range(0, rows, step)):
            q, k, v = (part[piece].contiguous() for part in parts)
            torch.matmul((q @ k.transpose(-1, -2)).softmax(dim=-1), v, out=y[piece])
        y = y.reshape(rows, n, -1) if self.scrambled else merged(y)
        return rearrange(self.proj(y), f"(b {other}) {axis} d -> b t s d", b=b)


def _packable(weight: Tensor, dtype: torch.dtype | None) -> bool:
    if weight.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    dtype = dtype or weight.dtype
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _cast(value: Tensor | None, dtype: torch.dtype | None) -> Tensor | None:
    """Detached, and a floating one as `dtype`."""
    if value is None:
        return None
    return value.detach().to(dtype if value.is_floating_point() else None)
