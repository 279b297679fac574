"""Valves of a still, opened: closed leaflets go, open ones are drawn.

A warp moves what a still shows, and a still at end-diastole shows closed valves. Mitral leaflets
hang from the two ends of their annulus; opened they turn on them into the ventricle, by the angles
of the phantom (`data/phantom/a4c.py`, `plax.py`), as bright as the closed ones were. A still
may lack them, since they are thin; then they are drawn as bright as the wall, closed too. Aortic
cusps, which a parasternal long axis shows, open to the wall of the root and are then hardly seen. A
short axis at the height of papillary muscles shows no leaflets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echoflow.data.beat import Axis
from echoflow.data.phantom.scene import to_polyline, two_segments
from echoflow.types import View

BASE = 0.2  # the part of a cavity's length at its base where its width is taken
FRONT, BEHIND = 0.3, 0.12  # how far closed leaflets reach into the cavity and behind it
HINGES = 0.75  # the part of an annulus that leaflets are taken away from
EDGE = 1.5  # pixels over which what is taken away ends
THICK = 1.1  # pixels: the deviation of a leaflet's profile
PARTED = 0.15  # from this opening on nothing of the closed leaflets is left
LACKING = 0.8  # of the contrast of the wall: what is fainter are no leaflets


@dataclass(frozen=True)
class Mitral:
    """The valve in one view; pairs are of the leaflet nearer to the septum, then of the other.

    `annulus`: its ends in widths of the cavity's base, from the septal side; `length` of the
    leaflets in lengths of the annulus; `closed` and `turn`: their angle to it when closed, and what
    an open valve adds, in rad.
    """

    annulus: tuple[float, float]
    length: tuple[float, float]
    closed: float
    turn: tuple[float, float]


MITRAL = {
    View.A4C: Mitral((0.0, 1.0), (0.52, 0.52), 0.30, (1.05, 1.05)),
    View.PLAX: Mitral((0.53, 1.0), (1.05, 0.62), 0.90, (0.95, 0.65)),
}
SEPTAL = {View.A4C: 1, View.PLAX: 0}  # to the septum the x of an A4C falls, the y of a PLAX


@dataclass(frozen=True)
class Valves:
    """A still (h, w) at end-diastole, and what its valves look like opened.

    `without` are the stills (h, w) that have lost their mitral and their aortic leaflets; `grey` is
    how bright the mitral ones are, `shown` whether the still has any. `annulus` (2, 2) has the
    points (y, x) where they hang.
    """

    still: NDArray[np.uint8]
    without: tuple[NDArray[np.float32], NDArray[np.float32]]
    grey: float
    shown: bool
    annulus: NDArray[np.float64]
    along: NDArray[np.float64]  # (y, x) to the base
    mitral: Mitral

    @classmethod
    def of(
        cls, still: NDArray[np.uint8], cavity: NDArray[np.bool_], axis: Axis, view: View
    ) -> Valves:
        """Found from the cavity (h, w) and its long axis, in a view that `MITRAL` has."""
        base, mitral = _Base.of(cavity, axis, view), MITRAL[view]
        leaflets, root = base.mitral(mitral), mitral.annulus[0]  # the aortic valve is before it
        cusps = base.between(0, root, 0, root * base.width / 2)
        blood, wall, grey = _greys(still, cavity, leaflets, base.across)
        shown = grey - blood > LACKING * (wall - blood)
        return cls(
            still,
            (_filled(still, leaflets, blood), _filled(still, cusps, blood)),
            grey if shown else wall,
            shown,
            base.points(mitral.annulus),
            axis.along,
            mitral,
        )

    def opened(self, mitral: float, aortic: float) -> NDArray[np.uint8]:
        """The still (h, w) with its valves open as far, in [0, 1].

        At 0 and 0 the still itself, unless it lacks mitral leaflets: then with closed ones.
        """
        seen = self.still.astype(np.float32)
        if aortic > 0:
            seen = seen + min(aortic / PARTED, 1.0) * (self.without[1] - self.still)
        if mitral > 0 or not self.shown:
            leaflets = np.maximum(self.without[0], self.grey * self._leaflets(mitral))
            parted = min(mitral / PARTED, 1.0) if self.shown else 1.0
            seen = seen + parted * (leaflets - self.still)
        return seen.round().clip(0, 255).astype(np.uint8)

    def _leaflets(self, opening: float) -> NDArray[np.float32]:
        """Both mitral leaflets (h, w), 1 along their middle."""
        apart = self.annulus[1] - self.annulus[0]
        width = max(float(np.hypot(*apart)), 1e-6)
        inward = apart / width
        deeper = np.array([-inward[1], inward[0]])
        deeper = deeper * -np.sign(deeper @ self.along)
        points = np.indices(self.still.shape).reshape(2, -1).T
        seen = np.zeros(len(points), np.float32)
        for hinge, length, turn in zip(
            self.annulus, self.mitral.length, self.mitral.turn, strict=True
        ):
            angle = np.array([self.mitral.closed + turn * opening])
            line = two_segments(np.zeros((1, 2)), length * width, angle, 1.0)
            z, y = (((points - hinge) @ way)[None].astype(np.float32) for way in (-deeper, inward))
            away = to_polyline(z, y, line)[0]
            seen = np.maximum(seen, np.exp(-away / (2 * THICK**2)))
            inward = -inward  # the other leaflet points back
        return seen.reshape(self.still.shape)


@dataclass(frozen=True)
class _Base:
    """Where a cavity of some `length` ends towards the atrium, between its two walls.

    In pixels: `across` (h, w) is the distance from the axis, away from the septum, and `behind`
    (h, w) that from the line between the ends of the walls, negative in the cavity. `walls` (2,)
    are where the walls lie across, from the septal one, `heights` (2,) where they end along.
    """

    axis: Axis
    side: NDArray[np.float64]  # (y, x) away from the septum
    across: NDArray[np.float64]
    behind: NDArray[np.float64]
    walls: NDArray[np.float64]
    heights: NDArray[np.float64]
    length: float

    @classmethod
    def of(cls, cavity: NDArray[np.bool_], axis: Axis, view: View) -> _Base:
        side = np.array([-axis.along[1], axis.along[0]])
        side = side * np.sign(side[SEPTAL[view]] or 1.0)
        at = np.moveaxis(np.indices(cavity.shape), 0, -1) - axis.origin
        level, across = at @ axis.along, at @ side
        length = float(np.percentile(level[cavity], 98))
        mouth = cavity & (level >= (1 - BASE) * length)
        walls = np.percentile(across[mouth], [2, 98])
        near = [mouth & (np.abs(across - wall) < np.ptp(walls) / 4) for wall in walls]
        heights = np.array([np.percentile(level[p if p.any() else mouth], 95) for p in near])
        behind = level - np.interp(across, walls, heights)
        return cls(axis, side, across, behind, walls, heights, length)

    def points(self, shares: tuple[float, float]) -> NDArray[np.float64]:
        """(2, 2) in (y, x): two points of the line, in shares of its length."""
        ends = self.walls[0] + np.array(shares) * self.width
        levels = self.heights[0] + np.array(shares) * (self.heights[1] - self.heights[0])
        return self.axis.origin + np.outer(levels, self.axis.along) + np.outer(ends, self.side)

    def mitral(self, mitral: Mitral) -> NDArray[np.bool_]:
        """Where closed leaflets are (h, w)."""
        return self.between(*mitral.annulus, -FRONT * self.length, BEHIND * self.length)

    def between(self, start: float, end: float, front: float, behind: float) -> NDArray[np.bool_]:
        """The pixels (h, w) in the middle of what lies between two shares of the line."""
        place = (self.across - self.walls[0]) / self.width
        middle = np.abs(place - (start + end) / 2) < HINGES * (end - start) / 2
        return middle & (self.behind > front) & (self.behind < behind)

    @property
    def width(self) -> float:
        """From wall to wall, never 0."""
        return max(float(np.ptp(self.walls)), 1e-6)


def closedness(still: NDArray[np.uint8], cavity: NDArray[np.bool_], view: View) -> float:
    """How much mitral leaflets close the base of the cavity of a still (h, w).

    Of the columns of pixels between their hinges, from a little behind the annulus to a third of
    the cavity in front of it, the brightest pixel; the median over the columns, with blood as 0 and
    the wall as 1. Closed leaflets fill every column, open ones leave most of them empty.
    """
    base = _Base.of(cavity, Axis.of(cavity, view), view)
    leaflets = base.mitral(MITRAL[view])
    blood, wall, grey = _greys(still, cavity, leaflets, base.across)
    return (grey - blood) / max(wall - blood, 1.0)


def _greys(
    still: NDArray[np.uint8],
    cavity: NDArray[np.bool_],
    leaflets: NDArray[np.bool_],
    across: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Of blood, of the wall, and of leaflets: the brightest of each column, in the middle."""
    outside = np.asarray(ndimage.distance_transform_edt(~cavity))
    ring = (outside > 1) & (outside < 5)
    blood, wall = np.percentile(still[cavity], 20), np.median(still[ring if ring.any() else cavity])
    columns = np.round(across[leaflets]).astype(int)
    found = ndimage.maximum(still[leaflets], columns, np.unique(columns)) if columns.size else 0.0
    return float(blood), float(wall), float(np.median(found))


def _filled(
    still: NDArray[np.uint8], inside: NDArray[np.bool_], blood: float
) -> NDArray[np.float32]:
    """The still (h, w) with nothing `inside` brighter than blood."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), EDGE)
    return still - weight * np.maximum(still - blood, 0).astype(np.float32)
