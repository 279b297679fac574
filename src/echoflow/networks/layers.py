"""Building blocks of the transformers: embeddings, rotary positions, attention, gated MLP.

Style `v2`, our default for new training: the time is scaled into the sinusoid's range, heads are
merged in order, queries and keys are normalised, positions are rotary in space and time, so the
number of frames is free.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def sinusoid(x: Tensor, width: int, period: float = 10_000.0) -> Tensor:
    """[cos | sin] features of scalars `x` (b,) -> float32 (b, width) (Vaswani et al. 2017)."""
    half = width // 2
    rate = torch.exp(torch.arange(half, device=x.device) * (-math.log(period) / half))
    angle = x.float()[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """The noise coefficient t in [0, 1] -> (b, width). t is scaled by 1000 before the sinusoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(256, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        features = sinusoid(1000.0 * t, 256).to(self.fc1.weight.dtype)
        return self.fc2(F.silu(self.fc1(features)))


class ScalarEmbedding(nn.Module):
    """A percentage (b,), nan where absent -> (b, width); nan becomes a learned null vector."""

    def __init__(self, width: int, bands: int = 16) -> None:
        super().__init__()
        self.bands = bands
        self.mlp = nn.Sequential(
            nn.Linear(2 * bands + 1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.null = nn.Parameter(torch.zeros(width))

    def forward(self, percent: Tensor) -> Tensor:
        fraction = torch.nan_to_num(percent.float(), nan=0.0)[:, None] / 100.0
        angle = math.pi * fraction * torch.arange(1, self.bands + 1, device=percent.device)
        features = torch.cat([2.0 * fraction - 1.0, angle.cos(), angle.sin()], dim=-1)
        known = self.mlp(features.to(self.null.dtype))
        return torch.where(torch.isnan(percent)[:, None], self.null.to(known.dtype), known)


class ClassEmbedding(nn.Module):
    """A class index (b,), -1 where absent -> (b, width). The last row is the null class."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, index: Tensor) -> Tensor:
        null = self.table.num_embeddings - 1
        return self.table(torch.where(index < 0, null, index))


def rotary_angles(positions: Tensor, width: int, period: float = 100.0) -> Tensor:
    """Angles (n, width / 2) of one axis for rotary positions (Su et al. 2021, eq. 15)."""
    half = width // 2
    rate = period ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    return positions.float()[:, None] * rate


def rotary_plane(height: int, width: int, head: int, device: torch.device) -> Tensor:
    """Angles (h*w, head / 2) of a plane, row-major: half of the pairs turn with y, half with x."""
    y = rotary_angles(torch.arange(height, device=device), head // 2)
    x = rotary_angles(torch.arange(width, device=device), head // 2)
    y = y[:, None].expand(height, width, -1)
    x = x[None].expand(height, width, -1)
    return torch.cat([y, x], dim=-1).flatten(0, 1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the channel pairs of `x` (..., n, head) by `angles` (n, head / 2)."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Self-attention over the second-last axis of (..., n, width), rotary, with QK-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm_q = nn.RMSNorm(width // heads, eps=1e-6)
        self.norm_k = nn.RMSNorm(width // heads, eps=1e-6)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        q = rotate(normed(q, self.norm_q), angles)
        k = rotate(normed(k, self.norm_k), angles)
        return self.proj(rearrange(attend(q, k, v), "b h n d -> b n (h d)"))


def normed(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    """RMS norm in the dtype of `x`, whatever that of the weight: only then is it one kernel."""
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for (b, h, n, d).

    Training and bfloat16 on a CPU take the plain products: for our short rows the backward of the
    fused kernel is several times slower there, its bfloat16 about half as fast (docs/decisions.md).
    """
    if q.device.type == "cpu" and (q.requires_grad or q.dtype == torch.bfloat16):
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020) with the parameter count of a plain MLP of the same ratio."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = 8 * round(ratio * width * 2 / 3 / 8)
        self.fc1 = nn.Linear(width, 2 * hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(F.silu(gate) * value)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """adaLN: `x` (b, ..., d) normalised, then scaled and shifted per sample by (b or 1, d)."""
    y = F.rms_norm(x, x.shape[-1:], eps=1e-6)
    shape = (-1,) + (1,) * (x.ndim - 2) + (x.shape[-1],)
    return y * (1.0 + scale.view(shape)) + shift.view(shape)


def gated(x: Tensor, gate: Tensor, branch: Tensor) -> Tensor:
    """Residual addition `x + gate * branch`, gate per sample (b or 1, d)."""
    return x + gate.view((-1,) + (1,) * (x.ndim - 2) + (x.shape[-1],)) * branch
