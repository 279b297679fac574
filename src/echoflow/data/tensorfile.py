"""Posteriors and statistics in files of other programs: `.safetensors`, or `.pt` pickles.

Of a pickle nothing but tensors and plain containers is taken.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from echoflow.data import shardfile
from echoflow.latents import LatentStats, Moments
from echoflow.types import InputError

Holds = Literal["auto", "draws", "mean-std", "mean-var", "mean-logvar"]
"""What the channels of a tensor without a name are: draws (or means) alone, or mean and spread."""
HOLDS: tuple[Holds, ...] = get_args(Holds)

MEANS = ("mu", "mean")
SPREADS = {"std": "std", "sigma": "std", "var": "var", "logvar": "logvar"}
SPACES = (4, 16)  # latent channels of the published autoencoders


def read_moments(path: Path, holds: Holds = "auto", factor: float = 1.0) -> Moments:
    """Posterior mean and standard deviation (t, c, h, w), float32; draws have deviation 0."""
    mean, spread, kind = _parts(_tensors(path), holds, path)
    if mean.ndim != 4 or not len(mean) or spread.shape != mean.shape:
        shapes = f"{tuple(mean.shape)} and {tuple(spread.shape)}"
        raise InputError(f"{path} must hold latents (t, c, h, w) of one shape; it holds {shapes}.")
    mean, spread = mean.float(), spread.float()
    if kind != "logvar" and bool((spread < 0).any()):
        raise InputError(f"{path}: {kind} is negative in places; is it a logarithm?")
    std = {"std": spread, "var": spread.clamp(min=0).sqrt(), "logvar": (spread / 2).exp()}[kind]
    if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
        raise InputError(f"{path} holds values that are not finite; the file is damaged.")
    return Moments(mean / factor, std / factor)


def read_statistics(path: str | Path) -> LatentStats:
    """`mean` and `std` per channel to normalise by: from a .pt or .safetensors file, or those that
    a latent folder is normalised by."""
    if Path(path).is_dir():
        return shardfile.statistics(shardfile.read_card(Path(path)), Path(path))
    tensors = _tensors(Path(path))
    if not isinstance(tensors, Mapping) or not {"mean", "std"} <= tensors.keys():
        found = ", ".join(tensors) if isinstance(tensors, Mapping) else "one tensor"
        raise InputError(f"{path} must hold mean and std; it holds {found}.")
    return LatentStats(*(torch.as_tensor(tensors[k]).double().flatten() for k in ("mean", "std")))


def _parts(held: Any, holds: Holds, path: Path) -> tuple[Tensor, Tensor, str]:
    """Mean, spread, and what the spread is."""
    if isinstance(held, Tensor):
        return _unnamed(held, holds, path)
    named = {str(k).lower(): v for k, v in held.items() if isinstance(v, Tensor)}
    mean = next((named[name] for name in MEANS if name in named), None)
    spread = next((name for name in SPREADS if name in named), None)
    if mean is not None:
        kind = SPREADS[spread] if spread else "std"
        return mean, named[spread] if spread else torch.zeros_like(mean), kind
    if len(named) == 1:
        return _unnamed(next(iter(named.values())), holds, path)
    raise InputError(
        f"{path} must hold one tensor, or {' or '.join(MEANS)} with {', '.join(SPREADS)}; it holds "
        f"{', '.join(named) or 'no tensors'}."
    )


def _unnamed(tensor: Tensor, holds: Holds, path: Path) -> tuple[Tensor, Tensor, str]:
    channels = tensor.shape[1] if tensor.ndim == 4 else 0
    if holds == "auto" and channels in SPACES:
        holds = "draws"
    elif holds == "auto" and channels in {2 * n for n in SPACES}:
        holds = "mean-std"
    if holds == "auto" or (holds != "draws" and channels % 2):
        raise InputError(
            f"{path} holds a tensor {tuple(tensor.shape)}, which may be several things; say which: "
            f"{', '.join(HOLDS[1:])}."
        )
    if holds == "draws":
        return tensor, torch.zeros_like(tensor), "std"
    mean, spread = tensor.chunk(2, dim=1)
    return mean, spread, holds.removeprefix("mean-")


def _tensors(path: Path) -> Any:
    """A tensor or a mapping of them; whatever else a pickle wants is refused."""
    try:
        if path.suffix == ".safetensors":
            return load_file(str(path))
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} wants more than tensors when it is opened, or is no such file at all; it was "
            "not opened, since such a file can run any program."
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path} is damaged ({error}); copy it again.") from error
    if not isinstance(held, (Tensor, Mapping)):
        raise InputError(f"{path} holds a {type(held).__name__}, not tensors.")
    return held
