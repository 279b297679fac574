"""The published layout of EchoNet-Synthetic (Reynaud et al. 2024), the predecessor of EchoFlow.

    vae  lidm_dynamic  lidm_ped_a4c  lidm_ped_psax  lvdm  reidentification_<dataset>

Its networks are diffusers' own classes and a ResNet50. They predict v of a DDPM with 1000 linear
betas, not the velocity of a flow: what is loaded here can be studied, measured and fine-tuned, but
does not go into a pipeline of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from echoflow.interop import hub
from echoflow.interop.echoflow import CONFIG, WEIGHTS, read_json, tensors_only
from echoflow.interop.keymap import Rename, Rules, to_ours
from echoflow.networks import weights
from echoflow.networks.avae import from_fields
from echoflow.types import InputError, View, choose

DATASETS: Mapping[str, View] = {"dynamic": View.A4C, "ped_a4c": View.A4C, "ped_psax": View.PSAX}
CLASSES = ("AutoencoderKL", "UNet2DModel", "UNetSpatioTemporalConditionModel")
"""`_class_name` of the diffusers folders: autoencoder, image model, video model."""
REID_FIELD = "siamese_architecture"
REID_RULES: Rules = (Rename("model.{key...}", "{key...}"),)
HEAD = ("fc_end.weight", "fc_end.bias")


@dataclass(frozen=True)
class Conventions:
    """How the networks want to be called, where it differs from EchoFlow."""

    timesteps: int = 1000  # whole numbers 0 ... 999, not t in [0, 1]
    beta_start: float = 1e-4
    beta_end: float = 0.02
    prediction: str = "v_prediction"
    clip: float = 4.0  # |x0_hat| is clamped to it
    padding: str = "replicate"  # 14 -> 16 cells; EchoFlow pads circularly
    scaled_by: str = "scaling_factor"  # latents times this field of the autoencoder's config
    token: str = "ef / 100"  # encoder_hidden_states (b, 1, 1) of the video model; no null value
    order: str = "b t c h w"  # of the video model; the anatomy follows the latent on c
    fps: float = 32.0
    frames: int = 64


CONVENTIONS = Conventions()


def load(source: str | Path, subfolder: str | None = None) -> nn.Module:
    """A network of that layout: float32, in eval mode, without gradients; strict as everywhere.

    A re-identification network is its trunk, (b, 4, 14, 14) -> features before the sigmoid (b, n).
    """
    folder = hub.find(source, subfolder)
    place = f"{folder}/{CONFIG}"
    fields = read_json(folder / CONFIG)
    if REID_FIELD in fields:
        net, tensors, path = _siamese(fields, folder)
    else:
        import diffusers

        name = choose(str(fields.get("_class_name")), CLASSES, f"_class_name in {place}")
        net, path = from_fields(getattr(diffusers, name), fields, place), folder / WEIGHTS
        tensors = weights.read(path)
    weights.fill(net, tensors, path)
    return net.eval().requires_grad_(False)


def _siamese(fields: Mapping[str, Any], folder: Path) -> tuple[nn.Module, dict[str, Tensor], Path]:
    """torchvision's ResNet50 for latents; the head of its training, `fc_end`, is left out."""
    from torchvision.models import resnet50

    place = f"{folder}/{CONFIG}"
    choose(str(fields[REID_FIELD]), ("ResNet-50",), f"{REID_FIELD} in {place}")
    missing = [name for name in ("n_channels", "n_features") if name not in fields]
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}.")
    path = folder / f"{folder.name}_best_network.pth"
    table = tensors_only(path)
    if not isinstance(table, Mapping) or not all(isinstance(v, Tensor) for v in table.values()):
        raise InputError(f"{path} must hold the tensors of one network by name.")
    weights.check(table, path)
    net = resnet50(weights=None)
    net.conv1 = nn.Conv2d(int(fields["n_channels"]), 64, 7, 2, 3, bias=False)
    net.fc = nn.Linear(2048, int(fields["n_features"]))
    kept = {key: value for key, value in table.items() if key not in HEAD}
    return net, to_ours(REID_RULES, kept), path
