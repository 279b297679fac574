"""An engine that knows the answers: what it "generates" is looked up by seed and EF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from tiny_engine import engine as tiny
from torch import Tensor
from torch.nn.functional import avg_pool2d

from echoflow.data.pixels import to_uint8
from echoflow.latents import Moments
from echoflow.metrics.cavity import Mask
from echoflow.privacy import Gallery, PrivacyFilter
from echoflow.sampling import SamplingPlan
from echoflow.truth.cases import Case, TruthPlan, Video
from echoflow.types import View

FRAMES, FPS = 15, 10.0
PLAN = TruthPlan(hearts=2, views=(View.A4C,), efs=(60.0,), own=(25.0, 35.0))


def pooled(z: Tensor) -> Tensor:
    """A re-identification without weights: the picture itself, coarsely."""
    return rearrange(avg_pool2d(z, 4), "b c h w -> b (c h w)")


class Blocks:
    """A latent space without weights: means of 4 x 4 pixels."""

    def encode(self, x: Tensor) -> Moments:
        mean = avg_pool2d(x[:, None], 4)
        return Moments(mean, torch.zeros_like(mean))

    def draw(self, moments: Moments) -> Tensor:
        return moments.mean

    def decode(self, z: Tensor) -> Tensor:
        return to_uint8(z[:, 0].repeat_interleave(4, 1).repeat_interleave(4, 2))


@dataclass
class Oracle:
    """`answers` by (seed, EF), exact masks by the bytes of a true video; the rest is small."""

    answers: dict[tuple[int, float], Video]
    masks: dict[bytes, Mask]
    fps: float = FPS
    frames: int = FRAMES
    anatomy: SamplingPlan = field(default_factory=SamplingPlan)
    motion: SamplingPlan = field(default_factory=SamplingPlan)
    space: Blocks = field(default_factory=Blocks)
    untraced: tuple[View, ...] = ()

    @classmethod
    def that_answers(cls, answer: Callable[[Case], Video], asked: Sequence[Case]) -> Oracle:
        true = [clip for c in asked for clip in (c.truth, c.before, c.stranger)]
        return cls(
            {(c.seed, round(c.asked, 3)): answer(c) for c in asked},
            {clip.clip.video[1:].tobytes(): clip.truth.mask[1:] for clip in true},
        )

    @property
    def privacy(self) -> PrivacyFilter:
        features = torch.randn(5, 49, generator=torch.Generator().manual_seed(1))
        return PrivacyFilter(pooled, Gallery(features, tuple("abcde")), 0.9)

    def finder(self, video: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """The exact cavity of a true video; of any other the prior, held."""
        held = np.broadcast_to(prior, video.shape)
        return self.masks.get(video.tobytes(), held)

    def regressor(self, video: Tensor) -> Tensor:
        return tiny().regressor(video)

    def anatomies(
        self,
        views: Sequence[View],
        masks: Tensor | None,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
    ) -> Tensor:
        raise NotImplementedError

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor:
        keys = [(seed, round(float(one), 3)) for seed, one in zip(seeds, ef, strict=True)]
        return torch.tensor([list(self.answers).index(key) for key in keys])

    def decode(self, z: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([list(self.answers.values())[int(i)] for i in z]))
