"""Building blocks of the video UNet of Free-Echo. Features are (b, c, t, h, w)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

BUCKETS, FARTHEST = 32, 32  # of the bias of distances between frames
PERIOD = 10_000.0


class Block(nn.Module):
    """Residual block of each frame; the noise scales and shifts its first half."""

    def __init__(self, into: int, out: int, groups: int, hidden: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(into, out, (1, 3, 3), padding=(0, 1, 1))
        self.norm1 = nn.GroupNorm(groups, out)
        self.conv2 = nn.Conv3d(out, out, (1, 3, 3), padding=(0, 1, 1))
        self.norm2 = nn.GroupNorm(groups, out)
        self.ada = nn.Linear(hidden, 2 * out) if hidden else None
        self.skip = nn.Conv3d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        y = self.norm1(per_frame(self.conv1, x))
        if self.ada is not None and c is not None:
            scale, shift = self.ada(F.silu(c))[..., None, None, None].chunk(2, dim=1)
            y = y * (1 + scale) + shift
        y = F.silu(self.norm2(per_frame(self.conv2, F.silu(y))))
        return y + (x if isinstance(self.skip, nn.Identity) else per_frame(self.skip, x))


class ChannelNorm(nn.Module):
    """Layer norm over channels, with a gain and no bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = rearrange(x, "b c t h w -> b t h w c")
        y = F.layer_norm(y, y.shape[-1:], self.gain.flatten(), eps=1e-5)
        return rearrange(y, "b t h w c -> b c t h w")


class LinearAttention(nn.Module):
    """Attention within a frame at a cost linear in its pixels (Shen et al. 2021)."""

    def __init__(self, width: int, heads: int, head: int) -> None:
        super().__init__()
        self.heads, self.head = heads, head
        self.norm = ChannelNorm(width)
        self.qkv = nn.Conv2d(width, 3 * heads * head, 1, bias=False)
        self.out = nn.Conv2d(heads * head, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, _, h, w = x.shape
        y = self.qkv(rearrange(self.norm(x), "b c t h w -> (b t) c h w"))
        parts = y.chunk(3, dim=1)
        q, k, v = (rearrange(part, "n (g d) h w -> n g d (h w)", g=self.heads) for part in parts)
        q, k = q.softmax(dim=-2) * self.head**-0.5, k.softmax(dim=-1)
        z = torch.matmul(torch.matmul(v, k.mT), q)
        z = self.out(rearrange(z, "n g d (h w) -> n (g d) h w", h=h, w=w))
        return x + rearrange(z, "(b t) c h w -> b c t h w", b=b)


class WithinFrame(nn.Module):
    """Attention of all pixels of a frame to each other."""

    def __init__(self, width: int, heads: int, head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * head, bias=False)
        self.out = nn.Linear(heads * head, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, _, _, h, w = x.shape
        y = self.qkv(rearrange(self.norm(x), "b c t h w -> (b t) (h w) c"))
        parts = y.chunk(3, dim=-1)
        q, k, v = (rearrange(part, "n s (g d) -> n g s d", g=self.heads) for part in parts)
        z = rearrange(F.scaled_dot_product_attention(q, k, v), "n g s d -> n s (g d)")
        return x + rearrange(self.out(z), "(b t) (h w) c -> b c t h w", b=b, h=h, w=w)


class AlongTime(nn.Module):
    """Attention of each pixel along its frames, both ways, with rotary positions and a bias."""

    def __init__(self, width: int, heads: int, head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * head, bias=False)
        self.out = nn.Linear(heads * head, width, bias=False)
        self.rates: Tensor
        self.register_buffer("rates", _rates(min(32, head)))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        b, _, t, h, w = x.shape
        y = self.qkv(rearrange(self.norm(x), "b c t h w -> (b h w) t c"))
        parts = y.chunk(3, dim=-1)
        q, k, v = (rearrange(part, "n t (g d) -> n g t d", g=self.heads) for part in parts)
        angles = torch.arange(t, device=x.device)[:, None] * self.rates.float()
        q, k = _rotated(q, angles), _rotated(k, angles)
        z = F.scaled_dot_product_attention(q, k, v, bias[None].to(q.dtype))
        z = self.out(rearrange(z, "n g t d -> n t (g d)"))
        return x + rearrange(z, "(b h w) t c -> b c t h w", b=b, h=h, w=w)


class DistanceTable(nn.Module):
    """What a distance between frames adds to the products of each head: 16 buckets either way."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, heads)

    def forward(self, frames: int) -> Tensor:
        """(heads, frames, frames)."""
        at = torch.arange(frames, device=self.table.weight.device)
        return rearrange(self.table(_bucket(at - at[:, None])), "i j g -> g i j")


def per_frame(conv: nn.Module, x: Tensor) -> Tensor:
    """A 3-D convolution that is as long as one frame, as a 2-D one: on a CPU several times faster.

    The weights stay in the shape they were published in.
    """
    assert isinstance(conv, nn.Conv3d | nn.ConvTranspose3d)
    flat, weight = rearrange(x, "b c t h w -> (b t) c h w"), conv.weight[:, :, 0]
    convolve = F.conv2d if isinstance(conv, nn.Conv3d) else F.conv_transpose2d
    sizes = (conv.stride[1:], tuple(int(n) for n in conv.padding[1:]))
    y = convolve(flat, weight, conv.bias, *sizes)
    return rearrange(y, "(b t) c h w -> b c t h w", b=len(x))


def shrink(width: int) -> nn.Module:
    """Half the sides."""
    return nn.Conv3d(width, width, (1, 4, 4), (1, 2, 2), (0, 1, 1))


def grow(width: int) -> nn.Module:
    """Twice the sides."""
    return nn.ConvTranspose3d(width, width, (1, 4, 4), (1, 2, 2), (0, 1, 1))


def _rates(width: int) -> Tensor:
    return PERIOD ** -(torch.arange(0, width, 2) / width)


def _rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Neighbouring channels of x (n, g, t, d) as complex numbers, turned by `angles` (t, pairs)."""
    width = 2 * angles.shape[1]
    wide = x[..., :width].to(torch.promote_types(x.dtype, torch.float32))
    turn = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous()) * turn
    turned = torch.view_as_real(pairs).flatten(-2).to(x.dtype)
    return turned if width == x.shape[-1] else torch.cat([turned, x[..., width:]], dim=-1)


def _bucket(distance: Tensor) -> Tensor:
    """Key minus query in frames to a row of the table (T5): near ones exactly, far ones by log."""
    half, exact = BUCKETS // 2, BUCKETS // 4
    n = distance.abs()
    ratio = torch.log(n.clamp(min=1).float() / exact) / math.log(FARTHEST / exact)
    far = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(n < exact, n, far) + half * (distance > 0)


def sinusoid(x: Tensor, width: int) -> Tensor:
    """[sin | cos] of x (b,); the slowest rate is 1 / 10000, reached exactly."""
    half = width // 2
    rates = torch.exp(-math.log(PERIOD) / (half - 1) * torch.arange(half, device=x.device))
    angle = x.float()[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
