"""Building blocks of the released transformers: sinusoids, attention, modulation, MLP.

Style `v1`: layer norms, plain GELU, fixed tables of places, t unscaled. `layers` has style `v2`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from echoflow.networks.layers import attend

EPS = 1e-6


class MLP(nn.Module):
    """Linear, GELU (tanh form), linear."""

    def __init__(self, into: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(into, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class TimeMLP(nn.Module):
    """t in [0, 1], not scaled -> (b, width).

    The 128 frequencies fall from 1 towards 1e-4; with `reached`, the last one is 1e-4 itself.
    """

    def __init__(self, width: int, reached: bool) -> None:
        super().__init__()
        self.steps = 127 if reached else 128
        self.fc1 = nn.Linear(256, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        k = torch.arange(128, dtype=torch.float32, device=t.device)
        angle = t.float()[:, None] * torch.exp(-math.log(10_000) / self.steps * k)
        features = torch.cat([angle.cos(), angle.sin()], dim=-1)
        return self.fc2(F.silu(self.fc1(features.to(self.fc2.weight.dtype))))


class Attention(nn.Module):
    """Self-attention along one axis of (b, t, s, d): within a frame, or at a place over time.

    `scrambled`: the product of all heads (b, h, n, d) is read as (b, n, h d) as it lies in memory,
    the head axis not moved back. Published video weights were trained so.
    """

    def __init__(self, width: int, heads: int, scrambled: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.scrambled = heads, scrambled
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, axis: str = "s") -> Tensor:
        """`axis` is "s" or "t"; q, k and v stay views of one product."""
        b, other = len(x), "t" if axis == "s" else "s"
        heads = f"b t s (three h d) -> three (b {other}) h {axis} d"
        qkv = self.qkv(x.to(self.proj.weight.dtype))
        q, k, v = rearrange(qkv, heads, three=3, h=self.heads)
        y = attend(q, k, v)
        y = y.reshape(len(y), -1, x.shape[-1]) if self.scrambled else merged(y)
        return rearrange(self.proj(y), f"(b {other}) {axis} d -> b t s d", b=b)


class CrossAttention(nn.Module):
    """Every token of x (b, t, s, d) asks the conditioning tokens y (b, n, d)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        y = self.kv(y).expand(len(x), -1, -1)
        q = rearrange(self.q(x.to(y.dtype)), "b t s (h d) -> b h (t s) d", h=self.heads)
        k, v = rearrange(y, "b n (two h d) -> two b h n d", two=2, h=self.heads)
        return self.proj(merged(attend(q, k, v))).view_as(x)

    def constant(self, y: Tensor) -> Tensor:
        """What `forward` gives every token when y (b, 1, d) is a single one -> (b, 1, 1, d).

        A softmax over one key is 1 whatever the query: the value passes unchanged.
        """
        return self.proj(self.kv(y).chunk(2, dim=-1)[1])[:, None]


