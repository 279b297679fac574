"""The flow-matching transformers: FMiT makes anatomies, FMvT animates one (EchoFlow section 3).

Both read their condition by name and predict the velocity `v = noise - x0` of a rectified flow. A
call is the three parts of `prepared.Stepwise`, of which samplers do two once per video.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from echoflow.condition import Condition, over
from echoflow.networks.layers import (
    Attention,
    ClassEmbedding,
    GatedMLP,
    ScalarEmbedding,
    TimeEmbedding,
    gated,
    modulate,
    rotary_angles,
    rotary_plane,
    sinusoid,
)
from echoflow.networks.prepared import Modulation, Stepwise, Still
from echoflow.types import InputError

PLACE = 32  # sinusoid features per axis of a token's place


@dataclass(frozen=True)
class FMiTConfig:
    """Shape of an image transformer. `size` is the latent side in cells."""

    channels: int = 4
    size: int = 28
    patch: int = 4
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    views: int = 3
    mask_channels: int = 1
    preconditioned: bool = False


@dataclass(frozen=True)
class FMvTConfig:
    """Shape of a video transformer; a token covers `patch` = (frames, rows, columns) cells."""

    channels: int = 4
    size: int = 28
    frames: int = 64
    patch: tuple[int, int, int] = (1, 2, 2)
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    preconditioned: bool = False


class ImageBlock(nn.Module):
    """adaLN-zero transformer block (Peebles and Xie 2023) over the tokens of one image."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.mlp = GatedMLP(width, mlp_ratio)
        self.ada = zeroed(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, ada: Tensor, angles: Tensor) -> Tensor:
        """x (b, s, d) and its modulation (b, 6, d)."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = ada.unbind(1)
        x = gated(x, gate, self.attn(modulate(x, shift, scale), angles))
        return gated(x, gate_mlp, self.mlp(modulate(x, shift_mlp, scale_mlp)))


class VideoBlock(nn.Module):
    """Attention within each frame, then along time at each position, then the MLP.

    Every branch has its own adaLN norm and gate, and the EF enters all of them.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_temp = Attention(width, heads)
        self.mlp = GatedMLP(width, mlp_ratio)
        self.ada = zeroed(nn.Linear(width, 9 * width))

    def forward(self, x: Tensor, ada: Tensor, space: Tensor, time: Tensor) -> Tensor:
        """x (b, t, s, d) and its modulation (b, 9, d)."""
        b, m = len(x), ada.unbind(1)
        y = rearrange(modulate(x, m[0], m[1]), "b t s d -> (b t) s d")
        x = gated(x, m[2], rearrange(self.attn(y, space), "(b t) s d -> b t s d", b=b))
        y = rearrange(modulate(x, m[3], m[4]), "b t s d -> (b s) t d")
        x = gated(x, m[5], rearrange(self.attn_temp(y, time), "(b s) t d -> b t s d", b=b))
        return gated(x, m[8], self.mlp(modulate(x, m[6], m[7])))


