"""Building blocks of the pixel-space video UNet: convolutions split into space and time, gated
residual blocks, attention with a null key, and what changes the resolution.

As released with EchoDiffusion. Features are (b, c, t, h, w). With `in_time` false every layer that
looks along time is left out, and only norms, gates and the bottleneck still span the clip.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Gain(nn.Module):
    """Layer norm of the last axis with a gain and no bias.

    Its epsilon is 1e-5 in every dtype; the released code has 1e-3 in all but float32.
    """

    def __init__(self, width: int, start: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gain.shape, self.gain, eps=1e-5)


class Conv(nn.Module):
    """3x3 within each frame, then 3 along time: this frame and the two before.

    The second part starts as the identity, so training may switch it off and on.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(into, out, 3)
        self.time = nn.Conv1d(out, out, 3)
        nn.init.zeros_(self.time.weight)
        nn.init.eye_(self.time.weight.data[:, :, -1])
        nn.init.zeros_(self.time.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, in_time: bool) -> Tensor:
        x = F.conv3d(x, self.space.weight[:, :, None], self.space.bias, padding=(0, 1, 1))
        if not in_time:
            return x
        return _causal(x, self.time.weight, self.time.bias)


class Gate(nn.Module):
    """A factor in (0, 1) for each channel, from a learned average over the whole clip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(3, width // 2)
        self.where = nn.Conv3d(width, 1, 1)
        self.fc1 = nn.Conv3d(width, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.where(x).flatten(2).softmax(dim=-1)
        mean = torch.matmul(x.flatten(2), weight.mT)[..., None, None]
        return torch.sigmoid(self.fc2(F.silu(self.fc1(mean))))


class CrossAttention(nn.Module):
    """Every pixel of every frame asks the condition tokens; a null pair is there to be ignored."""

    def __init__(self, width: int, token: int, heads: int, head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Gain(width)
        self.null = nn.Parameter(torch.randn(2, head))
        self.q = nn.Linear(width, heads * head, bias=False)
        self.kv = nn.Linear(token, 2 * heads * head, bias=False)
        self.out = nn.Linear(heads * head, width, bias=False)
        self.norm_out = Gain(width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x (b, c, t, h, w) and tokens (b, n, d) -> what is added to x."""
        b, _, t, h, w = x.shape
        q = self.q(self.norm(rearrange(x, "b c t h w -> b (t h w) c")))
        q = rearrange(q, "b n (g d) -> b g n d", g=self.heads)
        kv = rearrange(self.kv(tokens), "b n (two g d) -> two b g n d", two=2, g=self.heads)
        null = self.null[:, None, None, None].expand(2, b, self.heads, 1, -1)
        k, v = torch.cat([null, kv], dim=3)
        y = rearrange(F.scaled_dot_product_attention(q, k, v), "b g n d -> b n (g d)")
        return rearrange(self.norm_out(self.out(y)), "b (t h w) c -> b c t h w", t=t, h=h, w=w)


