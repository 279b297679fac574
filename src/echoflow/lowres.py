"""What a stage of a cascade sees of the one before: its video, resized and a little noised.

Noise closes the gap between the clean small videos of training and those that a stage makes
(conditioning augmentation; Ho et al. 2022, sec. 4). The schedule is EchoDiffusion's, which it has
from imagen-pytorch: log_snr(t) = -ln(exp(1e-4 + 10 t^2) - 1), variance preserving, t in [0, 1].
Training draws t and tells the network log_snr(t). Sampling takes t = 0.2, where alpha is 0.82 and
sigma 0.57, and the released code tells the network "0.2" instead of 0.709, its log_snr: published
weights were evaluated so, hence `told="level"`. Weights of our own want `told="log-snr"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.types import InputError, choose

Resize = Literal["nearest", "trilinear"]
Told = Literal["level", "log-snr"]


@dataclass(frozen=True)
class LowRes:
    """How a video is handed on: `resize` to the next stage's size, noise of `level`, and what the
    network is `told` of it."""

    resize: Resize = "nearest"
    level: float = 0.2
    told: Told = "level"

    def __post_init__(self) -> None:
        choose(self.resize, get_args(Resize), "resize mode")
        choose(self.told, get_args(Told), "way to tell a noise level")
        if not 0 <= self.level <= 1:
            raise InputError(f"the level of low-resolution noise is in [0, 1]; got {self.level}.")

    def given(
        self, cond: Condition, video: Tensor, shape: Sequence[int], noise: Tensor
    ) -> Condition:
        """`cond` with the video (b, c, t, h, w) in [-1, 1] of the stage before, for sampling.

        `shape` is (t, h, w) of the next stage, whose shape `noise` has.
        """
        ratio = log_snr(torch.full((len(video),), self.level, device=video.device))
        told = ratio if self.told == "log-snr" else torch.full_like(ratio, self.level)
        grown = resized(video, shape, self.resize)
        return replace(cond, lowres=noised(grown, noise, ratio), lowres_noise=told)


LOWRES: Mapping[str, LowRes] = {
    "published": LowRes(told="level"),
    "consistent": LowRes(told="log-snr"),
}
"""As the released code samples, and as it trains and the paper describes it."""


def resized(video: Tensor, shape: Sequence[int], mode: Resize) -> Tensor:
    """(b, c, t, h, w) to another (t, h, w), without anti-aliasing.

    `nearest` takes the first of every n frames and pixels, or repeats them; `trilinear`
    interpolates between centres, so that a quarter of the frames are means of the middle two.
    """
    if tuple(video.shape[2:]) == tuple(shape):
        return video
    return F.interpolate(video, tuple(shape), mode=mode)


def log_snr(t: Tensor) -> Tensor:
    """ln(alpha^2 / sigma^2) at t in [0, 1]: 9.2 ... -10."""
    return -torch.expm1(1e-4 + 10 * t**2).log()


def noised(video: Tensor, noise: Tensor, ratio: Tensor) -> Tensor:
    """alpha x + sigma noise at a log signal-to-noise ratio (b,); alpha^2 + sigma^2 = 1."""
    alpha, sigma = torch.sigmoid(ratio).sqrt(), torch.sigmoid(-ratio).sqrt()
    return over(alpha, video) * video + over(sigma, video) * noise
