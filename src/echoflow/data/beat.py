"""One segmentation made to beat: what the label map looks like at every moment of a heart cycle.

A pseudo-video that stands still says where a heart is and not how it moves. Here the left ventricle
contracts from its map at end-diastole to the EF asked for. Of its volume, which is a length times
the square of a width, lengths take the power 1/5 and widths 2/5: at EF 60 the long axis shortens by
17 % and the width by 31 %, as in a normal heart. The wall shortens with the cavity and keeps its
volume, so it thickens; the base moves towards the apex, and the atrium follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from echoflow.data.labels import Label, checked
from echoflow.data.masks import disks
from echoflow.data.phantom.cycle import Cycle, cycle
from echoflow.types import InputError, View, check_ef

ALONG, ACROSS = 1 / 5, 2 / 5
LEAST = 1e-3  # of the volume: an EF of 100 leaves a speck
EARLY, SYSTOLE = 0.6, 1.0  # the share of the early wave in the filling; a systole of usual length


@dataclass(frozen=True)
class Axis:
    """A point (y, x) of the picture that stands still, and the direction (y, x) to the base."""

    origin: np.ndarray
    along: np.ndarray

    @classmethod
    def of(cls, cavity: np.ndarray, view: View) -> Axis:
        """The apex and the long axis; of a short-axis view the centre."""
        cut = disks(cavity)
        assert cut is not None
        if view is View.PSAX:
            rows, columns = np.nonzero(cavity)
            return cls(np.array([rows.mean(), columns.mean()]), np.array([1.0, 0.0]))
        return cls(cut.apex[::-1].copy(), cut.axis[::-1].copy())

    def stretch(self, along: float, across: float) -> np.ndarray:
        """(2, 2) that stretches by the two factors."""
        side = np.array([-self.along[1], self.along[0]])
        return along * np.outer(self.along, self.along) + across * np.outer(side, side)

    def level(self, mask: np.ndarray) -> np.ndarray:
        """How far along the axis each pixel of a mask lies, (n,)."""
        return (np.argwhere(mask) - self.origin) @ self.along


def contraction(frames: int, fps: float, heart_rate: float = 60.0, lead: float = 0.0) -> np.ndarray:
    """How contracted a heart is at each frame (t,): 0 at end-diastole, 1 at end-systole.

    The first frame is `lead` seconds after end-diastole; `heart_rate` in beats per minute.
    """
    return _cycle(frames, fps, heart_rate, lead).sigma


def opening(frames: int, fps: float, heart_rate: float = 60.0, lead: float = 0.0) -> np.ndarray:
    """How far the mitral and the aortic valve are open (t, 2), in [0, 1]; see `contraction`."""
    beats = _cycle(frames, fps, heart_rate, lead)
    return np.stack([beats.mitral, beats.aortic], 1)


def check_heart_rate(heart_rate: float) -> None:
    """`InputError` for a heart rate (beats per minute) that no heart has."""
    if not 20 <= heart_rate <= 250:
        raise InputError(f"heart rate must be in [20, 250] beats per minute; got {heart_rate:g}.")


def _cycle(frames: int, fps: float, heart_rate: float, lead: float) -> Cycle:
    check_heart_rate(heart_rate)
    rng = np.random.default_rng(0)  # of breathing, which is not used
    time = lead + np.arange(frames) / fps
    return cycle(rng, time, heart_rate, 0.0, SYSTOLE, EARLY, 0.0)


def beating(labels: np.ndarray, ef: float, sigma: np.ndarray, view: View = View.A4C) -> np.ndarray:
    """A label map (h, w) at end-diastole -> maps (t, h, w) of a heart with `ef` in percent.

    `sigma` (t,) is the contraction at each frame, see `contraction`. What lies outside the sector
    stays so. The volumes of the maps by the method of disks have that EF, up to whole pixels.
    """
    check_ef(ef)
    return np.stack([contracted(labels, 1 - ef / 100 * float(s), view) for s in sigma])


def contracted(labels: np.ndarray, volume: float, view: View = View.A4C) -> np.ndarray:
    """The map (h, w) of a ventricle that has a share `volume` of its volume at end-diastole."""
    cavity = checked(labels) == Label.CAVITY
    heart = cavity | (labels == Label.MYOCARDIUM)
    volume = max(volume, LEAST)
    along, across = volume**ALONG, volume**ACROSS
    axis, short = Axis.of(cavity, view), view is View.PSAX
    wall = _size(heart, short) / _size(cavity, short) - 1  # in cavities
    outer = np.sqrt((volume + wall) / ((1 + wall) * along))
    seen = (across, outer) if short else (along, along)
    layers = (
        (Label.ATRIUM, _following(labels == Label.ATRIUM, cavity, axis, along)),
        (Label.MYOCARDIUM, _scaled(heart, axis.origin, axis.stretch(seen[1], outer))),
        (Label.CAVITY, _scaled(cavity, axis.origin, axis.stretch(seen[0], across))),
    )
    inside = labels > Label.OUTSIDE
    moved = np.where(inside, Label.SECTOR, Label.OUTSIDE).astype(np.uint8)
    for label, mask in layers:
        moved[mask & inside] = label
    return moved


def _size(mask: np.ndarray, short: bool) -> float:
    """What the third power of length is to a plane: length times width squared, or in a short axis,
    which shows no length, the area."""
    if short:
        return float(mask.sum())
    cut = disks(mask)
    assert cut is not None
    return cut.length * float(np.square(cut.widths).mean())


def _following(atrium: np.ndarray, cavity: np.ndarray, axis: Axis, along: float) -> np.ndarray:
    """The atrium when the base has moved: its far end stays, its near end goes with the base."""
    if not atrium.any():
        return atrium
    base, end = axis.level(cavity).max(), axis.level(atrium).max()
    if end <= base:
        return atrium
    longer = (end - along * base) / (end - base)
    return _scaled(atrium, axis.origin + end * axis.along, axis.stretch(longer, 1.0))


def _scaled(mask: np.ndarray, fixed: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """The mask stretched by a (2, 2) matrix around a fixed point (y, x)."""
    back = np.linalg.inv(stretch)
    shift: Any = fixed - back @ fixed
    moved = ndimage.affine_transform(mask.astype(np.float32), back, shift, order=1)
    return np.asarray(moved) >= 0.5