class MultiQuery(nn.Module):
    """Several heads of queries to one head of keys and values, with a null pair in front.

    The heads line up as further queries, so keys and values are never copied. Without a bias,
    `null_bias` is stored and not read, as in the released weights.
    """

    def __init__(self, width: int, heads: int, head: int, start: float = 1.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Gain(width)
        self.null = nn.Parameter(torch.randn(2, head))
        self.null_bias = nn.Parameter(torch.randn(heads))
        self.q = nn.Linear(width, heads * head, bias=False)
        self.kv = nn.Linear(width, 2 * head, bias=False)
        self.out = nn.Linear(heads * head, width, bias=False)
        self.norm_out = Gain(width, start)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (n, s, c) and a bias (heads, s, s) of query and key -> what is added to x."""
        y = self.norm(x)
        q = rearrange(self.q(y), "n s (g d) -> n 1 (g s) d", g=self.heads)
        kv = rearrange(self.kv(y), "n s (two d) -> two n 1 s d", two=2)
        k, v = torch.cat([self.null[:, None, None, None].expand(2, len(x), 1, 1, -1), kv], dim=3)
        mask = None if bias is None else self._with_null(bias).to(q.dtype)
        z = F.scaled_dot_product_attention(q, k, v, mask)
        z = rearrange(z, "n 1 (g s) d -> n s (g d)", g=self.heads)
        return self.norm_out(self.out(z))

    def _with_null(self, bias: Tensor) -> Tensor:
        null = self.null_bias[:, None, None].expand(-1, bias.shape[1], 1)
        return rearrange(torch.cat([null, bias], dim=2), "g s k -> 1 1 (g s) k")


class Distance(nn.Module):
    """What a distance of i - j frames adds to the product of query i and key j, for each head.

    A small network of the distance as a number, so any number of frames will do; -inf for the
    future.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.fc1, self.norm1 = nn.Linear(1, width), Gain(width)
        self.fc2, self.norm2 = nn.Linear(width, width), Gain(width)
        self.fc3 = nn.Linear(width, heads)

    def forward(self, frames: int) -> Tensor:
        """(heads, frames, frames)."""
        at = torch.arange(frames, device=self.fc1.weight.device)
        distance = at[:, None] - at
        y = at.to(self.fc1.weight.dtype)[:, None]  # the past only: the rest is masked
        y = F.silu(self.norm1(self.fc1(y)))
        y = self.fc3(F.silu(self.norm2(self.fc2(y))))
        bias = rearrange(y[distance.clamp(min=0)], "i j g -> g i j")
        return bias.masked_fill(distance < 0, -torch.inf)


class AlongTime(nn.Module):
    """Each pixel along its frames, never ahead: a depthwise convolution, then attention."""

    def __init__(self, width: int, heads: int, head: int) -> None:
        super().__init__()
        self.peg = nn.Conv3d(width, width, (3, 1, 1), groups=width)
        self.attn = MultiQuery(width, heads, head, start=0.0)
        self.distance = Distance(width, heads)

    def forward(self, x: Tensor, in_time: bool) -> Tensor:
        if not in_time:
            return x
        x = x + _causal(x, self.peg.weight[..., 0, 0], self.peg.bias)
        b, _, t, h, w = x.shape
        y = self.attn(rearrange(x, "b c t h w -> (b h w) t c"), self.distance(t))
        return x + rearrange(y, "(b h w) t c -> b c t h w", b=b, h=h, w=w)


class Everywhere(nn.Module):
    """Attention of every pixel of every frame to all others."""

    def __init__(self, width: int, heads: int, head: int) -> None:
        super().__init__()
        self.attn = MultiQuery(width, heads, head)
        self.attn.null_bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        _, _, t, h, w = x.shape
        y = self.attn(rearrange(x, "b c t h w -> b (t h w) c"))
        return x + rearrange(y, "b (t h w) c -> b c t h w", t=t, h=h, w=w)


class Block(nn.Module):
    """Residual block: two convolutions, in between the condition tokens (`cross`), then noise and
    EF as scale and shift, at the end a gate."""

    def __init__(
        self,
        into: int,
        out: int,
        hidden: int,
        groups: int,
        cross: CrossAttention | None = None,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, into), Conv(into, out)
        self.cross = cross
        self.ada = nn.Linear(hidden, 2 * out)
        self.norm2, self.conv2 = nn.GroupNorm(groups, out), Conv(out, out)
        self.gate = Gate(out) if gated else None
        self.skip = nn.Conv3d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor, vector: Tensor, tokens: Tensor, in_time: bool) -> Tensor:
        """x (b, c, t, h, w), vector (b, hidden), tokens (b, n, d)."""
        y = self.conv1(F.silu(self.norm1(x)), in_time)
        if self.cross is not None:
            y = y + self.cross(y, tokens)
        scale, shift = self.ada(F.silu(vector))[..., None, None, None].chunk(2, dim=1)
        y = self.conv2(F.silu(self.norm2(y) * (1 + scale) + shift), in_time)
        if self.gate is not None:
            y = y * self.gate(y)
        return y + self.skip(x)


class Stem(nn.Module):
    """Three fields of view of each frame side by side: 3, 7 and 15 pixels wide."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        widths = (out // 2, out // 4, out - out // 2 - out // 4)
        self.convs = nn.ModuleList(
            nn.Conv3d(into, width, (1, k, k), padding=(0, k // 2, k // 2))
            for width, k in zip(widths, (3, 7, 15), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x) for conv in self.convs], dim=1)


class Shrink(nn.Module):
    """Half the sides: 2x2 pixels become channels."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4 * into, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(rearrange(x, "b c t (h p) (w q) -> b (c p q) t h w", p=2, q=2))


class Widen(nn.Module):
    """The end of the way down where the resolution stays: 3x3 and 1x1, added."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.near = nn.Conv3d(into, out, (1, 3, 3), padding=(0, 1, 1))
        self.same = nn.Conv3d(into, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.near(x) + self.same(x)


class Grow(nn.Module):
    """Twice the sides: channels become 2x2 pixels."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(into, 4 * out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.conv(x))
        return rearrange(y, "b (c p q) t h w -> b c t (h p) (w q)", p=2, q=2)


def _causal(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of x (b, c, t, h, w) along time, weight (out, in, 3); every output frame sees
    its own and the two before, of which the first two frames' are empty.

    In two dimensions, time and pixels: on a CPU faster than in three. Depthwise where in is 1.
    """
    line = F.pad(x.flatten(3), (0, 0, 2, 0))
    y = F.conv2d(line, weight[..., None], bias, groups=x.shape[1] // weight.shape[1])
    return y.unflatten(3, x.shape[3:])