class Head(nn.Module):
    """Final adaLN and the zero-initialised projection of each token to its cells."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.ada = zeroed(nn.Linear(width, 2 * width))
        self.linear = zeroed(nn.Linear(width, out))

    def forward(self, x: Tensor, ada: Tensor) -> Tensor:
        return self.linear(modulate(x, *ada.unbind(1)))


class FMiT(Stepwise):
    """Image flow-matching transformer: noisy latent + mask + view -> velocity.

    x (b, c, h, w), t (b,), cond.mask (b, k, h, w), cond.view (b,) -> v (b, c, h, w).
    """

    def __init__(self, config: FMiTConfig) -> None:
        super().__init__()
        self.config = config
        cells = config.patch**2
        self.embed = nn.Linear((config.channels + config.mask_channels) * cells, config.width)
        self.place = zeroed(nn.Linear(3 * PLACE, config.width))
        self.time = TimeEmbedding(config.width)
        self.view = ClassEmbedding(config.views, config.width)
        self.blocks = nn.ModuleList(
            ImageBlock(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.head = Head(config.width, config.channels * cells)

    def still(self, cond: Condition) -> Still:
        """The embedded mask, with the places of the tokens, and the embedded view."""
        k, weight = self.config, self.embed.weight
        shape = (k.mask_channels, k.size, k.size)
        mask = given(cond.mask, weight, shape)
        none = torch.full((1,), -1, device=weight.device)
        view = none if cond.view is None else cond.view.to(weight.device)
        own = weight[:, k.channels * k.patch**2 :]
        side = k.size // k.patch
        place = self.place(places(1, side, side, weight.device)[0].to(weight.dtype))
        embedded = nn.functional.linear(self._tokens(mask), own, self.embed.bias)
        return Still(len(cond), embedded + place, embedding=self.view(view))

    def modulation(self, t: Tensor, still: Still) -> Modulation:
        """One row for each of t (n,), n a multiple of the conditions: times outside, b inside."""
        return modulation(self, t, still)

    def velocity(self, x: Tensor, ada: Modulation, still: Still) -> Tensor:
        """v (b, c, h, w) of x, like it."""
        k = self.config
        expect(x, (k.channels, k.size, k.size), "latent image")
        side = k.size // k.patch
        angles = rotary_plane(side, side, k.width // k.heads, x.device)
        own = self.embed.weight[:, : k.channels * k.patch**2]
        y = nn.functional.linear(self._tokens(x), own) + still.places
        for i, block in enumerate(self.blocks):
            y = block(y, ada.blocks[:, i], angles)
        shape = {"h": side, "p": k.patch, "q": k.patch}
        out = rearrange(self.head(y, ada.head), "b (h w) (c p q) -> b c (h p) (w q)", **shape)
        return velocity(out, x, ada.t) if k.preconditioned else out

    def _tokens(self, x: Tensor) -> Tensor:
        """The patches of (b, c, h, w) as (b, s, cells)."""
        p = self.config.patch
        return rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)


class FMvT(Stepwise):
    """Video flow-matching transformer: noisy latent clip + anatomy frame + EF -> velocity.

    x (b, c, t, h, w), t (b,), cond.frame (b, c, h, w), cond.ef (b,) percent -> v like x. The number
    of frames is free as long as it is a multiple of the temporal patch.
    """

    def __init__(self, config: FMvTConfig) -> None:
        super().__init__()
        self.config = config
        pt, ph, pw = config.patch
        self.embed = nn.Linear(config.channels * pt * ph * pw, config.width)
        self.embed_frame = nn.Linear(config.channels * ph * pw, config.width)
        self.place = zeroed(nn.Linear(3 * PLACE, config.width))
        self.time = TimeEmbedding(config.width)
        self.ef = ScalarEmbedding(config.width)
        self.blocks = nn.ModuleList(
            VideoBlock(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.head = Head(config.width, config.channels * pt * ph * pw)

    def still(self, cond: Condition) -> Still:
        """The embedded anatomy and the embedded EF."""
        k, weight = self.config, self.embed_frame.weight
        frame = given(cond.frame, weight, (k.channels, k.size, k.size))
        none = torch.full((1,), torch.nan, device=weight.device)
        ef = none if cond.ef is None else cond.ef.to(weight.device)
        _, p, q = k.patch
        anatomy = rearrange(frame, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=q)
        embedded = self.embed_frame(anatomy)[:, None]
        return Still(len(cond), embedded, embedding=self.ef(ef), frame=frame)

    def modulation(self, t: Tensor, still: Still) -> Modulation:
        """One row for each of t (n,), n a multiple of the conditions: times outside, b inside."""
        return modulation(self, t, still)

    def velocity(self, x: Tensor, ada: Modulation, still: Still) -> Tensor:
        """v of x (b, c, t, h, w), like it."""
        k = self.config
        pt, ph, pw = k.patch
        if x.shape[2] % pt:
            raise InputError(f"frames must be a multiple of {pt}; got {x.shape[2]}.")
        expect(x, (k.channels, x.shape[2], k.size, k.size), "latent video")
        rows, columns, steps = k.size // ph, k.size // pw, x.shape[2] // pt
        y = self.embed(
            rearrange(x, "b c (t o) (h p) (w q) -> b t (h w) (c o p q)", o=pt, p=ph, q=pw)
        )
        y = y + still.places
        y = y + self.place(places(steps, rows, columns, x.device).to(y.dtype))
        head = k.width // k.heads
        space = rotary_plane(rows, columns, head, x.device)
        time = rotary_angles(torch.arange(steps, device=x.device), head)
        for i, block in enumerate(self.blocks):
            y = block(y, ada.blocks[:, i], space, time)
        out = rearrange(
            self.head(y, ada.head),
            "b t (h w) (c o p q) -> b c (t o) (h p) (w q)",
            h=rows,
            o=pt,
            p=ph,
            q=pw,
        )
        if not k.preconditioned:
            return out
        assert still.frame is not None
        frame = still.frame.to(x.dtype)[:, :, None]
        return velocity(out + over(ada.t, x) * frame, x, ada.t)


def modulation(net: FMiT | FMvT, t: Tensor, still: Still) -> Modulation:
    """The adaLN rows of every block and of the head, for each of t (n,)."""
    assert still.embedding is not None
    told = still.embedding.repeat(max(1, len(t) // still.rows), 1)
    c = nn.functional.silu(net.time(t) + told)
    blocks: Any = net.blocks
    rows = [block.ada(c) for block in blocks]
    width = (-1, net.config.width)
    stacked = torch.stack(rows, 1).unflatten(-1, width)
    return Modulation(t, stacked, net.head.ada(c).unflatten(-1, width))


def places(steps: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Sinusoids of where a token is: (steps, rows * columns, 3 PLACE).

    Rotary attention knows only distances between tokens. A gated loop starts at the R wave, so how
    far it has come since then decides what the heart does, and that is a place, not a distance.
    """
    axes = [sinusoid(torch.arange(n, device=device), PLACE, 100.0) for n in (steps, rows, columns)]
    t = axes[0][:, None, None].expand(steps, rows, columns, PLACE)
    y = axes[1][None, :, None].expand_as(t)
    x = axes[2][None, None].expand_as(t)
    return torch.cat([t, y, x], dim=-1).flatten(1, 2)


