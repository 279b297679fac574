"""The flow-matching transformers: FMiT makes anatomies, FMvT animates one (EchoFlow section 3).

Both read their condition by name and predict the velocity `v = noise - x0` of a rectified flow.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    def forward(self, x: Tensor, c: Tensor, angles: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.ada(c).chunk(6, dim=-1)
        x = gated(x, gate, self.attn(modulate(x, shift, scale), angles))
        return gated(x, gate_mlp, self.mlp(modulate(x, shift_mlp, scale_mlp)))


class VideoBlock(nn.Module):
    """Attention within each frame, then along time at each position, then the MLP.

    Every branch has its own adaLN norm and gate, and the EF enters all of them through `c`.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_temp = Attention(width, heads)
        self.mlp = GatedMLP(width, mlp_ratio)
        self.ada = zeroed(nn.Linear(width, 9 * width))

    def forward(self, x: Tensor, c: Tensor, space: Tensor, time: Tensor) -> Tensor:
        """x (b, t, s, d) and the condition c (b, d)."""
        b = len(x)
        ada = self.ada(c).chunk(9, dim=-1)
        y = rearrange(modulate(x, ada[0], ada[1]), "b t s d -> (b t) s d")
        x = gated(x, ada[2], rearrange(self.attn(y, space), "(b t) s d -> b t s d", b=b))
        y = rearrange(modulate(x, ada[3], ada[4]), "b t s d -> (b s) t d")
        x = gated(x, ada[5], rearrange(self.attn_temp(y, time), "(b s) t d -> b t s d", b=b))
        return gated(x, ada[8], self.mlp(modulate(x, ada[6], ada[7])))


class Head(nn.Module):
    """Final adaLN and the zero-initialised projection of each token to its cells."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.ada = zeroed(nn.Linear(width, 2 * width))
        self.linear = zeroed(nn.Linear(width, out))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return self.linear(modulate(x, *self.ada(c).chunk(2, dim=-1)))


class FMiT(nn.Module):
    """Image flow-matching transformer: noisy latent + mask + view -> velocity."""

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

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """x (b, c, h, w), t (b,), cond.mask (b, k, h, w), cond.view (b,) -> v (b, c, h, w)."""
        k = self.config
        expect(x, (k.channels, k.size, k.size), "latent image")
        mask = absent(cond.mask, x, (k.mask_channels, k.size, k.size))
        view = torch.full(x.shape[:1], -1, device=x.device) if cond.view is None else cond.view
        tokens = rearrange(
            torch.cat([x, mask], dim=1), "b c (h p) (w q) -> b (h w) (c p q)", p=k.patch, q=k.patch
        )
        side = k.size // k.patch
        angles = rotary_plane(side, side, k.width // k.heads, x.device)
        c = nn.functional.silu(self.time(t) + self.view(view))
        y = self.embed(tokens)
        y = y + self.place(places(1, side, side, x.device)[0].to(y.dtype))
        for block in self.blocks:
            y = block(y, c, angles)
        shape = {"h": side, "p": k.patch, "q": k.patch}
        out = rearrange(self.head(y, c), "b (h w) (c p q) -> b c (h p) (w q)", **shape)
        return velocity(out, x, t) if k.preconditioned else out


class FMvT(nn.Module):
    """Video flow-matching transformer: noisy latent clip + anatomy frame + EF -> velocity."""

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

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """x (b, c, t, h, w), t (b,), cond.frame (b, c, h, w), cond.ef (b,) percent -> v like x.

        The number of frames is free as long as it is a multiple of the temporal patch.
        """
        k = self.config
        pt, ph, pw = k.patch
        if x.shape[2] % pt:
            raise InputError(f"frames must be a multiple of {pt}; got {x.shape[2]}.")
        expect(x, (k.channels, x.shape[2], k.size, k.size), "latent video")
        frame = absent(cond.frame, x, (k.channels, k.size, k.size))
        ef = torch.full(x.shape[:1], torch.nan, device=x.device) if cond.ef is None else cond.ef
        rows, columns, steps = k.size // ph, k.size // pw, x.shape[2] // pt
        y = self.embed(
            rearrange(x, "b c (t o) (h p) (w q) -> b t (h w) (c o p q)", o=pt, p=ph, q=pw)
        )
        anatomy = rearrange(frame, "b c (h p) (w q) -> b (h w) (c p q)", p=ph, q=pw)
        y = y + self.embed_frame(anatomy)[:, None]
        y = y + self.place(places(steps, rows, columns, x.device).to(y.dtype))
        head = k.width // k.heads
        space = rotary_plane(rows, columns, head, x.device)
        time = rotary_angles(torch.arange(steps, device=x.device), head)
        c = nn.functional.silu(self.time(t) + self.ef(ef))
        for block in self.blocks:
            y = block(y, c, space, time)
        out = rearrange(
            self.head(y, c),
            "b t (h w) (c o p q) -> b c (t o) (h p) (w q)",
            h=rows,
            o=pt,
            p=ph,
            q=pw,
        )
        if not k.preconditioned:
            return out
        return velocity(out + over(t, x) * frame[:, :, None], x, t)


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


def absent(field: Tensor | None, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A conditioning map in x's dtype; zeros, its null, where the field is not given."""
    if field is None:
        return x.new_zeros((x.shape[0], *shape))
    expect(field, shape, "condition")
    return field.to(x.dtype)


def expect(x: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Refuse a tensor whose axes after the batch differ from `shape`."""
    if tuple(x.shape[1:]) != shape:
        raise InputError(f"{what} must have shape (b, {str(shape)[1:-1]}); got {tuple(x.shape)}.")
