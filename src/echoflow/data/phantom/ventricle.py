"""The exact left ventricle: one closed form gives its volume, wall, mask and tracings.

The long axis runs from the apex (zeta = 0) to the annulus (zeta = 1). The squared radius is
`R^2 = a^2 g2(zeta) (1 + 2 kappa sin 2 phi) (1 + sigma w0 e(zeta) (1 + cos(phi - phi0)) / 2)^2`:
a profile, an area-preserving ellipse that the apical four-chamber plane (phi = 0 and pi) cuts at
its mean radius, and a region that contracts less. `sigma` runs from 0 (end-diastole) to 1
(end-systole). The volume integral is closed, so `a` follows from the volume and never disagrees
with the label.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PLAX_PHI = math.radians(60.0)  # the parasternal long axis cuts the inferolateral wall at 60 degrees


@dataclass(frozen=True)
class Region:
    """A wall region of impaired motion: level `z0`, its spread, direction, and strength in [0, 1].

    Strength 1 is akinesia, that is, the region keeps about its end-diastolic radius.
    """

    z0: float
    spread: float
    phi0: float
    strength: float

    def envelope(self, zeta: np.ndarray) -> np.ndarray:
        return np.exp(-(((zeta - self.z0) / self.spread) ** 2))


def profile(zeta: np.ndarray, equator: float, shape: float) -> np.ndarray:
    """g2, the squared radius relative to the equator; a polynomial, so it extends beyond [0, 1]."""
    u = np.clip((zeta - equator) / equator, -1.5, 1.5)
    u2 = u * u
    return (1 - u2) * (1 + shape * u2)


def profile_slope(zeta: np.ndarray, equator: float, shape: float) -> np.ndarray:
    """d g2 / d zeta."""
    u = np.clip((zeta - equator) / equator, -1.5, 1.5)
    return (2 * u / equator) * ((shape - 1) - 2 * shape * u * u)


def profile_integral(equator: float, shape: float) -> float:
    """G, the integral of g2 over zeta in [0, 1], in closed form."""
    ratio = (1 - equator) / equator
    moments = [equator / (n + 1) * (1 + ratio ** (n + 1)) for n in (2, 4)]
    return 1 - (1 - shape) * moments[0] - shape * moments[1]


@dataclass(frozen=True)
class Ventricle:
    """Geometry of one left ventricle. Lengths in mm, volumes in mL, `kappa` the ellipticity."""

    edv: float
    esv: float
    a0: float
    l0: float
    equator: float
    shape: float
    mapse: float
    bend: float
    kappa: float
    region: Region | None = None

    @property
    def w0(self) -> float:
        """Relative radius that the region keeps at end-systole."""
        if self.region is None:
            return 0.0
        g = profile_integral(self.equator, self.shape)
        a_es = math.sqrt(1000 * self.esv / (math.pi * (self.l0 - self.mapse) * g))
        return self.region.strength * max(0.0, self.a0 / a_es - 1)

    def integral(self, sigma: np.ndarray) -> np.ndarray:
        """G(sigma), the mean over zeta and phi of R^2 / a^2."""
        g = np.full_like(sigma, profile_integral(self.equator, self.shape))
        if self.region is None:
            return g
        nodes, weights = np.polynomial.legendre.leggauss(64)
        zeta = (nodes + 1) / 2
        g2 = profile(zeta, self.equator, self.shape)
        e = self.region.envelope(zeta)
        j1 = float((weights * g2 * e).sum() / 2)
        j2 = float((weights * g2 * e * e).sum() / 2)
        w = sigma * self.w0
        return g + w * j1 + 0.375 * w * w * j2

    def volume(self, sigma: np.ndarray) -> np.ndarray:
        """Volume in mL."""
        return self.edv - sigma * (self.edv - self.esv)

    def length(self, sigma: np.ndarray) -> np.ndarray:
        """Long axis in mm: the annulus descends by MAPSE."""
        return self.l0 - self.mapse * sigma

    def radius(self, sigma: np.ndarray) -> np.ndarray:
        """Equatorial radius a in mm, from the volume: V = pi a^2 L G(sigma)."""
        scale = math.pi * self.length(sigma) * self.integral(sigma)
        return np.sqrt(1000 * self.volume(sigma) / scale)

    def ellipse(self, phi: np.ndarray | float) -> np.ndarray:
        """Relative squared radius of the section at angle phi."""
        return 1 + 2 * self.kappa * np.sin(2 * np.asarray(phi))

    def regional(self, zeta: np.ndarray, phi: np.ndarray | float, sigma: np.ndarray) -> np.ndarray:
        """Relative radius due to the region, broadcast over its arguments."""
        if self.region is None:
            return np.ones((), dtype=np.float32)
        weight = (1 + np.cos(np.asarray(phi) - self.region.phi0)) / 2
        return 1 + sigma * self.w0 * self.region.envelope(zeta) * weight

    def wall_radius(
        self, zeta: np.ndarray, phi: np.ndarray | float, radius: np.ndarray, sigma: np.ndarray
    ) -> np.ndarray:
        """Endocardial radius R in mm at level zeta and angle phi, broadcast over its arguments."""
        g2 = np.maximum(profile(zeta, self.equator, self.shape), 0) * self.ellipse(phi)
        return radius * np.sqrt(g2) * self.regional(zeta, phi, sigma)

    def centre(self, zeta: np.ndarray) -> np.ndarray:
        """Sideways shift of the centre line in mm; disks stay perpendicular to the axis."""
        return 4 * self.bend * zeta * (1 - zeta)
