"""Painting in decibels on the material grid: the end-diastolic heart as a map of echo strength.

Shapes are signed distances in mm, negative inside. A grid lives in the local frame (u, v) of the
heart; a `Pose` places that frame under the probe, whose own frame is (lateral, depth).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.special import expit

TEXEL = 0.8  # mm


@dataclass(frozen=True)
class Pose:
    """Place of the local frame: origin (2,) in mm; axes (2, 2), its rows u and v, probe frame."""

    origin: np.ndarray
    axes: np.ndarray

    def local(self, points: np.ndarray) -> np.ndarray:
        """Probe coordinates (..., 2) to local ones."""
        return (points - self.origin) @ self.axes.T

    def probe(self, points: np.ndarray) -> np.ndarray:
        """Local coordinates (..., 2) to probe ones."""
        return points @ self.axes + self.origin

    def turned(self, vectors: np.ndarray) -> np.ndarray:
        """Directions (..., 2) of the probe frame, seen in the local frame."""
        return vectors @ self.axes.T


@dataclass(frozen=True)
class Grid:
    """Regular material grid of `shape` (v, u) from the corner (u0, v0)."""

    u0: float
    v0: float
    shape: tuple[int, int]

    @classmethod
    def around(cls, points: np.ndarray, margin: float = 8.0) -> Grid:
        """The grid that holds all local points (n, 2)."""
        low, high = points.min(0) - margin, points.max(0) + margin
        count = np.ceil((high - low) / TEXEL).astype(int) + 1
        return cls(float(low[0]), float(low[1]), (int(count[1]), int(count[0])))

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """u as (1, w) and v as (h, 1), float32, to broadcast."""
        u = self.u0 + TEXEL * np.arange(self.shape[1], dtype=np.float32)
        v = self.v0 + TEXEL * np.arange(self.shape[0], dtype=np.float32)
        return u[None, :], v[:, None]


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], width: float) -> np.ndarray:
    """Unit Gaussian field with correlation length `width` mm, made on a coarse grid and zoomed."""
    factor = max(1.0, width / TEXEL / 2.5)
    coarse = tuple(int(np.ceil(n / factor)) + 2 for n in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    noise = gaussian_filter(noise, width / TEXEL / factor, mode="wrap")
    noise /= noise.std() + 1e-6
    if factor > 1:
        scale = [(n + 1) / m for n, m in zip(shape, coarse, strict=True)]
        noise = np.asarray(zoom(noise, scale, order=1, mode="nearest", grid_mode=False))
    return noise[: shape[0], : shape[1]].astype(np.float32)


def disk(u: np.ndarray, v: np.ndarray, centre: tuple[float, float], radii: tuple) -> np.ndarray:
    """Signed distance to an axis-parallel ellipse, to first order."""
    du, dv = (u - centre[0]) / radii[0], (v - centre[1]) / radii[1]
    k = np.sqrt(du * du + dv * dv) + 1e-4
    slope = np.sqrt((du / radii[0]) ** 2 + (dv / radii[1]) ** 2) / k + 1e-4
    return (k - 1) / slope


def union(*shapes: np.ndarray) -> np.ndarray:
    out = shapes[0]
    for shape in shapes[1:]:
        out = np.minimum(out, shape)
    return out


def inter(*shapes: np.ndarray) -> np.ndarray:
    out = shapes[0]
    for shape in shapes[1:]:
        out = np.maximum(out, shape)
    return out


def inside(f: np.ndarray, width: float = 0.9) -> np.ndarray:
    """Soft membership of the shape f < 0."""
    return expit(-f / np.float32(width))


def band(f: np.ndarray, at: float, width: float) -> np.ndarray:
    """Gaussian band around the level `at` mm outside the shape."""
    return np.exp(-(((f - at) / width) ** 2))


def spot(u: np.ndarray, v: np.ndarray, at: tuple[float, float], radius: float) -> np.ndarray:
    return np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) / radius**2)


class Canvas:
    """Echo strength in dB under successive layers of paint; `u`, `v` broadcast to its shape."""

    def __init__(self, grid: Grid, rng: np.random.Generator, pose: Pose) -> None:
        self.grid, self.pose, self.rng = grid, pose, rng
        self.u, self.v = grid.coordinates()
        self.level = np.zeros(grid.shape, dtype=np.float32)
        self.wide, self.medium, self.fine = (
            smooth_field(rng, grid.shape, width) for width in (24.0, 9.0, 3.0)
        )

    def fill(self, f: np.ndarray, level: np.ndarray | float, width: float = 0.9) -> None:
        """Paint the shape with a level in dB."""
        self.level += inside(f, width) * (level - self.level)

    def add(self, gain: np.ndarray) -> None:
        """Brighten by `gain` dB."""
        self.level = self.level + gain.astype(np.float32)

    def background(self, outline: np.ndarray, contrast: float, falloff: float) -> None:
        """Tissue around the heart; it darkens with distance from the outline."""
        texture = 5.5 * self.wide + 3.2 * self.medium + 1.2 * self.fine
        self.level = -31 + contrast + texture - falloff * np.maximum(outline, 0)

    def light(self, edges: np.ndarray, gain: float) -> None:
        """Specular edges: bright where the beam meets them head-on, faint along the beam."""
        dv, du = np.gradient(edges, TEXEL)
        norm = np.sqrt(du * du + dv * dv) + 1e-3
        points = np.stack(np.broadcast_arrays(self.u, self.v), -1)
        beam = points - self.pose.local(np.zeros(2, dtype=np.float32))
        beam /= np.linalg.norm(beam, axis=-1, keepdims=True) + 1e-3
        facing = np.abs(du * beam[..., 0] + dv * beam[..., 1]) / norm
        strength = np.exp(-(((edges - 1.0) / 1.8) ** 2))
        self.add(gain * (facing - 0.45) * strength)

    def amplitude(self, tail: float) -> np.ndarray:
        """Linear amplitude with a log-normal factor: a heavier tail than Rayleigh speckle."""
        return (10 ** (self.level / 20) * np.exp(tail * self.fine_noise())).astype(np.float32)

    def fine_noise(self) -> np.ndarray:
        return smooth_field(self.rng, self.grid.shape, 0.8)
