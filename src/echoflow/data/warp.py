"""A still made to beat: its own pixels, moved so that the left ventricle contracts to an EF.

`beat` moves the labels of a segmentation; this moves the picture under it, by the same law: lengths
of the cavity take the power 1/5 of its volume and widths 2/5, the wall keeps its volume, and what
lies further out moves less and less. Speckle goes with the tissue. Of what moves by itself only the
valves are seen to (`data/leaflets.py`). Not a video to look at, but one to start from
(`Pipeline.animate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echoflow.data.beat import ACROSS, ALONG, LEAST, Axis
from echoflow.data.leaflets import MITRAL, Valves
from echoflow.types import InputError, View, check_ef

WALL = 0.45  # thickness of the wall at end-diastole in half-widths of the cavity
REACH = 1.2  # how far outside the wall tissue is still drawn along, in half-widths
SMOOTH = 1.5  # pixels over which the edge is rounded
STEPS = 10  # of the fixed point that finds where a pixel came from


def warped(
    picture: NDArray[np.uint8],
    cavity: NDArray[np.bool_],
    ef: float,
    sigma: Sequence[float] | NDArray[np.float64],
    view: View | None = None,
    opening: Sequence[tuple[float, float]] | NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """A picture (h, w) at end-diastole with its `cavity` (h, w) -> (t, h, w) of a heart with `ef`.

    `sigma` (t,) is the contraction at each frame, see `beat.contraction`; `ef` in percent. Without
    a `view` a cavity as wide as it is long is taken for a short axis. `opening` (t, 2) in [0, 1] is
    how far the mitral and the aortic valve are open, see `beat.opening`: in a view known as A4C or
    PLAX they are seen to open. `InputError`: no cavity, or one of another size than the picture.
    """
    check_ef(ef)
    if picture.shape != cavity.shape or not cavity.any():
        raise InputError(
            f"a picture (h, w) needs the mask of its cavity, as large and not empty; got "
            f"{picture.shape} and {cavity.shape} with {int(cavity.sum())} pixels set."
        )
    heart = _Heart.of(cavity, is_round(cavity) if view is None else view is View.PSAX)
    volumes = [max(1 - ef / 100 * float(s), LEAST) for s in sigma]
    if view is None or opening is None or view not in MITRAL:
        return np.stack([heart.moved(picture, volume) for volume in volumes])
    valves = Valves.of(picture, cavity, heart.axis, view)
    seen = [valves.opened(float(mitral), float(aortic)) for mitral, aortic in opening]
    return np.stack([heart.moved(s, v) for s, v in zip(seen, volumes, strict=True)])


def is_round(cavity: NDArray[np.bool_]) -> bool:
    """Whether a cavity is about as wide as it is long."""
    rows, columns = np.nonzero(cavity)
    spread = np.linalg.eigvalsh(np.cov(np.stack([rows, columns])))
    return bool(spread[0] > 0.6 * spread[1])


def distance(cavity: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels to the edge of the cavity, negative inside."""
    outside: NDArray[np.float64] = np.asarray(ndimage.distance_transform_edt(~cavity))
    inside: NDArray[np.float64] = np.asarray(ndimage.distance_transform_edt(cavity))
    return np.asarray(ndimage.gaussian_filter(outside - inside, SMOOTH))


@dataclass(frozen=True)
class _Heart:
    """A ventricle at end-diastole: how far from its edge each pixel is, and along what it moves."""

    away: NDArray[np.float64]
    half: float  # the radius of the largest disc inside
    axis: Axis
    short: bool

    @classmethod
    def of(cls, cavity: NDArray[np.bool_], short: bool) -> _Heart:
        away = distance(cavity)
        return cls(
            away, -float(away.min()), Axis.of(cavity, View.PSAX if short else View.A4C), short
        )

    def moved(self, picture: NDArray[np.uint8], volume: float) -> NDArray[np.uint8]:
        """The picture of a ventricle with a share `volume` of its volume at end-diastole."""
        across, along = volume**ACROSS, volume**ALONG
        wall = (1 + WALL) ** 2 - 1  # in cavities
        outer = np.sqrt((volume + wall) / ((1 + wall) * along))
        knots = self.half * np.array([0.0, WALL, WALL + REACH])
        sides = (across, outer, 1.0)
        lengths = sides if self.short else (along, along, 1.0)
        axes = np.stack([self.axis.along, [-self.axis.along[1], self.axis.along[0]]])
        near = self.away <= knots[-1]  # what is further out stays where it is
        target = np.argwhere(near).astype(np.float64)
        u, v = axes @ (target - self.axis.origin).T
        source = target
        for _ in range(STEPS):
            far = ndimage.map_coordinates(self.away, source.T, order=1, mode="nearest")
            back = np.stack([u / np.interp(far, knots, lengths), v / np.interp(far, knots, sides)])
            source = (source + self.axis.origin + back.T @ axes) / 2
        moved = picture.copy()
        seen = ndimage.map_coordinates(picture.astype(np.float32), source.T, order=1)
        moved[near] = seen.round().clip(0, 255)
        return moved