class ImageBlock(nn.Module):
    """adaLN-zero block (Peebles and Xie 2023) that owns its embeddings of time and view."""

    def __init__(self, width: int, heads: int, views: int, qkv_bias: bool, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.time = TimeMLP(width, reached=True)
        self.view = nn.Embedding(views + 1, width)
        self.ada = nn.Linear(width, 6 * width)
        self.attn = Attention(width, heads, bias=qkv_bias)
        self.mlp = MLP(width, 4 * width, width)

    def embedding(self, t: Tensor, view: Tensor) -> Tensor:
        return F.silu(self.time(t) + self.view(view))

    def forward(self, x: Tensor, ada: Tensor) -> Tensor:
        """x (b, 1, s, d), ada (b, 6, d)."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = ada.unbind(1)
        x = gated(x, gate, self.attn(modulate(x, shift, scale)))
        return gated(x, gate_mlp, self.mlp(modulate(x, shift_mlp, scale_mlp, self.eps)))


class VideoBlock(nn.Module):
    """Attention within each frame, along time at each place, to the tokens; then the MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, scrambled: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.attn = Attention(width, heads, scrambled)
        self.attn_temp = Attention(width, heads, scrambled)
        self.cross = CrossAttention(width, heads)
        self.mlp = MLP(width, int(width * mlp_ratio), width)

    def forward(
        self,
        x: Tensor,
        ada: Tensor,
        tokens: Tensor | None,
        constant: Tensor | None,
        time: Tensor | None,
    ) -> Tensor:
        """x (b, t, s, d), ada (b, 6, d); `time` is the table of frames, for the first block."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = ada.unbind(1)
        x = gated(x, gate, self.attn(modulate(x, shift, scale)))
        x = gated(x, gate, self.attn_temp(x if time is None else x + time, "t"))
        if constant is not None:
            x = x + constant
        elif tokens is not None:
            x = x + self.cross(x, tokens)
        return gated(x, gate_mlp, self.mlp(modulate(x, shift_mlp, scale_mlp)))


def merged(y: Tensor) -> Tensor:
    return rearrange(y, "b h n d -> b n (h d)")


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS) -> Tensor:
    """adaLN of x (b, t, s, d) by (b, d), or by (1, d), which the norm applies as its own affine.

    Computed in the dtype of x, the residual; given in that of the layers.
    """
    dtype, shift, scale = shift.dtype, shift.to(x.dtype), 1 + scale.to(x.dtype)
    if len(shift) == 1:
        return F.layer_norm(x, x.shape[-1:], scale[0], shift[0], eps).to(dtype)
    y = F.layer_norm(x, x.shape[-1:], eps=eps)
    return torch.addcmul(shift[:, None, None], y, scale[:, None, None]).to(dtype)


def gated(x: Tensor, gate: Tensor, branch: Tensor) -> Tensor:
    """x + gate * branch in the dtype of x, the gate (b, d) or (1, d)."""
    return torch.addcmul(x, gate.to(x.dtype)[:, None, None], branch.to(x.dtype))


def embedded(
    x: Tensor, patch: tuple[int, int, int], weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Tokens (b, t, s, d) of a video (b, c, t, h, w) by a convolution that strides its kernel.

    They begin the residual, which is float32 even if the layers are not: added to at every block,
    it would lose more in bfloat16 than all products together.
    """
    dtype = torch.promote_types(weight.dtype, torch.float32)
    tokens = F.linear(
        patched(x.to(dtype), patch),
        weight.flatten(1).to(dtype),
        bias if bias is None else bias.to(dtype),
    )
    return tokens.to(dtype)


def patched(x: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """(b, c, t, h, w) cut into tokens (b, t, s, c times the cells of a patch), rows first."""
    o, p, q = patch
    return rearrange(x, "b c (t o) (h p) (w q) -> b t (h w) (c o p q)", o=o, p=p, q=q)


def unpatched(y: Tensor, patch: tuple[int, int, int], rows: int) -> Tensor:
    """The inverse for the output layer, whose features have the channel last."""
    o, p, q = patch
    return rearrange(y, "b t (h w) (o p q c) -> b c (t o) (h p) (w q)", o=o, p=p, q=q, h=rows)


def sincos(positions: Tensor, width: int) -> Tensor:
    """[sin | cos] of positions (n,) -> float64 (n, width), periods up to 10000 (2 pi)."""
    half = width // 2
    rate = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = positions.double()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def sincos_plane(rows: int, columns: int, width: int, scale: float = 1.0) -> Tensor:
    """The places of a plane, row-major (s, width): half of the features for x, then half for y."""
    y = sincos(torch.arange(rows) / scale, width // 2)[:, None].expand(rows, columns, -1)
    x = sincos(torch.arange(columns) / scale, width // 2)[None].expand(rows, columns, -1)
    return torch.cat([x, y], dim=-1).flatten(0, 1)
