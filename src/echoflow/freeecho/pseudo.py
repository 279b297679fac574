"""A picture of a label map: each label in its own grey, then in the greys of an echocardiogram.

Free-Echo (Nguyen et al. 2024, section 2.3). A pseudo-video is its pseudo-images, one for each map;
as published there is one map and the pseudo-video stands still.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from echoflow.data.labels import Label, known
from echoflow.freeecho.transfer import PHANTOM, RELEASED, Transfer

GREYS = {
    Label.OUTSIDE: 0.0,
    Label.SECTOR: 0.5,
    Label.CAVITY: 0.0,
    Label.MYOCARDIUM: 1.0,
    Label.ATRIUM: 0.2,
}
"""Share of full brightness; not given in the paper, from the released code."""
COLOURS = {
    Label.OUTSIDE: (31, 119, 180),
    Label.SECTOR: (174, 199, 232),
    Label.CAVITY: (255, 127, 14),
    Label.MYOCARDIUM: (255, 187, 120),
    Label.ATRIUM: (44, 160, 44),
}
"""The first five of matplotlib's tab20, in which the released SDEdit baseline paints its labels."""
WORKING = 256  # pixels a side, at which greys are sampled and carried over


def painted(labels: np.ndarray, size: int) -> np.ndarray:
    """Labels (..., h, w) in their greys, (..., size, size) float32 in [0, 255]; bilinear, so that
    borders are soft."""
    table = np.array([GREYS[label] for label in Label], np.float32)
    return 255 * scaled(table[known(labels)], size)


def coloured(labels: np.ndarray, size: int) -> np.ndarray:
    """Labels (..., h, w) in the colours of the SDEdit baseline, (3, ..., size, size), 0..255."""
    table = np.array([COLOURS[label] for label in Label], np.float32)
    return np.stack([scaled(table[known(labels), c], size) for c in range(3)])


def pseudo_video(
    labels: np.ndarray,
    size: int,
    transfer: Transfer = RELEASED,
    reference: np.ndarray | None = None,
) -> np.ndarray:
    """Labels (t, h, w) -> (t, size, size) float32 in [0, 255], in the greys of `reference`.

    `reference` (h, w) holds grey levels 0..255, by default those of phantoms. What carries the
    greys over is found on the first map and the same for all, so that only walls move.
    """
    target = PHANTOM if reference is None else reference
    pictures = scaled(painted(labels, size) / 255, WORKING)
    carry = transfer.between(pictures[0], scaled(target / 255, WORKING))
    return 255 * scaled(carry(pictures).clip(0, 1), size)


def scaled(x: np.ndarray, size: int) -> np.ndarray:
    """(..., h, w) -> (..., size, size) float32: bilinear between pixel centres, also where it
    shrinks, as in the released code."""
    flat = torch.from_numpy(np.ascontiguousarray(x, np.float32)).reshape(-1, 1, *x.shape[-2:])
    out = F.interpolate(flat, (size, size), mode="bilinear", align_corners=False)
    return out.reshape(*x.shape[:-2], size, size).numpy()
