"""The left ventricle as a pixel mask and as traced lines.

A tracing is (21, 4) `x1, y1, x2, y2` in pixels: row 0 the long axis from apex to base, rows 1..20
chords across it. Pixel (row i, column j) has its centre at x = j, y = i, as in EchoNet-Dynamic.
Lines come from cutting a mask into 20 disks of equal height, as the method of disks wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echoflow.types import InputError

if TYPE_CHECKING:
    from torch import Tensor

DISKS = 20
_SUB = 3  # sub-samples per pixel side, so that disks thinner than a pixel get their share


def tracing_mask(tracing: np.ndarray, height: int = 112, width: int = 112) -> np.ndarray:
    """(21, 4) -> bool (h, w), by the rule of the reference tool of EchoNet-Dynamic.

    Without the long axis, the chord starts and the reversed chord ends form a polygon, rounded to
    whole pixels and filled, its outline included. Points outside the image are cut off.
    """
    chords = np.asarray(tracing, float)[1 : 1 + DISKS]
    if len(chords) < 2:
        raise InputError(f"a tracing needs a long axis and two chords; got {len(tracing)} lines.")
    x = np.rint(np.concatenate([chords[:, 0], chords[::-1, 2]])).astype(int)
    y = np.rint(np.concatenate([chords[:, 1], chords[::-1, 3]])).astype(int)
    return fill_polygon(x, y, height, width)


def fill_polygon(x: np.ndarray, y: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bool (h, w): pixels whose centre lies inside (even-odd rule) or on the outline.

    Vertices are whole pixels, (n,) int each, so every test is exact.
    """
    mask = np.zeros((height, width), bool)
    left, right = max(x.min(), 0), min(x.max(), width - 1)
    top, bottom = max(y.min(), 0), min(y.max(), height - 1)
    if left > right or top > bottom:
        return mask
    px = np.arange(left, right + 1)[None, :, None]
    py = np.arange(top, bottom + 1)[:, None, None]
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    # > 0: the point lies to the left of the edge (seen upwards), 0: on its line
    side = (x2 - x) * (py - y) - (px - x) * (y2 - y)
    spans = (y <= py) != (y2 <= py)
    crosses = spans & ((side > 0) == (y2 > y)) & (side != 0)
    within = (px >= np.minimum(x, x2)) & (px <= np.maximum(x, x2))
    within = within & (py >= np.minimum(y, y2)) & (py <= np.maximum(y, y2))
    inside = (crosses.sum(-1) % 2 == 1) | ((side == 0) & within).any(-1)
    mask[top : bottom + 1, left : right + 1] = inside
    return mask


def mask_tracing(mask: np.ndarray) -> np.ndarray:
    """(h, w) -> (21, 4): principal axis and the chords that give every disk its area.

    The apex is the upper end of the axis, or its left end where the axis is nearer to horizontal
    (PLAX). The disk volume of the tracing equals that of the mask. `InputError` if empty.
    """
    cut = disks(mask)
    if cut is None:
        raise InputError("an empty mask has no tracing; give one with a ventricle in it.")
    across = np.array([-cut.axis[1], cut.axis[0]])
    if across[0] < 0:  # chords run from left to right
        across = -across
    levels = (np.arange(DISKS) + 0.5) / DISKS * cut.length
    centres = cut.apex + levels[:, None] * cut.axis + cut.offsets[:, None] * across
    half = cut.widths[:, None] / 2 * across
    base = cut.apex + cut.length * cut.axis
    axis = np.concatenate([cut.apex, base])[None]
    return np.concatenate([axis, np.concatenate([centres - half, centres + half], axis=1)])


def area(mask: np.ndarray) -> np.ndarray:
    """Pixels in a mask (..., h, w)."""
    return np.asarray(mask, bool).sum((-2, -1))


def ed_es(areas: np.ndarray) -> tuple[int, int]:
    """Indices of end-diastole (largest area) and end-systole (smallest), the first of equals."""
    areas = np.asarray(areas)
    return int(areas.argmax()), int(areas.argmin())


