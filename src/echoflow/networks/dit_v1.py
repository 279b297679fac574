"""The transformers as released with EchoFlow: FMiTv1 makes anatomies, FMvTv1 animates one.

Style `v1` keeps what the published weights were trained with, quirks included: t enters its
sinusoid unscaled, the video network merges attention heads out of order, its temporal attention
sees the raw residual and shares the gate of the spatial one. `dit` has the style for new training.

A call is the three parts of `prepared.Stepwise`, of which samplers do two once per video.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.dit import expect, zeroed
from echoflow.networks.layers_v1 import (
    MLP,
    ImageBlock,
    TimeMLP,
    VideoBlock,
    embedded,
    modulate,
    sincos,
    sincos_plane,
    unpatched,
)
from echoflow.networks.prepared import Modulation, Stepwise, Still
from echoflow.types import InputError

NULL_EF = -1.0  # the token of an absent EF; a known EF is a fraction


@dataclass(frozen=True)
class FMiTv1Config:
    """Shape of a released image transformer. `size` is the latent side in cells."""

    channels: int = 4
    size: int = 28
    patch: int = 2
    width: int = 384
    depth: int = 12
    heads: int = 6
    views: int = 3
    mask_channels: int = 1
    qkv_bias: bool = True
    norm_eps: float = 1e-5  # of the norm before the MLP; the others have 1e-6

    def __post_init__(self) -> None:
        _check_shape((self.size,), (self.patch,), self.width, self.heads)


@dataclass(frozen=True)
class FMvTv1Config:
    """Shape of a released video transformer; `size` is (rows, columns) of the latent, in cells.

    `tokens` vectors of `token_width` condition it: one, the EF. `scrambled_heads` is the released
    merge of attention heads (see `Attention`); the scales divide the positions of the tables.
    """

    channels: int = 4
    size: tuple[int, int] = (28, 28)
    frames: int = 64
    patch: tuple[int, int, int] = (1, 2, 2)
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    tokens: int = 1
    token_width: int = 1
    space_scale: float = 1.0
    time_scale: float = 1.0
    scrambled_heads: bool = True

    def __post_init__(self) -> None:
        _check_shape((self.frames, *self.size), self.patch, self.width, self.heads)
        if self.token_width < 1:
            raise InputError(f"tokens must be at least 1 wide; got {self.token_width}.")


class FMiTv1(Stepwise):
    """Image transformer: noisy latent + mask + view -> velocity.

    x (b, c, h, w), t (b,), cond.mask (b, 1, h, w), cond.view (b,) -> v (b, c, h, w).
    """

    def __init__(self, config: FMiTv1Config) -> None:
        super().__init__()
        k = self.config = config
        self.patch = (1, k.patch, k.patch)
        self.embed = nn.Conv2d(k.channels + k.mask_channels, k.width, k.patch, k.patch)
        self.blocks = _stack(
            k.depth, lambda: ImageBlock(k.width, k.heads, k.views, k.qkv_bias, k.norm_eps)
        )
        self.ada = nn.Linear(k.width, 2 * k.width)
        self.head = nn.Linear(k.width, k.channels * k.patch**2)
        side = k.size // k.patch
        self.place: Tensor
        self.register_buffer("place", sincos_plane(side, side, k.width).float(), persistent=False)
        for layer in [*(block.ada for block in self.blocks), self.ada, self.head]:
            zeroed(layer)

    def still(self, cond: Condition) -> Still:
        """The embedded mask, with the places of the tokens, and the row of each view."""
        k, weight = self.config, self.embed.weight
        shape = (k.mask_channels, k.size, k.size)
        mask = weight.new_zeros(1, *shape) if cond.mask is None else cond.mask
        expect(mask, shape, "mask")
        own = weight[:, k.channels :]
        places = embedded(mask[:, :, None], self.patch, own, self.embed.bias) + self.place
        none = torch.full((1,), -1, device=weight.device)
        view = none if cond.view is None else cond.view.to(weight.device)
        if bool(((view < -1) | (view >= k.views)).any()):
            raise InputError(
                f"view must be an index from 0 to {k.views - 1}, the {k.views} classes of this "
                f"model, or -1 for none; got {view.tolist()}."
            )
        return Still(len(cond), places, view=torch.where(view < 0, k.views, view))

    def modulation(self, t: Tensor, still: Still) -> Modulation:
        """One row for each of t (n,), n a multiple of the conditions: times outside, b inside."""
        assert still.view is not None
        view = still.view.repeat(max(1, len(t) // len(still.view)))
        embedded = [block.embedding(t, view) for block in self.blocks]
        rows = [block.ada(c) for block, c in zip(self.blocks, embedded, strict=True)]
        blocks = torch.stack(rows, 1).unflatten(-1, (6, -1))
        return Modulation(t, blocks, self.ada(embedded[0]).unflatten(-1, (2, -1)))

    def velocity(self, x: Tensor, ada: Modulation, still: Still) -> Tensor:
        """v (b, c, h, w) of x, like it."""
        k = self.config
        expect(x, (k.channels, k.size, k.size), "latent image")
        y = embedded(x[:, :, None], self.patch, self.embed.weight[:, : k.channels]) + still.places
        for i, block in enumerate(self.blocks):
            y = block(y, ada.blocks[:, i])
        shift, scale = ada.head.unbind(1)
        y = self.head(modulate(y, shift, scale))
        return unpatched(y, self.patch, k.size // k.patch)[:, :, 0].to(x.dtype)


class FMvTv1(Stepwise):
    """Video transformer: noisy latent video + anatomy + EF -> velocity.

    x (b, c, t, h, w), t (b,), cond.frame (b, c, h, w), cond.ef (b,) percent -> v like x.
    """

    def __init__(self, config: FMvTv1Config) -> None:
        super().__init__()
        k = self.config = config
        steps, rows, columns = self.grid = grid(k)
        self.embed = nn.Conv3d(2 * k.channels, k.width, k.patch, k.patch)
        self.time = TimeMLP(k.width, reached=False)
        self.ada = nn.Linear(k.width, 6 * k.width)
        self.token = MLP(k.token_width, k.width, k.width)
        self.blocks = _stack(
            k.depth, lambda: VideoBlock(k.width, k.heads, k.mlp_ratio, k.scrambled_heads)
        )
        self.table = nn.Parameter(torch.randn(2, k.width) / k.width**0.5)
        self.head = nn.Linear(k.width, k.channels * math.prod(k.patch))
        self.place: Tensor
        self.place_time: Tensor
        plane = sincos_plane(rows, columns, k.width, k.space_scale)
        frames = sincos(torch.arange(steps) / k.time_scale, k.width)
        self.register_buffer("place", plane.float()[None])
        self.register_buffer("place_time", frames.float()[None])
        self.register_buffer("token_null", torch.randn(k.tokens, k.token_width))  # never read
        _initialise(self)

    def still(self, cond: Condition) -> Still:
        """The anatomy on every frame, the EF as the single token."""
        k, weight = self.config, self.embed.weight
        if k.token_width != 1:
            raise InputError(
                f"this model reads tokens of width {k.token_width}; an EF has width 1."
            )
        ef = weight.new_full((1,), math.nan) if cond.ef is None else cond.ef.to(weight.device)
        fraction = torch.where(ef.isnan(), NULL_EF, ef.float() / 100.0)
        shape = (k.channels, *k.size)
        frame = weight.new_zeros(1, *shape) if cond.frame is None else cond.frame
        expect(frame, shape, "anatomy")
        return self.still_of(frame[:, :, None], fraction[:, None, None], len(cond))

    def still_of(self, video: Tensor, tokens: Tensor | None, samples: int = 0) -> Still:
        """The same for any video (b, c, t or 1, h, w) and any tokens (b, n, width), or none."""
        k, weight = self.config, self.embed.weight
        frames = k.patch[0] if video.shape[2] == 1 else k.frames
        video = video.expand(-1, -1, frames, -1, -1) if video.shape[2] == 1 else video
        expect(video, (k.channels, frames, *k.size), "condition video")
        places = embedded(video, k.patch, weight[:, k.channels :], self.embed.bias) + self.place
        if tokens is None:
            return Still(samples, places)
        expect(tokens, (tokens.shape[1], k.token_width), "condition tokens")
        y = self.token(tokens.to(weight.dtype))
        single = y.shape[1] == 1
        constants = tuple(block.cross.constant(y) for block in self.blocks) if single else ()
        return Still(samples, places, tokens=y, constants=constants)

    def modulation(self, t: Tensor, still: Still) -> Modulation:
        """One row for each of t (n,)."""
        c = self.time(t)
        rows = self.ada(F.silu(c)).unflatten(-1, (6, -1))[:, None]
        blocks = rows + torch.stack([block.table for block in self.blocks])
        return Modulation(t, blocks, c[:, None] + self.table)

    def velocity(self, x: Tensor, ada: Modulation, still: Still) -> Tensor:
        """v of x (b, c, t, h, w), like it; of all frames, or in training of one token of time."""
        k = self.config
        frames = x.shape[2] if x.ndim == 5 else k.frames
        if frames not in (k.frames, k.patch[0]):
            raise InputError(f"this model is for videos of {k.frames} frames; got {frames}.")
        expect(x, (k.channels, frames, *k.size), "latent video")
        y = embedded(x, k.patch, self.embed.weight[:, : k.channels]) + still.places
        time = self.place_time[:, : y.shape[1], None]
        for i, block in enumerate(self.blocks):
            constant = still.constants[i] if still.constants else None
            y = block(y, ada.blocks[:, i], still.tokens, constant, time if i == 0 else None)
        shift, scale = ada.head.unbind(1)
        y = self.head(modulate(y, shift, scale))
        return unpatched(y, k.patch, self.grid[1]).to(x.dtype)


def grid(config: FMvTv1Config) -> tuple[int, int, int]:
    """Tokens along time, rows and columns."""
    frames, (height, width), (pt, ph, pw) = config.frames, config.size, config.patch
    return frames // pt, height // ph, width // pw


def _check_shape(sizes: tuple[int, ...], patches: tuple[int, ...], width: int, heads: int) -> None:
    for size, patch in zip(sizes, patches, strict=True):
        if patch < 1 or size < 1 or size % patch:
            raise InputError(f"a latent of {size} cells or frames has no whole patches of {patch}.")
    if width % 4 or width % heads:
        raise InputError(f"the width must be a multiple of 4 and of {heads} heads; got {width}.")


def _initialise(net: FMvTv1) -> None:
    """As the released code starts: branches that vanish, small embedders, Xavier elsewhere."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(net.embed.weight.flatten(1))
    for layer in (net.time.fc1, net.time.fc2, net.ada, net.token.fc1, net.token.fc2):
        nn.init.normal_(layer.weight, std=0.02)
    for block in net.blocks:
        zeroed(block.cross.proj)
        zeroed(block.attn_temp.proj)
    zeroed(net.head)


def _stack(depth: int, block: Callable[[], nn.Module]) -> Any:
    """Blocks one after the other; `Any`, because a ModuleList forgets what it holds."""
    return nn.ModuleList(block() for _ in range(depth))
