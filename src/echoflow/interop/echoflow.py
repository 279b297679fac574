"""One published model or table of EchoFlow: folders and files in and out.

A model is `config.json` with `diffusion_pytorch_model.safetensors`; a re-identification network is
`config.yaml` with `backbone.safetensors`. Everything else is inferred: the class from
`_class_name`, sizes from the config, and every tensor must have its place. Tables (`scaling.pt`,
`anatomies_*.pt`) are pickles, of which nothing but tensors is taken.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from echoflow.files import atomic_file
from echoflow.interop import convolutional, hub, transformers
from echoflow.interop.keymap import Foreign, to_ours, to_theirs
from echoflow.latents import LatentStats
from echoflow.networks import weights, zoo
from echoflow.types import InputError, choose

CONFIG, WEIGHTS = "config.json", zoo.WEIGHTS
REID_CONFIG, REID_WEIGHTS = "config.yaml", "backbone.safetensors"
FOREIGN: tuple[Foreign, ...] = (*transformers.FOREIGN, *convolutional.FOREIGN)
AVAE = "AutoencoderKL"
REID = "ResNet18"  # the class at the end of `backbone.target` in config.yaml


def load(source: str | Path, subfolder: str | None = None) -> nn.Module:
    """The network in a folder or hub repository: float32, in eval mode, without gradients.

    The published layouts and our own are told apart by the config. Anything missing, unknown,
    misshapen or not finite is an `InputError`.
    """
    folder = hub.find(source, subfolder)
    if (folder / REID_CONFIG).is_file() and not (folder / CONFIG).is_file():
        fields, foreign = _reid_fields(folder / REID_CONFIG), _foreign(REID)
        return _built(foreign, fields, folder / REID_CONFIG, folder / REID_WEIGHTS)
    path = folder / CONFIG
    fields = read_json(path)
    if "_class_name" not in fields:
        raise InputError(f"{path} names no _class_name; choose a folder with a published model.")
    name = choose(str(fields["_class_name"]), class_names(), f"_class_name in {path}")
    if name == AVAE or name in zoo.CLASSES:
        return zoo.load(folder)
    public = {key: value for key, value in fields.items() if not key.startswith("_")}
    return _built(_foreign(name), public, path, folder / WEIGHTS)


def save(net: nn.Module, folder: str | Path) -> None:
    """Write the published layout of `net`; classes that were never published keep our names."""
    folder = Path(folder)
    foreign = foreign_of(net)
    if foreign is None:
        zoo.save(net, folder)
        return
    tensors = {key: value.detach().cpu() for key, value in net.state_dict().items()}
    theirs = {k: v.contiguous() for k, v in to_theirs(foreign.rules, tensors).items()}
    fields = foreign.write(net.config)
    reid = foreign.name == REID
    with atomic_file(folder / (REID_CONFIG if reid else CONFIG)) as file:
        file.write_text(_reid_yaml(fields) if reid else _config_json(foreign.name, fields))
    with atomic_file(folder / (REID_WEIGHTS if reid else WEIGHTS)) as file:
        save_file(theirs, str(file), {"format": "pt"})


def is_model(folder: Path) -> bool:
    """Whether a folder holds one network."""
    return any((folder / name).is_file() for name in (CONFIG, REID_CONFIG))


def class_names() -> list[str]:
    """Every `_class_name` that can be loaded."""
    return [*(foreign.name for foreign in FOREIGN), AVAE, *zoo.CLASSES]


def foreign_of(net: nn.Module) -> Foreign | None:
    """The published class of which `net` is our counterpart, if there is one."""
    config = type(getattr(net, "config", None))
    return next((foreign for foreign in FOREIGN if foreign.config is config), None)


def read_scaling(path: Path) -> LatentStats:
    """`scaling.pt`: a dict of `mean` and `std`, each one value per latent channel."""
    table = tensors_only(path)
    if not isinstance(table, Mapping) or not {"mean", "std"} <= set(table):
        found = ", ".join(map(str, table)) if isinstance(table, Mapping) else type(table).__name__
        raise InputError(f"{path} must hold a dict with mean and std; it holds {found}.")
    mean, std = (torch.as_tensor(table[name]).float().flatten() for name in ("mean", "std"))
    return LatentStats(mean, std)


def read_anatomies(path: Path) -> Tensor:
    """`anatomies_*.pt`: features of the training anatomies, (n, features) float32."""
    table = tensors_only(path)
    if not isinstance(table, Tensor) or table.ndim != 2 or not len(table):
        found = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
        raise InputError(f"{path} must hold one tensor (n, features) with n > 0; it holds {found}.")
    weights.check({"features": table}, path)
    return table.float()


def write_table(value: Tensor | dict[str, Tensor], path: Path) -> None:
    """Write `scaling.pt` or `anatomies_*.pt`."""
    with atomic_file(path) as file:
        torch.save(value, file)


def read_json(path: Path) -> dict[str, Any]:
    """The fields of a config.json."""
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no model in {path.parent}: {path.name} is missing.") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path} must hold the fields of one model; it holds {fields!r:.40}.")
    return fields


def _built(
    foreign: Foreign, fields: Mapping[str, Any], config: Path, weights_file: Path
) -> nn.Module:
    with _told(config):
        net = zoo.build(foreign.read(fields))
    tensors = weights.read(weights_file)
    weights.match(tensors, to_theirs(foreign.rules, net.state_dict()), weights_file)
    weights.fill(net, to_ours(foreign.rules, tensors), weights_file)
    return net.eval().requires_grad_(False)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Puts the file in front of an `InputError` that does not know it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _foreign(name: str) -> Foreign:
    return next(foreign for foreign in FOREIGN if foreign.name == name)


def _config_json(name: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({"_class_name": name, **fields}, indent=2) + "\n"


def _reid_fields(path: Path) -> dict[str, Any]:
    """`backbone.target` must end in ResNet18; `model.args` are the fields that shape it."""
    import yaml

    try:
        tree = yaml.safe_load(path.read_text())
        target, args = str(tree["backbone"]["target"]), dict(tree["model"]["args"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} must hold backbone.target and model.args with in_channels and out_channels "
            f"({error!r})."
        ) from error
    if target.rpartition(".")[2] != REID:
        raise InputError(f"{path}: backbone.target must end in {REID}; got {target}.")
    return args


def _reid_yaml(fields: Mapping[str, Any]) -> str:
    import yaml

    backbone = {"target": f"torchvision.models.{REID}", "args": {"weights": None, "progress": True}}
    return yaml.safe_dump({"backbone": backbone, "model": {"args": dict(fields)}}, sort_keys=False)


def tensors_only(path: Path) -> Any:
    """What a pickle holds, if that is tensors and plain containers; `InputError` otherwise."""
    if not path.is_file():
        raise InputError(f"there is no file {path}; copy it from the published assets.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} wants more than tensors when it is opened, or is no table at all; it was not "
            "opened, since such a file can run any program."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); download or copy it again.") from error