def velocity(out: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The velocity of a rectified flow from an output of unit variance at every t.

    EDM preconditioning (Karras et al. 2022, appendix B.6) for x_t = (1 - t) x0 + t noise and data
    of unit variance: x0_hat = c_skip x_t + c_out F with c_skip = (1 - t) / s^2, c_out = t / s and
    s^2 = (1 - t)^2 + t^2, hence v = (x_t - x0_hat) / t = (2 t - 1) / s^2 x_t - F / s. The network
    gives x0 at t = 1 and -noise at t = 0, so it never has to carry its own input to its output,
    which a network narrower than its tokens cannot do.
    """
    t = over(t, x)
    square = (1 - t) ** 2 + t**2
    return (2 * t - 1) / square * x - out / square.sqrt()


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with weights and bias at zero, so that a residual branch starts as identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def given(field: Tensor | None, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A conditioning map like the weights; zeros, its null, where the field is not given."""
    if field is None:
        return weight.new_zeros((1, *shape))
    expect(field, shape, "condition")
    return field.to(weight)


def expect(x: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Refuse a tensor whose axes after the batch differ from `shape`."""
    if tuple(x.shape[1:]) != shape:
        raise InputError(f"{what} must have shape (b, {str(shape)[1:-1]}); got {tuple(x.shape)}.")
