"""The one place where pixels change between uint8 and the floats that networks see.

The convention is that of the released models (EchoNet-Synthetic and EchoFlow code): grey levels
0..255 map to [-1, 0.9921875], and going back truncates, so that a uint8 survives the round trip.
The pixel-space systems, EchoDiffusion and Free-Echo, see [-1, 1], white included (`signed`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@overload
def to_float(x: np.ndarray) -> np.ndarray: ...
@overload
def to_float(x: Tensor) -> Tensor: ...
def to_float(x: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """uint8 of any shape -> float32 in [-1, 1): `x / 128 - 1`."""
    if isinstance(x, np.ndarray):
        return x.astype(np.float32) / np.float32(128) - np.float32(1)
    return x.float() / 128 - 1


@overload
def to_uint8(x: np.ndarray) -> np.ndarray: ...
@overload
def to_uint8(x: Tensor) -> Tensor: ...
def to_uint8(x: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Floats of any shape -> uint8: `(x + 1) * 128`, clamped to 0..255 and truncated."""
    if isinstance(x, np.ndarray):
        return ((x.astype(np.float32) + 1) * 128).clip(0, 255).astype(np.uint8)
    return ((x.float() + 1) * 128).clamp(0, 255).byte()


def signed(x: Tensor) -> Tensor:
    """uint8 of any shape -> float32 in [-1, 1]: `x / 127.5 - 1`."""
    return x.float() / 127.5 - 1


def unsigned(x: Tensor) -> Tensor:
    """The way back from `signed`, clamped and rounded to the nearest grey level."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).byte()
