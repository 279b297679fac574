"""The golden files of a network: its stored cases, and weights that follow a closed formula."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from closed_forms import GOLDEN, golden
from torch import Tensor, nn

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TABLES = ("pos_embed", "pos_embed_temporal", "freqs")


def manifest(name: str) -> dict[str, dict[str, Any]]:
    """Variant -> its config and the shapes of its tensors at real size."""
    path = GOLDEN / f"{name}.manifest.json"
    if not path.exists():
        pytest.skip("golden data are not beside this checkout")
    return json.loads(path.read_text())


def stored_weights(data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "weights."
    return {key.removeprefix(prefix): v for key, v in data.items() if key.startswith(prefix)}


def cases(name: str) -> Iterator[tuple[str, dict[str, Tensor | None], dict[str, Tensor]]]:
    """Name, inputs by argument and wanted outputs of every case."""
    data, about = golden(name)
    for case in about["cases"]:
        inputs = {arg: None if key is None else data[key] for arg, key in case["inputs"].items()}
        outputs = {out: data[where["key"]] for out, where in case["outputs"].items()}
        yield case["name"], inputs, outputs


def norm_weights(net: nn.Module) -> set[str]:
    """State-dict keys of the scales of normalisation layers."""
    found = {f"{name}.weight" for name, layer in net.named_modules() if isinstance(layer, NORMS)}
    return found & set(net.state_dict())


def formula_weights(
    like: Mapping[str, Tensor], norms: Collection[str], about: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The weights that a `.full` file stands for, checked against the values it does store."""
    keys = sorted(like)
    made = {key: _formula(key, like[key], j + 1, norms, about) for j, key in enumerate(keys)}
    for key, first in about["formula_check"].items():
        torch.testing.assert_close(made[key].flatten()[:3], torch.tensor(first), msg=key)
    return made


def _formula(
    key: str, like: Tensor, j: int, norms: Collection[str], about: Mapping[str, Any]
) -> Tensor:
    if not like.is_floating_point() or key.rpartition(".")[2] in TABLES:
        return like
    u = _uniform(like.numel(), j + about["salt"])
    if key.endswith("running_var"):
        u = 1 + 0.5 * u
    elif key.endswith(".weights"):  # learned frequencies
        pass
    elif key.endswith("running_mean"):
        u = 0.1 * u
    elif key in norms:
        u = 1 + 0.2 * u
    elif like.ndim >= 2:
        u = u * np.sqrt(3 / (like.numel() // len(like)))
    else:
        u = 0.1 * u
    return torch.from_numpy(u.astype(np.float32)).reshape(like.shape)


def _uniform(n: int, j: int) -> np.ndarray:
    """n float64 in [-1, 1): the hash of the golden README, in 32-bit arithmetic."""
    x = np.arange(n, dtype=np.uint32) + np.uint32(j * 0x9E3779B9 % 2**32)
    x ^= x >> 16
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> 13
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> 16
    return 2 * (x / 2**32) - 1
