"""The judges of the paper, thin over torchvision: ResNet18, R(2+1)D-18, DeepLabV3.

Nothing is downloaded. A network starts untrained; `start_from` fills it from a torchvision file
that lies on disk, all but the layers that were made anew for our channels and outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

from echoflow.types import InputError

if TYPE_CHECKING:
    from torchvision.models import ResNet

# Grey levels 0..255 of EchoNet-Dynamic's training videos (its code computes them per channel).
ECHONET_MEAN = (32.660564, 32.79394, 33.07615)
ECHONET_STD = (49.802944, 49.89014, 50.17571)


@dataclass(frozen=True)
class ReId18Config:
    """`width` of the first stage (64 as released); `head` adds the pair head of the training."""

    channels: int = 4
    features: int = 256
    width: int = 64
    head: bool = True


class ReId18(nn.Module):
    """A latent anatomy (b, c, h, w) -> features in (0, 1) (b, features) (EchoFlow section 3.3).

    torchvision's ResNet18 with a stem for latents. The published files hold the trunk alone.
    """

    renewed = ("conv1.", "fc.")

    def __init__(self, config: ReId18Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = _resnet18(config.channels, config.features, config.width)
        self.head = nn.Linear(config.features, 1) if config.head else None

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(z))

    def logits(self, z: Tensor) -> Tensor:
        """The features before the sigmoid (b, features)."""
        if z.ndim != 4 or z.shape[1] != self.config.channels:
            raise InputError(
                f"re-identification takes latents (b, {self.config.channels}, h, w); "
                f"got {tuple(z.shape)}."
            )
        return self.trunk(z)

    def match(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (b,) that two feature rows show the same patient (EchoFlow eq. 19-22)."""
        if self.head is None:
            raise InputError("this re-identification network has no pair head; set head to true.")
        return self.head((a - b).abs())[:, 0]

    def released(self) -> ReId18:
        """The same trunk without the pair head, as it is published."""
        with torch.device("meta"):
            bare = ReId18(replace(self.config, head=False))
        bare.trunk = self.trunk
        return bare.train(self.training)


@dataclass(frozen=True)
class R2Plus1DConfig:
    """Clips of `frames` at `fps`; pixels are normalised by `mean` and `std` of grey levels 0..255.

    The defaults are EchoNet-Dynamic's: every second of 50 frames per second. `bias` is the mean EF
    the untrained network answers.
    """

    frames: int = 32
    fps: float = 25.0
    mean: tuple[float, ...] = ECHONET_MEAN
    std: tuple[float, ...] = ECHONET_STD
    bias: float = 55.6


class R2Plus1D(nn.Module):
    """A clip (b, t, h, w) in [-1, 1] -> EF in percent (b,) (Ouyang et al. 2020, "EF-R2+1D")."""

    renewed = ("fc.",)

    def __init__(self, config: R2Plus1DConfig) -> None:
        super().__init__()
        from torchvision.models.video import r2plus1d_18

        _checked(config)
        self.config = config
        self.trunk = r2plus1d_18(weights=None)
        self.trunk.fc = nn.Linear(self.trunk.fc.in_features, 1)
        nn.init.constant_(self.trunk.fc.bias, config.bias)

    def forward(self, clip: Tensor) -> Tensor:
        if clip.ndim != 4:
            raise InputError(f"the EF regressor takes clips (b, t, h, w); got {tuple(clip.shape)}.")
        return self.trunk(rearrange(_coloured(clip, self.config), "b t c h w -> b c t h w"))[:, 0]


@dataclass(frozen=True)
class DeepLabConfig:
    """Pixels are normalised by `mean` and `std` of grey levels 0..255, one per colour channel."""

    mean: tuple[float, ...] = ECHONET_MEAN
    std: tuple[float, ...] = ECHONET_STD


class DeepLab(nn.Module):
    """Frames (b, h, w) in [-1, 1] -> logits of the left ventricle (b, h, w); positive is inside.

    torchvision's DeepLabV3 over a ResNet50 without auxiliary output, as in EchoNet-Dynamic.
    """

    renewed = ("classifier.4.",)

    def __init__(self, config: DeepLabConfig) -> None:
        super().__init__()
        from torchvision.models.segmentation import deeplabv3_resnet50

        _checked(config)
        self.config = config
        self.trunk = deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=1, aux_loss=False
        )

    def forward(self, frames: Tensor) -> Tensor:
        if frames.ndim != 3:
            raise InputError(f"the segmenter takes frames (b, h, w); got {tuple(frames.shape)}.")
        return self.trunk(_coloured(frames, self.config))["out"][:, 0]


def start_from(net: ReId18 | R2Plus1D | DeepLab, path: str | Path) -> None:
    """Fill the trunk from a torchvision file (.pth) on disk, all but its `renewed` layers.

    Everything else must be there in the right shape; a pickle that wants more than tensors is
    refused. An auxiliary classifier in the file is not used.
    """
    theirs = {
        key: value
        for key, value in _torchvision_file(Path(path)).items()
        if not key.startswith((*net.renewed, "aux_classifier."))
    }
    own = net.trunk.state_dict()
    kept = {key: value for key, value in own.items() if key.startswith(net.renewed)}
    needed = {key: tuple(value.shape) for key, value in own.items() if key not in kept}
    found = {key: tuple(value.shape) for key, value in theirs.items()}
    wrong = sorted(key for key in needed | found if needed.get(key) != found.get(key))
    if wrong:
        sides = "; ".join(f"{k} {found.get(k)} for {needed.get(k)}" for k in wrong[:3])
        raise InputError(f"{path} does not fit {type(net).__name__}: {sides}.")
    net.trunk.load_state_dict({**theirs, **kept})


def _torchvision_file(path: Path) -> dict[str, Tensor]:
    import pickle

    if not path.is_file():
        raise InputError(f"no weights at {path}; download the torchvision file and put it there.")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as a file of tensors ({reason}).") from error
    if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise InputError(f"{path} must hold the tensors of one network by name.")
    return tensors


def _resnet18(channels: int, features: int, width: int) -> ResNet:
    """torchvision's ResNet18 with its stem and its last layer made anew, and of any width."""
    from torchvision.models import resnet18
    from torchvision.models.resnet import BasicBlock

    trunk = resnet18(weights=None)
    if width != 64:
        trunk.inplanes, trunk.bn1 = width, nn.BatchNorm2d(width)
        for stage in range(4):
            stride = 1 if stage == 0 else 2
            layer = trunk._make_layer(BasicBlock, width * 2**stage, 2, stride)
            setattr(trunk, f"layer{stage + 1}", layer)
    trunk.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
    trunk.fc = nn.Linear(8 * width, features)
    return trunk


def _checked(config: R2Plus1DConfig | DeepLabConfig) -> None:
    mean, std = config.mean, config.std
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise InputError(
            f"mean and std need 3 numbers each, std above 0; got {list(mean)} and {list(std)}."
        )


def _coloured(grey: Tensor, config: R2Plus1DConfig | DeepLabConfig) -> Tensor:
    """Grey frames (..., h, w) in [-1, 1] -> three normalised channels (..., 3, h, w)."""
    levels = (grey[..., None, :, :] + 1.0) * 128.0
    mean, std = (grey.new_tensor(s)[:, None, None] for s in (config.mean, config.std))
    return (levels - mean) / std
