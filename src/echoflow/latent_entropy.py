"""How much a latent space asks of a generator: the joint entropy of the latents in a folder.

EchoFlow chooses its A-VAE by this number (section 4.2.5). Whole latents are the samples here, one
or more frames of every video; `metrics.entropy` has the estimate and what it depends on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from echoflow.data.shardfile import CARD
from echoflow.data.windows import Latents
from echoflow.latents import Moments
from echoflow.metrics.entropy import Normalise, Shrinkage, joint_entropy
from echoflow.metrics.intervals import jackknifed
from echoflow.metrics.report import Report, fingerprint
from echoflow.types import InputError, Split

BLOCKS = 10
Values = NDArray[np.float64]

Posterior = Literal["mean", "sample"]
"""Latents as a model sees them that trains on posterior means, or on draws (EchoFlow eq. 7)."""


def latent_entropy(
    folder: str | Path,
    frames: int = 1,
    posterior: Posterior = "mean",
    normalise: Normalise = "channel",
    shrinkage: Shrinkage = "ledoit-wolf",
    split: Split | None = None,
    seed: int = 0,
) -> Report:
    """Nats of a latent (c, h, w), in all and per number, from `frames` frames of every video.

    Frames are spread evenly from the first to the last of a video; shorter videos are left out and
    counted. The interval leaves out blocks of videos. `InputError` where the estimate is undefined.
    """
    latents = Latents.read(folder, split)
    rng = np.random.default_rng(seed)
    enough = [i for i, n in enumerate(latents.lengths) if n >= frames]
    if len(enough) < 3:
        raise InputError(
            f"{folder} has {len(enough)} videos of {frames} or more frames; an entropy with its "
            "interval needs at least 3."
        )
    videos = np.stack([_latents(latents, i, frames, posterior, rng) for i in enough])

    def nats(kept: NDArray[np.intp]) -> float:
        return joint_entropy(videos[kept].reshape(-1, *videos.shape[2:]), normalise, shrinkage).nats

    whole = joint_entropy(videos.reshape(-1, *videos.shape[2:]), normalise, shrinkage)
    low, high = jackknifed(nats, len(videos), BLOCKS, seed)
    metrics = {"entropy": whole.nats, "entropy_low": low, "entropy_high": high}
    metrics |= {f"{name}_per_dim": value / whole.dims for name, value in metrics.items()}
    metrics["shrunk"] = whole.shrinkage
    settings = {
        "videos": len(videos),
        "shape": list(videos.shape[2:]),
        "frames": frames,
        "posterior": posterior,
        "normalise": normalise,
        "shrinkage": shrinkage,
        "split": split.value if split else "all",
        "interval": {"level": 90, "blocks": min(BLOCKS, len(videos)), "of": "videos"},
        "seed": seed,
    }
    short = len(latents) - len(enough)
    gone = (f"Left out: {short} videos shorter than {frames} frames.",) if short else ()
    prints = {"dataset": fingerprint(latents.folder / CARD)}
    return Report("latent entropy", metrics, len(videos), settings, prints, whole.notes + gone)


def _latents(
    latents: Latents, video: int, frames: int, posterior: Posterior, rng: np.random.Generator
) -> Values:
    """Latents (frames, c, h, w) as the A-VAE gives them, not normalised."""
    numbers = np.linspace(0, latents.lengths[video] - 1, frames).round().astype(int)
    found = []
    for number in numbers.tolist():
        mean, std = latents.raw(video, number, number + 1).double().chunk(2, dim=1)
        noise = std.new_tensor(rng.standard_normal(std.shape)) if posterior == "sample" else None
        found.append(Moments(mean, std).draw(noise)[0].numpy())
    return np.stack(found)
