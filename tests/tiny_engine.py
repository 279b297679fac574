"""A pipeline small enough for a law: real tensors, real filter, no training.

Anatomies are noise, a video is a disc that shrinks as the EF asks, and the regressor measures the
disc. Each function treats samples one by one, as the real stages do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from echoflow.latents import LatentSpace, LatentStats
from echoflow.metrics.cavity import cavity
from echoflow.networks.avae import AVAEConfig, build_avae
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.privacy import Gallery, PrivacyFilter
from echoflow.sampling import SamplingPlan, noise_like
from echoflow.types import View

SIDE, FRAMES, RADIUS = 112, 8, 26.0


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.hypot(x, y) <= radius


def disc_mask(view: View, seed: int) -> np.ndarray:
    return disc(RADIUS)


def embed(z: Tensor) -> Tensor:
    return rearrange(adaptive_avg_pool2d(z, 6), "b c h w -> b (c h w)")


def strangers(n: int = 20) -> Gallery:
    features = torch.randn(n, 2 * 6 * 6, generator=torch.Generator().manual_seed(9))
    return Gallery(features, tuple(f"0X{i:016X}" for i in range(n)))


def untrained_space() -> LatentSpace:
    torch.manual_seed(0)
    avae = build_avae(AVAEConfig(channels=2, widths=(8, 8), layers=1, groups=4)).eval()
    return LatentSpace(avae, LatentStats(torch.zeros(2), torch.ones(2)))


TINY = {
    "avae": AVAEConfig(2, (8, 16), 1, 8, False, 1),
    "lifm": FMiTConfig(2, 8, 4, 32, 2, 2, preconditioned=True),
    "lvfm": FMvTConfig(2, 8, 8, (2, 4, 4), 32, 2, 2, preconditioned=True),
    "reid": ReIdConfig(2, 16, 1),
    "ef": EFRegressorConfig((8, 16), 16, 8),
    "lv": LVSegmenterConfig((8, 16)),
}


@dataclass
class TinyEngine:
    privacy: PrivacyFilter
    fps: float = 16.0
    anatomy: SamplingPlan = field(default_factory=SamplingPlan)
    motion: SamplingPlan = field(default_factory=SamplingPlan)
    untraced: tuple[View, ...] = ()

    @property
    def space(self) -> LatentSpace:
        return untrained_space()

    def finder(self, video: np.ndarray, prior: np.ndarray) -> np.ndarray:
        return cavity(video, prior)

    def regressor(self, video: Tensor) -> Tensor:
        dark = (video < 100).sum(dim=(-2, -1)).double()
        return (100 * (1 - (dark.amin(1) / dark.amax(1)) ** 1.5)).float()

    def anatomies(
        self,
        views: Sequence[View],
        masks: Tensor | None,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
    ) -> Tensor:
        return noise_like((2, 6, 6), seeds)

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor:
        beat = 0.5 - 0.5 * torch.cos(torch.arange(FRAMES) * 2 * torch.pi / FRAMES)
        scale = (1 - ef[:, None] / 100 * beat) ** (1 / 3)
        z = (
            frame[:, :, None].repeat(1, 1, FRAMES, 1, 1)
            + 0.1 * noise_like((FRAMES, 1, 1), seeds)[:, None]
        )
        z[:, 0, :, 0, 0] = scale
        return z

    def decode(self, z: Tensor) -> Tensor:
        scales = z[:, 0, :, 0, 0].numpy()
        level = 180 + 10 * torch.tanh(z[:, 1, :, 0, 0]).numpy()
        videos = [
            [np.where(disc(RADIUS * s), 20, g) for s, g in zip(row, greys, strict=True)]
            for row, greys in zip(scales, level, strict=True)
        ]
        return torch.from_numpy(np.array(videos).astype(np.uint8))


def engine(tau: float = 0.9) -> TinyEngine:
    return TinyEngine(PrivacyFilter(embed, strangers(), tau))
