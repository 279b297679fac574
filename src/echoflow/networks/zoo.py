"""Names to networks, and networks to folders.

A name is `<family>-<size>[/<patch>]-<channels>f<factor>`, a grammar over the small tables below;
the `nano` rows are the embedded bundle's. A folder holds `config.json` and
`diffusion_pytorch_model.safetensors`, the layout of the published weights.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from echoflow.files import atomic_file
from echoflow.networks.avae import AVAEConfig, build_avae
from echoflow.networks.dit import FMiT, FMiTConfig, FMvT, FMvTConfig
from echoflow.networks.heads import (
    EFRegressor,
    EFRegressorConfig,
    LVSegmenter,
    LVSegmenterConfig,
    ReId,
    ReIdConfig,
)
from echoflow.types import InputError, choose

Config = AVAEConfig | FMiTConfig | FMvTConfig | ReIdConfig | EFRegressorConfig | LVSegmenterConfig

WEIGHTS = "diffusion_pytorch_model.safetensors"
BUNDLE = "bundle.json"  # the card of a bundle, beside one folder per stage
STAGES = ("avae", "lifm", "lvfm", "reid", "ef")

# latent space -> channels, cells per side at 112 pixels
SPACES = {"4f8": (4, 14), "4f4": (4, 28), "16f8": (16, 14)}
# size -> width, depth, heads (EchoFlow tables 2-3)
SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}
PATCHES = {"4f8": (2,), "4f4": (2, 4), "16f8": (2,)}


def _rows() -> dict[str, Config]:
    rows: dict[str, Config] = {
        "A-VAE-4f8": AVAEConfig(4, (128, 256, 256, 512)),
        "A-VAE-4f4": AVAEConfig(4, (128, 256, 512)),
        "A-VAE-16f8": AVAEConfig(16, (128, 256, 256, 512)),
        "A-VAE-nano": AVAEConfig(4, (16, 48, 96), 1, 8, False, 1),
        "FMiT-nano": FMiTConfig(4, 28, 4, 128, 6, 4, preconditioned=True),
        "FMvT-nano": FMvTConfig(4, 28, 32, (2, 4, 4), 128, 7, 4, preconditioned=True),
        "ReId-nano": ReIdConfig(4, 64, 2),
        "EF-nano": EFRegressorConfig(),
        "LV-nano": LVSegmenterConfig(),
    }
    for size, (width, depth, heads) in SIZES.items():
        for space, (channels, side) in SPACES.items():
            for p in PATCHES[space]:
                image = FMiTConfig(channels, side, p, width, depth, heads)
                video = FMvTConfig(channels, side, 64, (1, p, p), width, depth, heads)
                rows[f"FMiT-{size}/{p}-{space}"] = image
                rows[f"FMvT-{size}/{p}-{space}"] = video
    return rows


ROWS = _rows()
CLASSES: dict[str, tuple[type, type]] = {
    "FMiT": (FMiTConfig, FMiT),
    "FMvT": (FMvTConfig, FMvT),
    "ReId": (ReIdConfig, ReId),
    "EFRegressor": (EFRegressorConfig, EFRegressor),
    "LVSegmenter": (LVSegmenterConfig, LVSegmenter),
}


def config_of(name: str) -> Config:
    """The row of the zoo called `name`; the nearest names are offered otherwise."""
    return ROWS[choose(name, ROWS, "model")]


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
    with atomic_file(folder / "config.json") as file:
        file.write_text(json.dumps(_described(net), indent=1, sort_keys=True) + "\n")
    with atomic_file(folder / WEIGHTS) as file:
        save_file(tensors, str(file))


def load(folder: str | Path) -> nn.Module:
    """The network that `save` or diffusers' `save_pretrained` wrote, float32, in eval mode."""
    folder = Path(folder)
    net = _from_description(_read_config(folder), folder)
    load_weights(net, folder / WEIGHTS)
    return net.eval().requires_grad_(False)


def load_weights(net: nn.Module, path: Path) -> None:
    """Strict load; anything missing, unused, misshapen or not finite is named and refused."""
    if not path.is_file():
        raise InputError(f"no weights at {path}; give a folder with config.json and {WEIGHTS}.")
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); download or copy it again."
        ) from error
    own = net.state_dict()
    refuse_keys(sorted(set(own) - set(tensors)), path, "lacks")
    refuse_keys(sorted(set(tensors) - set(own)), path, "has unknown")
    for key, value in own.items():
        if tensors[key].shape != value.shape:
            raise InputError(
                f"{path}: {key} has shape {tuple(tensors[key].shape)}, the model needs "
                f"{tuple(value.shape)}; config.json and weights belong to different models."
            )
        if not bool(torch.isfinite(tensors[key]).all()):
            raise InputError(
                f"{path}: {key} holds values that are not finite; the file is damaged."
            )
    net.load_state_dict({key: value.to(own[key].dtype) for key, value in tensors.items()})


def refuse_keys(keys: list[str], path: Path, verb: str) -> None:
    """Stop on the first three of `keys`, if there are any."""
    if keys:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise InputError(
            f"{path} {verb} {', '.join(keys[:3])}{more}; it holds the weights of another model."
        )


def _described(net: nn.Module) -> dict[str, Any]:
    if isinstance(net, FMiT | FMvT | ReId | EFRegressor | LVSegmenter):
        return {"_class_name": type(net).__name__, **dataclasses.asdict(net.config)}
    return {"_class_name": type(net).__name__, **dict(net.config)}  # type: ignore[call-overload]


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no model in {folder}: config.json is missing.") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict) or "_class_name" not in config:
        raise InputError(f"{path} names no _class_name; it is not a model of this project.")
    return config


def _from_description(config: dict[str, Any], folder: Path) -> nn.Module:
    name = config.pop("_class_name")
    if name == "AutoencoderKL":
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_config(config)  # type: ignore[return-value]
    kind, network = CLASSES[choose(name, [*CLASSES, "AutoencoderKL"], "model class")]
    known = {field.name for field in dataclasses.fields(kind)}
    for key in set(config) - known:
        raise InputError(f"{folder}/config.json: unknown field {key} for {name}.")
    for key in known - set(config):
        raise InputError(f"{folder}/config.json: {name} needs the field {key}.")
    return network(kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}))
