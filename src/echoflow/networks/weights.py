"""Weights from files into networks, strictly: what is wrong is named, nothing is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from echoflow.types import InputError


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: whole, finite, floating ones all of one dtype."""
    if not path.is_file():
        raise InputError(
            f"no weights at {path}; give a folder with its config file and {path.name}."
        )
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); download or copy it again."
        ) from error
    check(tensors, path)
    return tensors


def check(tensors: Mapping[str, Tensor], path: Path) -> None:
    """`InputError` for values that are not finite and for more than one floating dtype."""
    examples: dict[torch.dtype, str] = {}
    for key, value in tensors.items():
        if value.layout is not torch.strided:
            raise InputError(f"{path}: {key} is a sparse tensor; save it as a dense one.")
        if not value.is_floating_point():
            continue
        examples.setdefault(value.dtype, key)
        if not bool(torch.isfinite(value).all()):
            raise InputError(
                f"{path}: {key} holds values that are not finite; the file is damaged."
            )
    if len(examples) > 1:
        found = " and ".join(
            f"{str(dtype).removeprefix('torch.')} ({key})" for dtype, key in examples.items()
        )
        raise InputError(f"{path} mixes {found}; save all weights in one dtype.")


def fill(net: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Strict load in the dtypes of `net`; anything missing, unused or misshapen is refused."""
    own = net.state_dict()
    match(tensors, own, path)
    net.load_state_dict({key: tensors[key].to(value.dtype) for key, value in own.items()})


def match(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """`InputError` unless `tensors` has the names and shapes of `wanted`."""
    lacking = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    if lacking or unknown:
        sides = (("lacks", lacking), ("has unknown", unknown))
        told = " and ".join(f"{verb} {first_three(keys)}" for verb, keys in sides if keys)
        raise InputError(f"{path} {told}; it holds the weights of another model.")
    for key, value in wanted.items():
        if tensors[key].shape != value.shape:
            raise InputError(
                f"{path}: {key} has shape {tuple(tensors[key].shape)}, the model needs "
                f"{tuple(value.shape)}; config and weights belong to different models."
            )
        if tensors[key].is_floating_point() != value.is_floating_point():
            found, needed = (str(one.dtype).removeprefix("torch.") for one in (tensors[key], value))
            raise InputError(f"{path}: {key} holds {found}, the model needs {needed}.")


def first_three(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
