"""Trained networks as instruments: the EF of a clip, the LV cavity of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from echoflow.data.pixels import to_float
from echoflow.metrics.cavity import Mask
from echoflow.networks.heads import EFRegressor, LVSegmenter
from echoflow.networks.trunks import DeepLab, R2Plus1D
from echoflow.types import InputError


@dataclass(frozen=True)
class Regressor:
    """The EF of a clip, from overlapping windows of the length the network was trained on."""

    net: EFRegressor | R2Plus1D

    @torch.no_grad()
    def __call__(self, video: Tensor) -> Tensor:
        """uint8 (b, t, h, w) -> EF in percent (b,), clamped to [0, 100]."""
        frames = self.net.config.frames
        if video.shape[1] < frames:
            raise InputError(
                f"the EF regressor needs clips of {frames} frames; got {video.shape[1]}."
            )
        last = video.shape[1] - frames
        starts = sorted({*range(0, last + 1, max(1, frames // 2)), last})
        device = next(self.net.parameters()).device
        x = to_float(video.to(device))
        return torch.stack([self.net(x[:, s : s + frames]) for s in starts]).mean(0).clamp(0, 100)


@dataclass(frozen=True)
class Segmenter:
    """The LV cavity of every frame: a `Finder` that needs no prior."""

    net: LVSegmenter | DeepLab

    @torch.no_grad()
    def __call__(self, video: NDArray[np.uint8], prior: Mask | None = None) -> Mask:
        """uint8 (t, h, w) -> bool (t, h, w): the largest connected region of each frame."""
        device = next(self.net.parameters()).device
        x = torch.from_numpy(np.ascontiguousarray(video)).to(device)
        found = (self.net(to_float(x)) > 0).cpu().numpy()
        return np.stack([largest_region(frame) for frame in found])


def largest_region(mask: Mask) -> Mask:
    """The largest connected region of (h, w), without holes; empty if there is none."""
    labels = np.zeros(mask.shape, np.int32)
    if ndimage.label(mask, output=labels) == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(labels == sizes.argmax()), bool)
