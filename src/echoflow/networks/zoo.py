"""Names to networks, and networks to folders.

The names are those of `rows`. A folder holds `config.json` and
`diffusion_pytorch_model.safetensors`, the layout of the published weights.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from echoflow.files import atomic_file
from echoflow.networks import dit, dit_v1, heads, trunks, unet, unet3d, unet3d_labels, weights
from echoflow.networks.avae import AVAEConfig, build_avae, from_fields
from echoflow.networks.rows import ROWS, Config
from echoflow.types import InputError, choose

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
BUNDLE = "bundle.json"  # the card of a bundle, beside one folder per stage
STAGES = ("avae", "lifm", "lvfm", "reid", "ef", "lv")

# class name in config.json -> its config and itself; the A-VAE is diffusers' AutoencoderKL
CLASSES: dict[str, tuple[type, type]] = {
    "FMiT": (dit.FMiTConfig, dit.FMiT),
    "FMvT": (dit.FMvTConfig, dit.FMvT),
    "FMiTv1": (dit_v1.FMiTv1Config, dit_v1.FMiTv1),
    "FMvTv1": (dit_v1.FMvTv1Config, dit_v1.FMvTv1),
    "UNet": (unet.UNetConfig, unet.UNet),
    "STUNet": (unet.STUNetConfig, unet.STUNet),
    "UNet3D": (unet3d.UNet3DConfig, unet3d.UNet3D),
    "LabelUNet3D": (unet3d_labels.LabelUNet3DConfig, unet3d_labels.LabelUNet3D),
    "ReId": (heads.ReIdConfig, heads.ReId),
    "ReId18": (trunks.ReId18Config, trunks.ReId18),
    "EFRegressor": (heads.EFRegressorConfig, heads.EFRegressor),
    "R2Plus1D": (trunks.R2Plus1DConfig, trunks.R2Plus1D),
    "LVSegmenter": (heads.LVSegmenterConfig, heads.LVSegmenter),
    "DeepLab": (trunks.DeepLabConfig, trunks.DeepLab),
}


def config_of(name: str) -> Config:
    """The row of the zoo called `name`; the nearest names are offered otherwise."""
    return ROWS[choose(name, ROWS, "model")]


def matching(patterns: Iterable[str]) -> list[str]:
    """The names that are, or match, one of `patterns` such as `FMvT-*`, in the zoo's order."""
    found: set[str] = set()
    for pattern in patterns:
        found.update(fnmatch.filter(ROWS, pattern) or [choose(pattern, ROWS, "model")])
    return [name for name in ROWS if name in found]


def build(config: Config | str) -> nn.Module:
    """An untrained network from a zoo name or a config."""
    row = config_of(config) if isinstance(config, str) else config
    if isinstance(row, AVAEConfig):
        return build_avae(row)
    network = {pair[0]: pair[1] for pair in CLASSES.values()}[type(row)]
    return network(row)


def save(net: nn.Module, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write `config.json` and the weights, floating ones as `dtype` if given."""
    folder = Path(folder)
    tensors = {
        key: value.to(dtype if value.is_floating_point() else None).contiguous().cpu()
        for key, value in net.state_dict().items()
    }
    with atomic_file(folder / CONFIG) as file:
        file.write_text(json.dumps(_fields(net), indent=1, sort_keys=True) + "\n")
    with atomic_file(folder / WEIGHTS) as file:
        save_file(tensors, str(file))


def load(folder: str | Path) -> nn.Module:
    """The network that `save` or diffusers' `save_pretrained` wrote, float32, in eval mode."""
    net = described(folder)
    load_weights(net, Path(folder) / WEIGHTS)
    return net.eval().requires_grad_(False)


def described(folder: str | Path) -> nn.Module:
    """The untrained network that the `config.json` of a folder describes."""
    folder = Path(folder)
    return _from_description(_read_config(folder), folder)


def load_weights(net: nn.Module, path: Path) -> None:
    """Strict load; anything missing, unused, misshapen or not finite is named and refused."""
    weights.fill(net, weights.read(path), path)


def _fields(net: nn.Module) -> dict[str, Any]:
    """Class and config of a network; diffusers' own config is a mapping with notes of its own."""
    config: Any = net.config
    fields = vars(config) if type(net).__name__ in CLASSES else dict(config)
    public = {name: value for name, value in fields.items() if not name.startswith("_")}
    return {"_class_name": type(net).__name__, **public}


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no model in {folder}: {CONFIG} is missing.") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict) or "_class_name" not in config:
        raise InputError(f"{path} names no _class_name; it is not a model of this project.")
    return config


def _from_description(config: dict[str, Any], folder: Path) -> nn.Module:
    name = config.pop("_class_name")
    if name == "AutoencoderKL":
        from diffusers import AutoencoderKL

        return from_fields(AutoencoderKL, config, f"{folder}/{CONFIG}")
    kind, network = CLASSES[choose(name, [*CLASSES, "AutoencoderKL"], "model class")]
    place = f"{folder}/{CONFIG}"
    known = [field.name for field in dataclasses.fields(kind)]
    for key in config:
        choose(key, known, f"field in {place}:")
    for key in known:
        if key not in config:
            raise InputError(f"{place}: {name} needs the field {key}.")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    try:
        return network(kind(**fields))
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise InputError(f"{place}: this {name} cannot be built ({error}).") from error
