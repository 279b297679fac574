"""The pixel-space video UNet of EchoDiffusion: every stage of its cascades is one of these.

It animates a frame to the EF asked for, at a low resolution or frame rate, or makes more of a video
that an earlier stage made (`lowres`). It reads c_in x_t and ln(sigma) / 4, as `EDM` hands them out,
and gives F of Karras et al. 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.unet3d_condition import Conditioning, Told
from echoflow.networks.unet3d_layers import (
    AlongTime,
    Block,
    CrossAttention,
    Everywhere,
    Grow,
    Shrink,
    Stem,
    Widen,
)
from echoflow.types import InputError, check_whole

SKIP_SCALE = 2**-0.5  # of a skip connection beside what it joins
MIDDLE_HEADS = (8, 64)  # of the middle blocks' cross-attention, whatever the others have


@dataclass(frozen=True)
class UNet3DConfig:
    """A stage of a cascade. `size` (pixels) and `frames` say what it makes and change no weight.

    Level i has `width * multiples[i]` channels and `blocks[i]` residual blocks after its first one,
    which asks the condition tokens where `cross[i]`. `memory_saving` shrinks before a level's
    blocks and not after, so that full resolution has but one block on the way down. `lowres` takes
    a low-resolution video as input. `zero_ef_is_null`: as in the released code, the token (not the
    vector) of an EF of exactly 0 is that of no EF; otherwise 0 is a value like any other.
    """

    channels: int = 3
    size: int = 112
    frames: int = 16
    width: int = 64
    multiples: tuple[int, ...] = (1, 2, 4)
    blocks: tuple[int, ...] = (2, 2, 2)
    cross: tuple[bool, ...] = (False, False, True)
    middle_attention: bool = True
    memory_saving: bool = False
    lowres: bool = False
    heads: int = 8
    head: int = 64
    groups: int = 8
    zero_ef_is_null: bool = False

    def __post_init__(self) -> None:
        numbers = ("channels", "size", "frames", "width", "heads", "head", "groups")
        check_whole({name: getattr(self, name) for name in numbers})
        for name in ("blocks", "cross"):
            found = len(getattr(self, name))
            if found != len(self.multiples) or not found:
                raise InputError(
                    f"a video UNet needs one entry of {name} for each of its levels; got {found} "
                    f"for {len(self.multiples)} levels."
                )
        odd = [n for n in (self.width, *self.widths) if n < 1 or n % self.groups or n % 4]
        if odd:
            raise InputError(
                f"the widths of a video UNet must be multiples of 4 and of its {self.groups} norm "
                f"groups; got {odd[0]}."
            )
        if self.multiples[0] != 1 and not self.memory_saving:
            raise InputError(
                "the first level of a video UNet that saves no memory has the width of its input, "
                f"so that multiples begin with 1; got {self.multiples[0]}."
            )
        if self.size % self.step:
            raise InputError(
                f"a video UNet of this form makes videos with sides that are multiples of "
                f"{self.step}; got {self.frames} frames of {self.size} pixels."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * n for n in self.multiples)

    @property
    def hidden(self) -> int:
        """Width of the vector that scales and shifts features."""
        return self.width * (8 if self.lowres else 4)

    @property
    def step(self) -> int:
        """Sides must be multiples of this: 2 for each time that they are halved."""
        return 2 ** (len(self.multiples) - (not self.memory_saving))

    @property
    def entries(self) -> tuple[int, ...]:
        """Channels with which each level is entered: those of the one before."""
        return (self.width, *self.widths[:-1])

    @property
    def skips(self) -> tuple[int, ...]:
        """Channels of the skip connections of each level."""
        return self.widths if self.memory_saving else self.entries


def check_order(configs: Sequence[UNet3DConfig]) -> None:
    """`InputError` unless every stage makes more of what the one before made."""
    for i, (before, after) in enumerate(pairwise(configs), start=1):
        if before.channels != after.channels:
            raise InputError(
                f"stage {i} makes {before.channels} colour channels and stage {i + 1} "
                f"{after.channels}; a cascade has as many in every stage."
            )
        if before.size > after.size or before.frames > after.frames:
            raise InputError(
                f"stage {i} makes {before.frames} frames of {before.size} pixels and stage {i + 1} "
                f"{after.frames} of {after.size}; put the stages in order of growing size."
            )
    for i, config in enumerate(configs, start=1):
        if config.lowres != (i > 1):
            raise InputError(
                f"stage {i} of a cascade {'needs a' if i > 1 else 'takes no'} low-resolution "
                "input; check the order of the stages."
            )


class UNet3D(nn.Module):
    """F(c_in x_t, ln(sigma) / 4 | frame, EF, low-resolution video) of a pixel video."""

    def __init__(self, config: UNet3DConfig) -> None:
        super().__init__()
        k = self.config = config
        levels = range(len(k.multiples))
        self.condition = Conditioning(k.width, k.hidden, k.heads, k.head, k.lowres)
        self.stem = Stem(k.channels * (3 if k.lowres else 2), k.width)
        self.stem_time = AlongTime(k.width, k.heads, k.head)
        start = Block(k.width, k.width, k.hidden, k.groups, gated=True)
        self.start = start if k.memory_saving else None
        self.downs: Any = nn.ModuleList(Down(k, i) for i in levels)
        self.middle = Middle(k)
        self.ups: Any = nn.ModuleList(Up(k, i) for i in reversed(levels))
        self.last = Block(k.width, k.width, k.hidden, k.groups, gated=True)
        ahead = k.width + (k.channels if k.lowres else 0)
        self.head = nn.Conv3d(ahead, k.channels, (1, 3, 3), padding=(0, 1, 1))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, t: Tensor, cond: Condition, in_time: bool = True) -> Tensor:
        """x (b, c, t, h, w), t (b,) what the process tells of the noise -> F, like x.

        `cond.frame` (b, c, any h, any w) in [-1, 1]; `cond.ef` percent, nan where absent;
        `cond.lowres` like x, noised, with `cond.lowres_noise` (b,) what is told of that noise.
        `in_time` false: no layer looks along time, and frames are as good as independent.
        """
        self._check(x, cond)
        ef = cond.ef
        fraction = torch.full_like(t, math.nan) if ef is None else ef.to(t) / 100.0
        absent = fraction == 0 if self.config.zero_ef_is_null else None
        told = self.condition(t, fraction, absent, cond.lowres_noise)
        assert cond.frame is not None
        return self.output(x, told, (cond.frame + 1) / 2, cond.lowres, in_time)

    def output(
        self,
        x: Tensor,
        told: Told,
        frame: Tensor,
        lowres: Tensor | None = None,
        in_time: bool = True,
    ) -> Tensor:
        """The same from what is told, and with the frame in [0, 1] as in the released code."""
        planes = [self._shown(frame, x), x, *([] if lowres is None else [lowres.to(x.dtype)])]
        y = self.stem_time(self.stem(torch.cat(planes, dim=1)), in_time)
        if self.start is not None:
            y = self.start(y, *told, in_time)
        skips: list[Tensor] = []
        for down in self.downs:
            y = down(y, told, skips, in_time)
        y = self.middle(y, told, in_time)
        for up in self.ups:
            y = up(y, told, skips, in_time)
        y = self.last(y, *told, in_time)
        return self.head(y if lowres is None else torch.cat([y, planes[2]], dim=1))

    def _shown(self, frame: Tensor, x: Tensor) -> Tensor:
        """The frame at every moment of x, in its size: the nearest pixels, as released."""
        if frame.shape[-2:] != x.shape[-2:]:
            frame = F.interpolate(frame, x.shape[-2:], mode="nearest")
        return repeat(frame.to(x.dtype), "b c h w -> b c t h w", t=x.shape[2])

    def _check(self, x: Tensor, cond: Condition) -> None:
        k = self.config
        if x.ndim != 5 or x.shape[1] != k.channels or any(n % k.step for n in x.shape[-2:]):
            raise InputError(
                f"this stage takes videos (b, {k.channels}, t, h, w) with sides that are multiples "
                f"of {k.step}; got {tuple(x.shape)}."
            )
        b, c = x.shape[:2]
        frame = None if cond.frame is None else tuple(cond.frame.shape[:2])
        if frame != (b, c):
            raise InputError(
                f"this stage animates a frame; give cond.frame ({b}, {c}, h, w), got "
                f"{None if cond.frame is None else tuple(cond.frame.shape)}."
            )
        self._check_lowres(x, cond)

    def _check_lowres(self, x: Tensor, cond: Condition) -> None:
        if not self.config.lowres:
            if cond.lowres is not None or cond.lowres_noise is not None:
                raise InputError(
                    "this is a first stage, which takes no low-resolution video; got one of shape "
                    f"{_shape(cond.lowres)}. Check the order of the stages."
                )
        elif _shape(cond.lowres) != tuple(x.shape) or _shape(cond.lowres_noise) != (len(x),):
            raise InputError(
                f"this stage needs a low-resolution video resized to {tuple(x.shape)} with its "
                f"noise level ({len(x)},); got {_shape(cond.lowres)} and "
                f"{_shape(cond.lowres_noise)}."
            )


class Down(nn.Module):
    """A level on the way down; the output of every block but the first is kept for the way up."""

    def __init__(self, config: UNet3DConfig, i: int) -> None:
        super().__init__()
        into, out, width = config.entries[i], config.widths[i], config.skips[i]
        self.before = Shrink(into, out) if config.memory_saving else nn.Identity()
        self.first = _block(config, width, width, config.cross[i])
        self.blocks: Any = nn.ModuleList(
            _block(config, width, width, gated=True) for _ in range(config.blocks[i])
        )
        self.time = AlongTime(width, config.heads, config.head)
        narrow = Widen(into, out) if i == len(config.widths) - 1 else Shrink(into, out)
        self.after = nn.Identity() if config.memory_saving else narrow

    def forward(self, x: Tensor, told: Told, skips: list[Tensor], in_time: bool) -> Tensor:
        x = self.first(self.before(x), *told, in_time)
        for block in self.blocks:
            x = block(x, *told, in_time)
            skips.append(x)
        x = self.time(x, in_time)
        skips.append(x)
        return self.after(x)


class Middle(nn.Module):
    """The bottleneck: its blocks ask the condition tokens in every stage."""

    def __init__(self, config: UNet3DConfig) -> None:
        super().__init__()
        width = config.widths[-1]
        self.first, self.last = (_block(config, width, width, True, MIDDLE_HEADS) for _ in range(2))
        everywhere = Everywhere(width, config.heads, config.head)
        self.everywhere = everywhere if config.middle_attention else None
        self.time = AlongTime(width, config.heads, config.head)

    def forward(self, x: Tensor, told: Told, in_time: bool) -> Tensor:
        x = self.first(x, *told, in_time)
        if self.everywhere is not None:
            x = self.everywhere(x)
        return self.last(self.time(x, in_time), *told, in_time)


class Up(nn.Module):
    """A level on the way up: each block takes the latest skip that is left."""

    def __init__(self, config: UNet3DConfig, i: int) -> None:
        super().__init__()
        width, both = config.widths[i], config.widths[i] + config.skips[i]
        self.first = _block(config, both, width, config.cross[i])
        self.blocks: Any = nn.ModuleList(
            _block(config, both, width, gated=True) for _ in range(config.blocks[i])
        )
        self.time = AlongTime(width, config.heads, config.head)
        grows = i > 0 or config.memory_saving
        self.after = Grow(width, config.entries[i]) if grows else nn.Identity()

    def forward(self, x: Tensor, told: Told, skips: list[Tensor], in_time: bool) -> Tensor:
        for block in (self.first, *self.blocks):
            x = block(torch.cat([x, SKIP_SCALE * skips.pop()], dim=1), *told, in_time)
        return self.after(self.time(x, in_time))


def _block(
    config: UNet3DConfig,
    into: int,
    out: int,
    cross: bool = False,
    heads: tuple[int, int] | None = None,
    gated: bool = False,
) -> Block:
    ask = CrossAttention(out, config.width, *(heads or (config.heads, config.head)))
    return Block(into, out, config.hidden, config.groups, ask if cross else None, gated)


def _shape(x: Tensor | None) -> tuple[int, ...] | None:
    return None if x is None else tuple(x.shape)
