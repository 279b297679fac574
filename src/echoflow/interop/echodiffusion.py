"""The published layout of EchoDiffusion (Reynaud et al. 2023): a folder for each cascade.

    config.yaml    what the stages are and how they are sampled
    merged.pt      a pickle with the weights of all stages, of which nothing but tensors is taken

Its networks are our `UNet3D`. A stage has averaged weights, `ema: <i>.ema_model.<key>`, which are
the ones to sample with, and raw ones, `model: unets.<i>.<key>`; i counts from 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from echoflow.interop import hub
from echoflow.interop.echoflow import tensors_only
from echoflow.interop.keymap import to_ours, to_theirs
from echoflow.interop.unet3d import RULES, read
from echoflow.lowres import Resize
from echoflow.networks import weights
from echoflow.networks.unet3d import UNet3D, UNet3DConfig, check_order
from echoflow.process import EDM
from echoflow.sampling import Churn
from echoflow.types import InputError, check_whole, choose

CONFIG, WEIGHTS = "config.yaml", "merged.pt"
AVERAGED = re.compile(r"(?P<stage>\d+)\.ema_model\.(?P<key>.+)")
CHURN, CHURNED = ("S_tmin", "S_tmax", "S_noise"), (0.05, 50.0, 1.003)  # left out: as released
SAMPLED: Mapping[str, Any] = {
    "lowres_sample_noise_level": 0.2,
    "per_sample_random_aug_noise_level": False,
    "lowres_noise_schedule": "linear",
    "dynamic_thresholding": True,
    "dynamic_thresholding_percentile": 0.95,
    "auto_normalize_img": True,
    "condition_on_text": True,
}
"""What else of `imagen` changes samples: no release turns it, and other values are refused."""
RAW = re.compile(r"unets\.(?P<stage>\d+)\.(?P<key>.+)")


@dataclass(frozen=True)
class Stage:
    """One network of a cascade, and how it was trained and is sampled."""

    config: UNet3DConfig
    fps: float
    process: EDM
    steps: int
    churn: Churn
    resize: Resize  # between this stage and the one before
    crop: int | None  # side of random crops in training


def load(
    source: str | Path,
    subfolder: str | None = None,
    kind: Literal["averaged", "raw"] = "averaged",
    zero_ef_is_null: bool = False,
) -> tuple[UNet3D, ...]:
    """The networks of a cascade, first stage first: float32, in eval mode, without gradients.

    Strict: every tensor of a stage has its place and nothing is skipped. `zero_ef_is_null` repeats
    what the released code does of an EF of exactly 0 (see `UNet3DConfig`).
    """
    folder = hub.find(source, subfolder)
    stages, path = read_stages(folder / CONFIG), folder / WEIGHTS
    tables = _tables(tensors_only(path), kind, path)
    if len(tables) != len(stages):
        raise InputError(
            f"{folder / CONFIG} describes {len(stages)} stages and {path.name} holds weights of "
            f"{len(tables)}; they belong to different models."
        )
    configs = [replace(stage.config, zero_ef_is_null=zero_ef_is_null) for stage in stages]
    return tuple(_built(*pair, path) for pair in zip(configs, tables, strict=True))


def is_cascade(folder: Path) -> bool:
    """Whether a folder is that of a published cascade, even if a piece of it is missing."""
    described = (folder / CONFIG).is_file() and b"unets" in (folder / CONFIG).read_bytes()
    return described or (folder / WEIGHTS).is_file()


def read_stages(path: Path) -> tuple[Stage, ...]:
    """The stages that a `config.yaml` describes."""
    tree = _tree(path)
    unets, imagen, dataset = (tree[name] for name in ("unets", "imagen", "dataset"))
    names = [f"unet{i + 1}" for i in range(len(unets))]
    if not unets or set(unets) != set(names):
        found = ", ".join(map(str, unets)) or "none"
        raise InputError(f"{path}: unets must be unet1, unet2, ...; got {found}.")
    try:
        stages = tuple(
            _stage(unets[name], imagen, dataset, i, len(names)) for i, name in enumerate(names)
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{path} is not the config of a cascade ({error!r}).") from error
    check_order([stage.config for stage in stages])
    return stages


def _stage(
    fields: Mapping[str, Any],
    imagen: Mapping[str, Any],
    dataset: Mapping[str, Any],
    i: int,
    stages: int,
) -> Stage:
    """Stage i of a config: some values are one for all, some a list of one for each."""

    def at(name: str, default: Any = None) -> Any:
        value = imagen.get(name, default)
        if isinstance(value, list) and len(value) != stages:
            raise InputError(f"{name} has {len(value)} values for {stages} stages.")
        return value[i] if isinstance(value, list) else value

    for name, usual in SAMPLED.items():
        if (found := at(name, usual)) != usual:
            raise InputError(f"{name} is {usual} in all releases; got {found}.")
    check_whole({"num_sample_steps": at("num_sample_steps")})
    factor = at("temporal_downsample_factor", 1)
    fps = float(dataset["fps"]) / factor
    config = read({**fields, "lowres_cond": i > 0, "text_embed_dim": imagen["text_embed_dim"]})
    noise = ("sigma_data", "sigma_min", "sigma_max", "rho")
    return Stage(
        config=replace(config, size=at("image_sizes"), frames=round(fps * dataset["duration"])),
        fps=fps,
        process=EDM(*(float(at(name)) for name in (*noise, "P_mean", "P_std"))),
        steps=at("num_sample_steps"),
        churn=Churn(
            float(at("S_churn")),
            *(float(at(name, usual)) for name, usual in zip(CHURN, CHURNED, strict=True)),
        ),
        resize=choose(str(at("resize_mode", "nearest")), get_args(Resize), "resize_mode"),  # type: ignore[arg-type]
        crop=at("random_crop_sizes"),
    )


def _tree(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """`config.yaml` with the sections that matter here."""
    import yaml

    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no cascade in {path.parent}: {path.name} is missing.") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read as YAML ({error}).") from error
    sections = tree if isinstance(tree, Mapping) else {}
    for name in ("unets", "imagen", "dataset"):
        if not isinstance(sections.get(name), Mapping):
            raise InputError(f"{path} must hold unets, imagen and dataset; {name} is missing.")
    return sections


def _tables(content: Any, kind: str, path: Path) -> list[dict[str, Tensor]]:
    """The tensors of each stage by their names in a `Unet3D`."""
    groups = {"averaged": ("ema", AVERAGED), "raw": ("model", RAW)}
    group, form = groups[choose(kind, groups, "kind of weights")]
    table = content.get(group) if isinstance(content, Mapping) else None
    if not isinstance(table, Mapping):
        raise InputError(f"{path} must hold a dict with {group}; it is no merged cascade.")
    stages: dict[int, dict[str, Tensor]] = {}
    for name, value in table.items():
        hit = form.fullmatch(str(name))
        if hit and isinstance(value, Tensor):
            stages.setdefault(int(hit["stage"]), {})[hit["key"]] = value
    if sorted(stages) != list(range(len(stages))):
        raise InputError(f"{path} holds {kind} weights of stages {sorted(stages)}, counted from 0.")
    return [stages[i] for i in range(len(stages))]


def _built(config: UNet3DConfig, tensors: Mapping[str, Tensor], path: Path) -> UNet3D:
    """The network of a stage; which of its levels cross-attend is what the tensors say.

    The parameter count in print, 95 M for the cascade of four, is that of cross-attention in every
    level of its first three stages; the config that came with the code has it in the last level.
    """
    keys = (f"downs.{i}.1.cross_attn.fn.null_kv" for i in range(len(config.multiples)))
    net = UNet3D(replace(config, cross=tuple(key in tensors for key in keys)))
    weights.check(tensors, path)
    weights.match(tensors, to_theirs(RULES, net.state_dict()), path)
    weights.fill(net, to_ours(RULES, tensors), path)
    return net.eval().requires_grad_(False)