def traced_ed_es(frames: dict[int, np.ndarray]) -> tuple[int, int]:
    """ED and ES frame of one video's tracings, frame -> (21, 4): by area, never by order."""
    numbers = sorted(frames)
    ed, es = ed_es(np.array([area(tracing_mask(frames[n])) for n in numbers]))
    return numbers[ed], numbers[es]


def check_mask(mask: np.ndarray, height: int = 112, width: int = 112) -> np.ndarray:
    """A user's mask (h, w) as bool: values 0/1 or 0/255, of the asked size, else `InputError`."""
    mask = np.asarray(mask)
    if mask.shape != (height, width):
        raise InputError(f"a mask must be {height}x{width} pixels, grey; got shape {mask.shape}.")
    values = np.unique(mask)
    if not any(np.isin(values, allowed).all() for allowed in ((0, 1), (0, 255))):
        shown = ", ".join(f"{value:g}" for value in values.astype(float)[:6])
        raise InputError(
            f"a mask must hold only 0 and 1, or only 0 and 255; got {shown}"
            f"{' ...' if len(values) > 6 else ''}. Threshold it first."
        )
    return mask > 0


def latent_mask(mask: np.ndarray | Tensor, height: int, width: int) -> Tensor:
    """(..., h, w) of 0/1 -> float32 {0, 1} (..., height, width) at the resolution of latents.

    Bilinear without anti-aliasing, then > 0, as the released demo does.
    """
    import torch
    from torch.nn.functional import interpolate

    x = torch.as_tensor(mask).float()
    flat = x.reshape(-1, 1, *x.shape[-2:])
    small = interpolate(flat, size=(height, width), mode="bilinear", align_corners=False)
    return (small > 0).float().reshape(*x.shape[:-2], height, width)


@dataclass(frozen=True)
class Disks:
    """A mask cut across its principal axis. Points are (x, y); `axis` points to the base."""

    apex: np.ndarray
    axis: np.ndarray
    length: float
    widths: np.ndarray  # (20,) area of the disk over its height
    offsets: np.ndarray  # (20,) mean distance of the disk from the axis


def disks(mask: np.ndarray, scale: tuple[float, float] = (1.0, 1.0)) -> Disks | None:
    """A mask (h, w) in 20 disks of equal height; None for an empty one.

    Lengths are in units of `scale`, the size (x, y) of a pixel: pixels where it is 1.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    points = np.stack([columns, rows], axis=1) * np.array(scale)
    centre = points.mean(0)
    axis = _axis(points - centre)
    across = np.array([-axis[1], axis[0]])
    if across[0] < 0:
        across = -across
    steps = _offsets() * scale
    fine = (points[:, None] + steps).reshape(-1, 2) - centre
    along, aside = fine @ axis, fine @ across
    rim = float(np.hypot(*(axis * scale))) / (2 * _SUB)
    low, length = along.min() - rim, float(np.ptp(along) + 2 * rim)
    disk = ((along - low) / length * DISKS).astype(int).clip(0, DISKS - 1)
    count = np.bincount(disk, minlength=DISKS)
    offsets = np.bincount(disk, aside, DISKS) / np.maximum(count, 1)
    widths = count * (scale[0] * scale[1] / _SUB**2) / (length / DISKS)
    return Disks(centre + low * axis, axis, length, widths, offsets)


def _axis(points: np.ndarray) -> np.ndarray:
    """Unit principal direction of centred (n, 2) points, towards the base: down, or right."""
    _, vectors = np.linalg.eigh(points.T @ points)
    axis = vectors[:, -1]
    return axis if axis[int(np.argmax(np.abs(axis)))] > 0 else -axis


def _offsets() -> np.ndarray:
    """(9, 2) centres of the sub-samples of a pixel."""
    steps = (np.arange(_SUB) + 0.5) / _SUB - 0.5
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
