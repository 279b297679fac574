"""LPIPS (Zhang et al. 2018): how different two pictures look to the features of a network.

The package `lpips` brings the weights of its comparison; those of the trunk are torchvision's and
are looked for as every published network is, never fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from echoflow.metrics.extractors import PUBLISHED, tensors
from echoflow.types import InputError

Trunk = Literal["vgg", "alex"]
FILES: Mapping[Trunk, str] = {"vgg": "vgg16", "alex": "alexnet"}
"""Trunk -> its row of `PUBLISHED`. The papers' is VGG; AlexNet's numbers are on another scale."""

CHUNK = 16  # pictures at a time


class Lpips:
    """Distance of uint8 grey pictures, given to the network in [-1, 1] and three equal channels."""

    def __init__(
        self, trunk: Trunk = "vgg", folder: str | Path | None = None, device: str = "cpu"
    ) -> None:
        state = tensors(FILES[trunk], folder)
        self.name, self.sha256 = f"lpips-{trunk}", PUBLISHED[FILES[trunk]].sha256
        self.net, self.device = filled(untrained(trunk), state).to(device), device

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Pictures (n, h, w) twice -> distances (n,); 0 for equal ones."""
        import torch

        if a.shape != b.shape or a.ndim != 3:
            raise InputError(f"LPIPS compares pictures (n, h, w); got {a.shape} and {b.shape}.")
        parts = []
        with torch.inference_mode():
            for first in range(0, len(a), CHUNK):
                x, y = (
                    torch.from_numpy(side[first : first + CHUNK].astype(np.float32) / 127.5 - 1)
                    .to(self.device)[:, None]
                    .expand(-1, 3, -1, -1)
                    for side in (a, b)
                )
                parts.append(self.net(x, y).flatten().double().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty(0)


def untrained(trunk: Trunk) -> Any:
    """The package's network with a random trunk: asked otherwise, it would fetch one."""
    try:
        import lpips  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "LPIPS needs the package lpips; install the extra `metrics`, or leave LPIPS out."
        ) from None
    net = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    return net.eval().requires_grad_(False)


def filled(net: Any, state: Mapping[str, Any]) -> Any:
    """The network with the convolutions of a torchvision file; `InputError` if one is missing.

    The package cuts the trunk into slices that keep torchvision's numbers:
    `slice2.5.weight` is `features.5.weight`.
    """
    wanted = {key: re.sub(r"^slice\d+\.", "features.", key) for key in net.net.state_dict()}
    missing = sorted(set(wanted.values()) - set(state))
    if missing:
        raise InputError(f"the file of the trunk lacks {missing[0]}; replace it.")
    net.net.load_state_dict({key: state[name] for key, name in wanted.items()}, strict=True)
    return net
