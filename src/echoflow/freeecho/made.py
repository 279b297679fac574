"""A video made from a segmentation, with all that it was to follow, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoflow.data.labels import Label
from echoflow.metrics.cavity import Finder
from echoflow.metrics.clinical import dice
from echoflow.privacy import Verdict


@dataclass(frozen=True)
class FromLabels:
    """`video` (t, h, w) uint8, the maps `labels` that it was to follow and the `pseudo`-video that
    sampling began from, (t, h, w) uint8; `verdict` is on its anatomy where an image model drew one.
    """

    video: np.ndarray
    labels: np.ndarray
    pseudo: np.ndarray
    fps: float
    verdict: Verdict | None = None

    def adherence(self, finder: Finder) -> np.ndarray:
        """Dice of the cavity that `finder` sees and the one asked for, in every frame (t,)."""
        asked = self.labels == Label.CAVITY
        return dice(finder(self.video, asked[0]), asked)
