"""Networks that judge: re-identification, the EF of a clip, the left ventricle of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


@dataclass(frozen=True)
class ReIdConfig:
    """`stages` of ResNet18 kept (4 is the whole trunk, as released); features per anatomy."""

    channels: int = 4
    features: int = 128
    stages: int = 4


class ReId(nn.Module):
    """A latent anatomy (b, c, h, w) -> features in (0, 1) (b, features) (EchoFlow section 3.3).

    torchvision's ResNet18 with a latent stem. Group norm replaces batch norm in truncated trunks,
    so that a feature never depends on the rest of the batch.
    """

    def __init__(self, config: ReIdConfig) -> None:
        super().__init__()
        from torchvision.models import resnet18

        self.config = config
        trunk = resnet18(weights=None, norm_layer=lambda width: nn.GroupNorm(8, width))
        width = 64 * 2 ** (config.stages - 1)
        self.stem = nn.Conv2d(config.channels, 64, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(8, 64)
        stages = [trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4]
        self.stages = nn.Sequential(*stages[: config.stages])
        self.fc = nn.Linear(4 * width, config.features)
        self.head = nn.Linear(config.features, 1)

    def forward(self, z: Tensor) -> Tensor:
        y = self.stages(F.max_pool2d(F.relu(self.norm(self.stem(z))), 2))
        return torch.sigmoid(self.fc(F.adaptive_avg_pool2d(y, 2).flatten(1)))

    def match(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (b,) that two feature rows show the same patient (EchoFlow eq. 19-22)."""
        return self.head((a - b).abs())[:, 0]


@dataclass(frozen=True)
class EFRegressorConfig:
    """A small residual network, (2+1)-D, over clips shrunk to `size` pixels."""

    widths: tuple[int, ...] = (16, 32, 64, 96)
    size: int = 56
    frames: int = 32
    fps: float = 16.0


class EFRegressor(nn.Module):
    """A clip (b, t, h, w) in [-1, 1] -> EF in percent (b,).

    Space is halved at every level, time is kept. The mean of a feature over the picture is a curve
    over the beat, as the area of a dark cavity is; the EF is read from the curves' mean, spread,
    top and bottom, and from how much features change in place.
    """

    def __init__(self, config: EFRegressorConfig) -> None:
        super().__init__()
        self.config = config
        pairs = zip((1, *config.widths), config.widths, strict=False)
        self.levels = nn.ModuleList(Level(into, out) for into, out in pairs)
        self.fc = nn.Sequential(nn.Linear(5 * config.widths[-1], 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, clip: Tensor) -> Tensor:
        b, side = len(clip), self.config.size
        frames = rearrange(clip, "b t h w -> (b t) 1 h w")
        y = F.interpolate(frames, size=(side, side), mode="area")
        for level in self.levels:
            y = level(y, b)
        y = rearrange(y, "(b t) c h w -> b t c (h w)", b=b).float()
        curve, change = y.mean(3), y.std(1).mean(2)
        parts = [curve.mean(1), curve.std(1), curve.amax(1), curve.amin(1), change]
        return 55.0 + 15.0 * self.fc(torch.cat(parts, dim=1))[:, 0]


class Level(nn.Module):
    """A strided 2-D convolution of every frame, then a residual convolution along time.

    (2+1)-D as in Tran et al. 2018, written with 2-D kernels, which are far faster on a CPU. The
    norms see the whole clip: one of each frame alone would remove the very changes to be measured.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(into, out, 3, 2, 1)
        self.norm = nn.GroupNorm(8, out)
        self.time = nn.Conv2d(out, out, (5, 1), 1, (2, 0))
        self.norm_time = nn.GroupNorm(8, out)

    def forward(self, x: Tensor, b: int) -> Tensor:
        """Frames ((b t), c, h, w) -> the same at half the size."""
        x = self.space(x)
        h = x.shape[-2]
        y = F.silu(self.norm(rearrange(x, "(b t) c h w -> b c t (h w)", b=b)))
        y = F.silu(self.norm_time(y + self.time(y)))
        return rearrange(y, "b c t (h w) -> (b t) c h w", h=h)


@dataclass(frozen=True)
class LVSegmenterConfig:
    """A small U-Net. Level i has `widths[i]` channels at 1 / 2^(i + 1) of the frame's size."""

    widths: tuple[int, ...] = (16, 32, 48, 64)


class LVSegmenter(nn.Module):
    """Frames (b, h, w) in [-1, 1] -> logits (b, h, w) that a pixel is LV cavity.

    h and w must be multiples of 2^levels. Logits are made at half size and enlarged.
    """

    def __init__(self, config: LVSegmenterConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.down = nn.ModuleList(
            nn.Sequential(_conv(into, out, 2), _conv(out, out))
            for into, out in zip((1, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            _conv(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        y = frames[:, None]
        skips = []
        for level in self.down:
            y = level(y)
            skips.append(y)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            wide = F.interpolate(y, size=skip.shape[-2:], mode="nearest")
            y = level(torch.cat([wide, skip], dim=1))
        size = frames.shape[-2:]
        return F.interpolate(self.out(y), size=size, mode="bilinear", align_corners=False)[:, 0]


def _conv(into: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU())
