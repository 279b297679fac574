"""Moving images and latents alike: what EQ-VAE asks a decoder to respect (Kouzelis et al. 2025).

A latent that is shrunk and turned should decode to the shrunk and turned image. Latents of such an
A-VAE are smoother, and generative models learn them faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from echoflow.training.draws import Draws

SMALLEST = 0.25  # side of a shrunk image, as in the paper


def plan(z: Tensor, share: float, rng: Draws) -> tuple[Tensor, list[int], list[int]]:
    """Which rows of latents z (b, c, h, w) move, by how many quarter turns, and their new size.

    A turn belongs to its row; the size, in whole cells, is one for the global batch, so that it is
    decoded at once. What is not square is turned by half circles only.
    """
    rows = torch.nonzero(rng.even() < share).flatten()
    scale = SMALLEST + (1 - SMALLEST) * rng.shared()
    quarter = 1 if z.shape[2] == z.shape[3] else 2
    turns = quarter * rng.integers(0, 4 // quarter, 1)[rows, 0]
    return rows.to(z.device), turns.tolist(), [max(1, round(scale * side)) for side in z.shape[2:]]


def moved(x: Tensor, turns: Sequence[int], size: Sequence[int]) -> Tensor:
    """x (b, c, h, w) shrunk to `size` without aliasing, then each turned by its quarter turns."""
    small = F.interpolate(x, size=tuple(size), mode="bilinear", antialias=True)
    return torch.stack([one.rot90(k, (1, 2)) for one, k in zip(small, turns, strict=True)])
