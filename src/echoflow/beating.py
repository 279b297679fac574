"""What a video may start from: its anatomy, warped into a heart that beats as the EF asks.

A video model that starts from pure noise has to find the motion in it, and what it finds depends on
the noise. Started from a partly noised film of the right motion (SDEdit, Meng et al. 2022) it keeps
that motion and paints what a warp cannot know: valves, new speckle, whatever moves by itself. Only
the steps that are left are taken, so it is faster, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from echoflow.data.beat import check_heart_rate, contraction, opening
from echoflow.data.pixels import to_float
from echoflow.data.warp import warped
from echoflow.latents import LatentSpace
from echoflow.metrics.cavity import Finder
from echoflow.types import View

HEART_RATE = (70.0, 13.0, 45.0, 120.0)  # mean, deviation, least and most per minute, of adults
SEEN = 0.005  # of the picture: what is smaller is no ventricle
RATES = 11  # the stream of a seed that draws its heart rate


def beating_start(
    space: LatentSpace,
    finder: Finder,
    anatomy: Tensor,
    ef: Tensor,
    seeds: Sequence[int],
    frames: int,
    fps: float,
    views: Sequence[View] | None = None,
    heart_rate: float | None = None,
) -> Tensor:
    """Latent films (b, c, t, h, w) of anatomies (b, c, h, w) that contract to EF (b,) in percent.

    An anatomy is at end-diastole, one frame before the film begins. Without `heart_rate` (beats per
    minute) each seed draws one. Sample i depends on the i-th of everything alone. Where the
    `finder` sees no cavity, or a speck, the film stands still, with a warning.
    """
    if heart_rate is not None:
        check_heart_rate(heart_rate)
    films = []
    for i, seed in enumerate(seeds):
        still = space.decode(anatomy[i : i + 1])[0].cpu().numpy()
        film = np.repeat(still[None], frames, 0)
        cavity = finder(still[None], np.ones_like(still, bool))[0]
        asked = float(ef[i])
        if cavity.mean() < SEEN:
            warnings.warn(f"no ventricle was found in heart {i}; nothing moves it.", stacklevel=2)
        elif np.isfinite(asked):
            rate = drawn_rate(seed) if heart_rate is None else heart_rate
            view, when = None if views is None else views[i], (frames, fps, rate, 1 / fps)
            film = warped(still, cavity, asked, contraction(*when), view, opening(*when))
        z = space.draw(space.encode(to_float(torch.from_numpy(film))))
        films.append(rearrange(z, "t c h w -> c t h w"))
    return torch.stack(films)


def drawn_rate(seed: int) -> float:
    """The heart rate of a seed, in beats per minute."""
    mean, deviation, least, most = HEART_RATE
    rng = np.random.default_rng([seed, RATES])
    return float(np.clip(rng.normal(mean, deviation), least, most))
