"""The pixel-space video UNet of Free-Echo: a segmentation, as one plane for each label, and noise.

As released: convolutions within frames, linear attention within frames, attention along time (both
ways, with rotary positions and a bias of the distance). It reads c_in x_t and ln(sigma) / 4, as
`EDM` hands them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.unet3d_labels_layers import (
    AlongTime,
    Block,
    DistanceTable,
    LinearAttention,
    WithinFrame,
    grow,
    per_frame,
    shrink,
    sinusoid,
)
from echoflow.types import InputError, check_whole


@dataclass(frozen=True)
class LabelUNet3DConfig:
    """Level i has `width * multiples[i]` channels. `labels` counts the background as one.

    `size` (pixels) and `frames` say what it makes and change no weight.
    """

    channels: int = 3
    size: int = 128
    frames: int = 24
    width: int = 32
    multiples: tuple[int, ...] = (1, 2, 4)
    labels: int = 5
    heads: int = 8
    head: int = 32
    groups: int = 8
    kernel: int = 7  # of the first convolution

    def __post_init__(self) -> None:
        numbers = ("channels", "size", "frames", "width", "heads", "head", "groups")
        check_whole({name: getattr(self, name) for name in numbers})
        odd = [n for n in self.widths if n < 1 or n % self.groups]
        if odd or not self.multiples:
            raise InputError(
                f"the widths of this UNet must be multiples of its {self.groups} norm groups; got "
                f"{odd[0] if odd else 'none'}."
            )
        if self.size % self.step:
            raise InputError(
                f"this UNet makes videos with sides that are multiples of {self.step}; got "
                f"{self.frames} frames of {self.size} pixels."
            )
        if self.labels < 2 or self.head % 4 or self.kernel % 2 == 0:
            raise InputError(
                "this UNet needs at least 2 labels, heads of a multiple of 4 and an odd kernel; "
                f"got {self.labels}, {self.head} and {self.kernel}."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * n for n in self.multiples)

    @property
    def entries(self) -> tuple[int, ...]:
        """Channels with which each level is entered."""
        return (self.width, *self.widths[:-1])

    @property
    def step(self) -> int:
        """Sides must be multiples of this."""
        return 2 ** (len(self.multiples) - 1)


class LabelUNet3D(nn.Module):
    """F(c_in x_t, ln(sigma) / 4 | labels) of a pixel video."""

    def __init__(self, config: LabelUNet3DConfig) -> None:
        super().__init__()
        k = self.config = config
        levels = range(len(k.multiples))
        self.bias = DistanceTable(k.heads)
        pad = (0, k.kernel // 2, k.kernel // 2)
        self.stem = nn.Conv3d(k.channels + k.labels, k.width, (1, k.kernel, k.kernel), padding=pad)
        self.stem_time = AlongTime(k.width, k.heads, k.head)
        self.fc1 = nn.Linear(k.width, 4 * k.width)
        self.fc2 = nn.Linear(4 * k.width, 4 * k.width)
        self.downs: Any = nn.ModuleList(
            Level(k, k.entries[i], k.widths[i], shrink(k.widths[i]) if i < levels[-1] else None)
            for i in levels
        )
        deep = k.widths[-1]
        self.middle: Any = nn.ModuleDict(
            {
                "first": Block(deep, deep, k.groups, 4 * k.width),
                "space": WithinFrame(deep, k.heads, k.head),
                "time": AlongTime(deep, k.heads, k.head),
                "last": Block(deep, deep, k.groups, 4 * k.width),
            }
        )
        self.ups: Any = nn.ModuleList(
            Level(k, 2 * k.widths[i], k.entries[i], grow(k.entries[i]) if i else None)
            for i in reversed(levels)
        )
        self.last = Block(2 * k.width, k.width, k.groups)
        self.head = nn.Conv3d(k.width, k.channels, 1)
        self.unread = Unread(k)

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """x (b, c, t, h, w), t (b,) what the process tells of the noise -> F, like x.

        `cond.mask` (b, labels - 1, h, w): a plane of 0 and 1 for each label but the background,
        which is what they leave over. Without a mask, or with its null, all is background.
        """
        k = self.config
        if x.ndim != 5 or x.shape[1] != k.channels or any(n % k.step for n in x.shape[-2:]):
            raise InputError(
                f"this model takes videos (b, {k.channels}, t, h, w) with sides that are multiples "
                f"of {k.step}; got {tuple(x.shape)}."
            )
        shape = (len(x), k.labels - 1, *x.shape[-2:])
        mask = x.new_zeros(shape) if cond.mask is None else cond.mask.to(x.dtype)
        if tuple(mask.shape) != shape:
            raise InputError(
                f"mask must have shape {shape}, a plane for each label but the background; got "
                f"{tuple(mask.shape)}."
            )
        background = 1 - mask.sum(1, keepdim=True)
        if not torch.compiler.is_compiling() and bool((background < 0).any()):
            raise InputError(
                f"the {k.labels - 1} planes of a mask overlap; give a pixel one label."
            )
        planes = torch.cat([background, mask], dim=1)
        return self.output(x, t, repeat(planes, "b k h w -> b k t h w", t=x.shape[2]))

    def output(self, x: Tensor, noise: Tensor, planes: Tensor) -> Tensor:
        """The same with all planes of every frame, (b, labels, t, h, w)."""
        bias = self.bias(x.shape[2])
        x = self.stem_time(per_frame(self.stem, torch.cat([x, planes.to(x.dtype)], dim=1)), bias)
        features = sinusoid(noise, self.config.width).to(x.dtype)
        c = self.fc2(F.gelu(self.fc1(features)))
        y, skips = x, []
        for down in self.downs:
            y = down.inside(y, c, bias)
            skips.append(y)
            y = y if down.after is None else per_frame(down.after, y)
        y = self.middle["space"](self.middle["first"](y, c))
        y = self.middle["last"](self.middle["time"](y, bias), c)
        for up in self.ups:
            y = up.inside(torch.cat([y, skips.pop()], dim=1), c, bias)
            y = y if up.after is None else per_frame(up.after, y)
        return per_frame(self.head, self.last(torch.cat([y, x], dim=1)))


class Level(nn.Module):
    """A level on either way: two blocks, attention within frames, attention along time."""

    def __init__(self, k: LabelUNet3DConfig, into: int, out: int, after: nn.Module | None) -> None:
        super().__init__()
        self.block1 = Block(into, out, k.groups, 4 * k.width)
        self.block2 = Block(out, out, k.groups, 4 * k.width)
        self.space = LinearAttention(out, k.heads, k.head)
        self.time = AlongTime(out, k.heads, k.head)
        self.after = after

    def inside(self, x: Tensor, c: Tensor, bias: Tensor) -> Tensor:
        """All but the change of resolution at the end."""
        return self.time(self.space(self.block2(self.block1(x, c), c)), bias)


class Unread(nn.Module):
    """What the released weights hold of a part that the released code never calls."""

    def __init__(self, k: LabelUNet3DConfig) -> None:
        super().__init__()
        width, inner = 64, 128
        shapes = {
            "conv_weight": (width, k.labels, 1, 1, 1),
            "conv_bias": (width,),
            "rates": (16,),
            "qkv": (3 * inner, width),
            "out": (width, inner),
            "gain": (1, width, 1, 1, 1),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
