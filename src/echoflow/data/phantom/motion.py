"""Closed-form backward maps: where was the tissue, now at a pixel, at end-diastole?

The cavity scales, the wall is incompressible in three dimensions (so it thickens), and
displacements fade outside the heart. Labels never fade.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoflow.data.phantom.ventricle import Ventricle

F32 = np.float32


@dataclass(frozen=True)
class State:
    """Per-frame state, all (t,) but `drift` (t, 2) mm in the probe frame; `twist` in radians."""

    sigma: np.ndarray
    length: np.ndarray
    radius: np.ndarray
    mitral: np.ndarray
    aortic: np.ndarray
    twist: np.ndarray
    phase: np.ndarray
    drift: np.ndarray

    def frames(self, part: slice) -> State:
        """The state of some frames."""
        return State(**{name: value[part] for name, value in self.__dict__.items()})


def _fade(distance: np.ndarray, reach: float) -> np.ndarray:
    """Displacement left over at a distance (mm) beyond the heart."""
    return 1 / (1 + (distance / F32(reach)) ** 2) ** 2


def radial(
    r: np.ndarray, now: np.ndarray, then: np.ndarray, wall: np.ndarray, lam: np.ndarray
) -> np.ndarray:
    """Material radius of points at radius `r`: endocardium at `now`, at end-diastole at `then`."""
    outer = np.sqrt(now**2 + ((then + wall) ** 2 - then**2) / lam)
    held = np.minimum(r, outer)
    in_wall = np.sqrt(np.maximum(then**2 + lam * (held**2 - now**2), 0))
    in_cavity = r * (then / np.maximum(now, F32(0.3)))
    moved = np.where(r < now, in_cavity, in_wall)
    return r + (moved - held) * _fade(r - held, 24.0)


@dataclass(frozen=True)
class LongAxisMotion:
    """Backward map of A4C and PLAX in the frame (z along the axis, y across)."""

    heart: Ventricle
    walls: tuple[float, float]  # end-diastolic thickness at y < 0 and y > 0
    phis: tuple[float, float]  # angle of the plane at y < 0 and y > 0
    roof: float  # z that stays put behind the atria
    scale: float

    def __call__(self, z: np.ndarray, y: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Material (z, y), each (t, p), of the current points (t, p)."""
        sigma = state.sigma[:, None].astype(F32)
        length = state.length[:, None].astype(F32)
        radius = state.radius[:, None].astype(F32)
        l0 = F32(self.heart.l0)
        stretch = l0 + (z - length) * ((self.roof - l0) / (self.roof - length))
        zr = np.where(z < length, z * (l0 / length), stretch)
        zr = np.where((z < 0) | (z > self.roof), z, zr)
        far = np.maximum(np.abs(y) - F32(95 * self.scale), 0)
        zr = z + (zr - z) * _fade(far, 40.0)
        return zr, self._across(z, y, sigma, length, radius, length / l0)

    def _across(self, z, y, sigma, length, radius, lam) -> np.ndarray:
        zeta = np.clip(z / length, 0, 1)
        centre = self.heart.centre(zeta)
        r = np.abs(y - centre)
        right = y > centre
        now, then = self.endocardium(zeta, right, radius, sigma)
        wall = np.where(right, F32(self.walls[1]), F32(self.walls[0]))
        material = radial(r, now, then, wall, lam)
        over = np.maximum(np.maximum(z - length, -z), 0)
        shift = (material - r) * _fade(over, 13.0)
        return y + np.where(right, shift, -shift)

    def endocardium(self, zeta, right, radius, sigma) -> tuple[np.ndarray, np.ndarray]:
        base = np.sqrt(np.maximum(profile32(self.heart, zeta), 0))
        oval = [F32(np.sqrt(self.heart.ellipse(phi))) for phi in self.phis]
        base = base * np.where(right, oval[1], oval[0])
        now = base * radius
        if self.heart.region is not None:
            gains = [self.heart.regional(zeta, phi, sigma) for phi in self.phis]
            now = now * np.where(right, gains[1], gains[0]).astype(F32)
        return now, base * F32(self.heart.a0)


def profile32(heart: Ventricle, zeta: np.ndarray) -> np.ndarray:
    """g2 on [0, 1] in single precision."""
    u = (zeta - F32(heart.equator)) * F32(1 / heart.equator)
    u2 = u * u
    return (1 - u2) * (1 + F32(heart.shape) * u2)


@dataclass(frozen=True)
class ShortAxisMotion:
    """Backward map of PSAX in the frame (right, down) around the cavity centre."""

    heart: Ventricle
    level: float  # zeta of the slice
    walls: tuple[float, float]  # septal and lateral thickness

    def wall(self, theta: np.ndarray) -> np.ndarray:
        """End-diastolic thickness around the ring; the septum lies at theta = pi."""
        mean, half = (self.walls[0] + self.walls[1]) / 2, (self.walls[1] - self.walls[0]) / 2
        return (mean + half * np.cos(theta)).astype(F32)

    def endocardium(self, theta, radius, sigma) -> np.ndarray:
        """Endocardial radius at the material angle theta."""
        zeta = np.full(1, self.level)
        return self.heart.wall_radius(zeta, theta, radius, sigma).astype(F32)

    def __call__(self, x: np.ndarray, y: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Material (x, y), each (t, p), of the current points (t, p)."""
        sigma = state.sigma[:, None].astype(F32)
        radius = state.radius[:, None].astype(F32)
        lam = (state.length[:, None] / self.heart.l0).astype(F32)
        r = np.sqrt(x * x + y * y) + F32(1e-3)
        twist = state.twist[:, None].astype(F32) * _fade(np.maximum(r - 34, 0), 18.0)
        cos, sin = np.cos(twist), np.sin(twist)
        ux, uy = (x * cos + y * sin) / r, (y * cos - x * sin) / r
        now, then, wall = self._ring(ux, uy, radius, sigma)
        material = radial(r, now, then, wall, lam)
        return ux * material, uy * material

    def _ring(self, ux, uy, radius, sigma) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        level = float(profile32(self.heart, np.asarray(self.level, dtype=F32)))
        oval = np.sqrt(F32(level) * (1 + F32(4 * self.heart.kappa) * ux * uy))
        mean, half = (self.walls[0] + self.walls[1]) / 2, (self.walls[1] - self.walls[0]) / 2
        now = oval * radius
        if self.heart.region is not None:
            phi0 = self.heart.region.phi0
            weight = (1 + ux * F32(np.cos(phi0)) + uy * F32(np.sin(phi0))) / 2
            peak = F32(self.heart.w0 * self.heart.region.envelope(np.asarray(self.level)))
            now = now * (1 + sigma * peak * weight)
        return now, oval * F32(self.heart.a0), F32(mean) + F32(half) * ux
