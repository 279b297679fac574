"""Trained networks as instruments: the EF of a clip, its features, the LV cavity of every frame."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from echoflow.data.pixels import to_float
from echoflow.metrics.cavity import Mask
from echoflow.metrics.features import Identity
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
        return torch.stack([self.net(x) for x in _windows(self.net, video)]).mean(0).clamp(0, 100)


@dataclass(frozen=True)
class EFFeatures:
    """What an EF regressor sees of a clip: the input of its last layers, as a `FeatureExtractor`.

    It knows hearts in motion and is at hand offline, but only as far as its training reached.
    """

    net: EFRegressor | R2Plus1D
    trained_on: str

    @property
    def identity(self) -> Identity:
        """The hash is of the weights in memory."""
        caveat = f"features of an EF regressor trained on {self.trained_on}: on no published scale"
        return Identity("ef", sha256_of(self.net), caveat)

    @torch.no_grad()
    def __call__(self, videos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, t, h, w) -> (n, d): the mean over windows of the length trained on."""
        head = self.net.fc if isinstance(self.net, EFRegressor) else self.net.trunk.fc
        seen: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        try:
            for x in _windows(self.net, torch.from_numpy(np.ascontiguousarray(videos))):
                self.net(x)
        finally:
            hook.remove()
        return torch.stack(seen).mean(0).float().cpu().numpy()


def sha256_of(net: nn.Module) -> str:
    """Of the weights in memory, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()


def _windows(net: EFRegressor | R2Plus1D, video: Tensor) -> list[Tensor]:
    """uint8 (b, t, h, w) -> overlapping windows in [-1, 1] that cover it."""
    frames = net.config.frames
    if video.shape[1] < frames:
        raise InputError(f"the EF regressor needs clips of {frames} frames; got {video.shape[1]}.")
    last = video.shape[1] - frames
    starts = sorted({*range(0, last + 1, max(1, frames // 2)), last})
    x = to_float(video.to(next(net.parameters()).device))
    return [x[:, start : start + frames] for start in starts]


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
