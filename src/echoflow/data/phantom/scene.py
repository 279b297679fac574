"""What a view builder hands to the renderer, and the shapes that the long-axis views share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from echoflow.data.phantom.canvas import Grid, Pose
from echoflow.data.phantom.motion import LongAxisMotion, ShortAxisMotion, State
from echoflow.data.phantom.ventricle import Ventricle, profile, profile_slope
from echoflow.types import View

HALF_ANGLE = np.deg2rad(45.0)
Leaflets = Callable[[State], np.ndarray]


@dataclass(frozen=True)
class Sector:
    """The fan in the picture: apex (x, y) and radius in pixels, half angle in rad, depth in mm."""

    apex: tuple[float, float]
    radius: float
    half_angle: float
    depth: float

    @property
    def mm_per_px(self) -> float:
        return self.depth / self.radius

    @classmethod
    def draw(cls, rng: np.random.Generator, depth: float) -> Sector:
        """A fan as public clips show it: its bottom near the lower edge of 112 pixels."""
        x, y = 61.5 + rng.uniform(-0.6, 0.6), 7 + rng.uniform(-0.8, 0.8)
        radius = 112 + rng.uniform(-4, 4) - y
        return cls((x, y), radius, HALF_ANGLE * rng.uniform(0.97, 1.02), depth)

    def rim(self) -> np.ndarray:
        """Points (n, 2) on the border of the fan in the probe frame, mm."""
        angle = np.linspace(-self.half_angle, self.half_angle, 33)
        arc = self.depth * np.stack([np.sin(angle), np.cos(angle)], -1)
        return np.concatenate([np.zeros((1, 2)), arc])


@dataclass(frozen=True)
class Scene:
    """One view of one patient at end-diastole, and how it moves.

    `leaflets` returns polylines (t, n, 3, 2) in mm in the local frame, drawn `leaf_width` mm wide.
    """

    view: View
    heart: Ventricle
    sector: Sector
    pose: Pose
    grid: Grid
    amplitude: np.ndarray
    motion: LongAxisMotion | ShortAxisMotion
    leaflets: Leaflets | None
    leaf_width: float


def ventricle_distance(
    heart: Ventricle, z: np.ndarray, y: np.ndarray, oval: np.ndarray | float
) -> np.ndarray:
    """Signed distance to the end-diastolic endocardium, open at the base; exact across the axis.

    `oval` is the relative squared radius of the plane.
    """
    zeta = z / heart.l0
    r = np.abs(y - heart.centre(np.clip(zeta, 0, 1)))
    square = heart.a0**2 * oval * profile(zeta, heart.equator, heart.shape)
    slope = heart.a0**2 * oval * profile_slope(zeta, heart.equator, heart.shape) / heart.l0
    excess = r * r - square
    g = np.sqrt(r * r + slope * slope / 4) + 1e-2
    root = np.sqrt(np.maximum(g * g - excess * (r / g) ** 2, 0))
    return (excess / (g + root)).astype(np.float32)


def two_segments(
    hinge: np.ndarray,
    length: np.ndarray | float,
    angle: np.ndarray,
    inward: float,
    lag: float = 0.85,
) -> np.ndarray:
    """Leaflet polylines (t, 3, 2) from hinges (t, 2): `angle` (t,) from the annulus to the apex.

    `inward` is +1 for a leaflet that points to larger y when flat.
    """
    joints = [hinge]
    for turn in (angle * lag, angle * (2 - lag)):
        step = np.stack([-np.sin(turn), inward * np.cos(turn)], -1)
        joints.append(joints[-1] + length / 2 * step)
    return np.stack(joints, 1)


def to_polyline(u: np.ndarray, v: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Squared distance (t, p) of points (t, p) to the polyline (t, joints, 2) of their frame."""
    nearest = np.full(u.shape, np.inf, dtype=np.float32)
    line = line.astype(np.float32)
    for part in range(line.shape[1] - 1):
        a = line[:, part, :, None]
        d = line[:, part + 1, :, None] - a
        du, dv = u - a[:, 0], v - a[:, 1]
        along = (du * d[:, 0] + dv * d[:, 1]) / ((d * d).sum(1) + np.float32(1e-6))
        along = np.clip(along, 0, 1)
        du -= along * d[:, 0]
        dv -= along * d[:, 1]
        nearest = np.minimum(nearest, du * du + dv * dv)
    return nearest
