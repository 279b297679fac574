"""Published feature networks whose code is not in their file: built here, filled strictly.

A file is looked for where `metrics.extractors` looks, and never fetched. How videos are prepared is
part of what a network measures; it follows the publication, and stands with each row of `TRUNKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor, nn

from echoflow.metrics.extractors import PUBLISHED, find, tensors
from echoflow.metrics.features import Identity
from echoflow.networks.inception import Inception
from echoflow.networks.vit import ViT, ViTConfig
from echoflow.networks.weights import check, fill
from echoflow.types import InputError, choose

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
ECHOPRIME = ((29.110628, 28.076836, 29.096405), (47.989223, 46.456997, 47.20083))  # of 0..255
COUNTER = ".num_batches_tracked"
GROUP = 32  # pictures that go through a network together


@dataclass(frozen=True)
class Row:
    """`build` the network, `prepare` grey levels (n, t, h, w) for it; `frames` a clip should have.

    What is prepared is (n, 3, t, h, w), or (n t, 3, h, w) where the network takes pictures.
    """

    build: Callable[[], nn.Module]
    prepare: Callable[[Tensor], Tensor]
    frames: int


def _dinov2() -> nn.Module:
    return ViT(ViTConfig())


def _pictures(grey: Tensor) -> Tensor:
    """224 x 224, bicubic with antialiasing as images are shrunk, ImageNet's mean and deviation."""
    x = _sized(rearrange(grey, "n t h w -> (n t) 1 h w"), 224) / 255.0
    return _normalised(repeat(x, "m 1 h w -> m c h w", c=3), IMAGENET)


def _r2plus1d() -> nn.Module:
    from torchvision.models.video import r2plus1d_18

    return r2plus1d_18(weights=None)


def _kinetics(grey: Tensor) -> Tensor:
    """112 x 112, Kinetics' mean and deviation."""
    return _clips(grey, 112, 255.0, KINETICS)


def _echoprime() -> nn.Module:
    from torchvision.models.video import mvit_v2_s

    net = mvit_v2_s(weights=None)
    net.head[-1] = nn.Linear(768, 512)
    return net


def _every_other(grey: Tensor) -> Tensor:
    """16 frames, every other one of 32, at 224 x 224.

    A clip too short is continued by zeros *after* normalisation, as published. The border of 10 %
    that is cut off scanner pictures there is kept, since cropped clips have none.
    """
    x = _clips(grey[:, :32], 224, 1.0, ECHOPRIME)
    return F.pad(x, (0, 0, 0, 0, 0, 32 - x.shape[2]))[:, :, ::2]


def _levels(grey: Tensor) -> Tensor:
    """Grey levels as they are: the network resizes as TensorFlow 1 did, and scales."""
    return repeat(grey, "n t h w -> (n t) c h w", c=3)


TRUNKS: Mapping[str, Row] = {
    "inception-fidelity": Row(Inception, _levels, 16),
    "dinov2": Row(_dinov2, _pictures, 16),
    "r2plus1d": Row(_r2plus1d, _kinetics, 16),
    "echoprime": Row(_echoprime, _every_other, 32),
}


def _sized(x: Tensor, side: int) -> Tensor:
    """(m, c, h, w) -> (m, c, side, side), bicubic, in grey levels that stay in range."""
    if x.shape[-2:] == (side, side):
        return x
    antialias = x.shape[-1] > side or x.shape[-2] > side
    made = F.interpolate(x, (side, side), mode="bicubic", antialias=antialias)
    return made.clamp(0.0, 255.0)


def _clips(
    grey: Tensor, side: int, scale: float, statistics: tuple[tuple[float, ...], tuple[float, ...]]
) -> Tensor:
    x = _sized(rearrange(grey, "n t h w -> (n t) 1 h w"), side) / scale
    x = _normalised(repeat(x, "m 1 h w -> m c h w", c=3), statistics)
    return rearrange(x, "(n t) c h w -> n c t h w", n=len(grey))


def _normalised(x: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    mean, std = (x.new_tensor(values)[:, None, None] for values in statistics)
    return (x - mean) / std


@dataclass(frozen=True)
class Trunk:
    """A network of `TRUNKS` as a `FeatureExtractor`; `trunk` opens one."""

    net: nn.Module
    identity: Identity
    device: str = "cpu"

    @property
    def frames(self) -> int:
        """Frames that a clip should have."""
        return TRUNKS[self.identity.name].frames

    @torch.inference_mode()
    def __call__(self, videos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, t, h, w) -> (n, d) of clips, or (n t, d) of their frames."""
        name = self.identity.name
        grey = torch.from_numpy(np.ascontiguousarray(videos)).to(self.device).float()
        x = TRUNKS[name].prepare(grey)
        found = torch.cat([self.net(part) for part in x.split(GROUP)]).float().cpu().numpy()
        if found.ndim != 2 or found.shape[1] != PUBLISHED[name].features:
            raise InputError(
                f"{name} gave features of shape {found.shape}; it should give "
                f"{PUBLISHED[name].features} numbers for each."
            )
        return found


def trunk(name: str, folder: str | Path | None = None, device: str = "cpu") -> Trunk:
    """The published network called `name`, from its file; see `metrics.extractors.find`."""
    choose(name, TRUNKS, "published network")
    path = find(name, folder)
    weights = tensors(name, folder)
    check(weights, path)
    net = TRUNKS[name].build()
    fill(net, _counted(weights, net), path)
    identity = Identity(name, PUBLISHED[name].sha256)
    return Trunk(_headless(net, name).to(device), identity, device)


def _counted(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The weights with the network's own batch counters, which inference does not use.

    Files that are older than those counters lack them.
    """
    own = {key: value for key, value in net.state_dict().items() if key.endswith(COUNTER)}
    return {key: value for key, value in weights.items() if not key.endswith(COUNTER)} | own


def untrained(name: str, device: str = "cpu") -> Trunk:
    """The same without weights, to measure speed and memory: its features mean nothing."""
    net = TRUNKS[choose(name, TRUNKS, "published network")].build()
    caveat = f"{name} without its weights: a test of the program, no measure of quality"
    return Trunk(_headless(net, name).to(device), Identity(name, "", caveat), device)


def _headless(net: nn.Module, name: str) -> nn.Module:
    """Where the file ends in classes (those of Kinetics), what comes before them is taken."""
    if name == "r2plus1d":
        net.fc = nn.Identity()
    return net.eval()
