"""The Inception score of a dataset: are its frames clear to an ImageNet network, and not all alike?

It was made for photographs and says little about hearts; it is here because the papers print it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from einops import repeat
from numpy.typing import NDArray

from echoflow.data.sources import open_source
from echoflow.data.video import read_gray
from echoflow.distances import Progress, fingerprint_of, used
from echoflow.encoders import Trunk, trunk
from echoflow.metrics.extractors import Scripted
from echoflow.metrics.features import Identity, RandomFeatures
from echoflow.metrics.inception import inception_score, probabilities
from echoflow.metrics.intervals import jackknifed
from echoflow.metrics.report import Report
from echoflow.types import InputError, Split, choose

Videos = NDArray[np.uint8]
Values = NDArray[np.float64]
BLOCKS = 20
NETWORKS = ("inception", "inception-fidelity", "random")


class Inception:
    """Class probabilities of every frame by the published network, softmax without bias."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.scripted = Scripted("inception", folder)
        self.identity = self.scripted.identity

    def __call__(self, video: Videos) -> Values:
        """uint8 (t, h, w) -> (t, 1008)."""
        import torch

        x = repeat(torch.from_numpy(np.ascontiguousarray(video)), "t h w -> t c h w", c=3)
        with torch.inference_mode():
            return self.scripted.net(x, no_output_bias=True).double().cpu().numpy()


class FidelityClasses:
    """The same from the tensors of torch-fidelity's file."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk, self.identity = trunk, trunk.identity
        self.weight = trunk.net.get_submodule("fc").get_parameter("weight").detach().cpu()

    def __call__(self, video: Videos) -> Values:
        """uint8 (t, h, w) -> (t, 1008)."""
        return probabilities(self.trunk(video[None]) @ self.weight.numpy().T)


class RandomClasses:
    """Random features of single frames as logits: a test of the program."""

    def __init__(self) -> None:
        self.features = RandomFeatures()
        self.identity: Identity = self.features.identity

    def __call__(self, video: Videos) -> Values:
        """uint8 (t, h, w) -> (t, 32)."""
        return probabilities(4.0 * self.features(video[:, None]))


Classifier = Inception | FidelityClasses | RandomClasses


def classifier(name: str, folder: str | Path | None = None) -> Classifier:
    """One of `NETWORKS`; `InputError` where its file is not on this machine."""
    choose(name, NETWORKS, "network")
    if name == "inception-fidelity":
        return FidelityClasses(trunk(name, folder))
    return Inception(folder) if name == "inception" else RandomClasses()


def variety(
    dataset: str | Path,
    network: Classifier,
    frames: int = 16,
    splits: int = 10,
    nominal: int | None = None,
    split: Split | None = None,
    seed: int = 0,
    tell: Progress = lambda done, total: None,
) -> Report:
    """Inception score of the first `frames` frames of all videos, in the order of the dataset.

    `nominal` cuts splits as if there were so many frames, as StyleGAN-V's scripts do (50,000). The
    interval leaves out blocks of videos; the score itself grows with their number.
    """
    manifest = open_source(dataset)
    records = manifest.of(split)
    found: list[Values] = []
    left, rates, sizes = Counter[str](), set[float](), set[tuple[int, int]]()
    for done, record in enumerate(records, 1):
        try:
            video, fps = read_gray(manifest.video(record))
        except InputError:
            left["unreadable"] += 1
            continue
        finally:
            tell(done, len(records))
        if len(video) < frames:
            left[f"shorter than {frames} frames"] += 1
            continue
        rates.add(round(fps, 2))
        sizes.add(video.shape[1:])
        found.append(network(video[:frames]))
    about = used(replace(manifest, records=records), len(found), left)
    if len(found) < 2:
        raise InputError(
            f"an Inception score needs at least 2 usable videos; got {len(found)}."
            + "".join(f" {note}" for note in about)
        )
    whole = inception_score(np.concatenate(found), splits, nominal)
    if (scored := -(-whole.n // frames)) < len(found):
        about += (f"the score is of the first {scored} of {len(found)} videos, as `nominal` asks.",)
        found = found[:scored]
    if len(found) < 2:
        raise InputError(f"nominal {nominal} is less than two videos of {frames} frames.")
    metrics = {"is": whole.mean, "is_std": whole.std}
    plain = _score(found, splits, None)
    low, high = jackknifed(plain, len(found), BLOCKS, seed)
    moved = metrics["is"] - plain(np.arange(len(found)))  # by `nominal`
    metrics |= {"is_low": max(low + moved, 1.0), "is_high": high + moved}
    settings = {
        "videos": len(found),
        "frames": frames,
        "fps": sorted(rates),
        "size": sorted(sizes),
        "split": split.value if split else "all",
        "splits": splits,
        "nominal": nominal,
        "extractor": network.identity.name,
        "extractor_sha256": network.identity.sha256,
        "interval": {"level": 90, "blocks": min(BLOCKS, len(found)), "of": "videos"},
        "seed": seed,
    }
    caveat = (network.identity.caveat,) if network.identity.caveat else ()
    notes = (*caveat, *about)
    prints = {"dataset": fingerprint_of(manifest)}
    return Report("inception score", metrics, len(found), settings, prints, notes)


def _score(
    found: list[Values], splits: int, nominal: int | None
) -> Callable[[NDArray[np.intp]], float]:
    """The score of the videos of an index."""
    return lambda index: (
        inception_score(np.concatenate([found[i] for i in index.tolist()]), splits, nominal).mean
    )
