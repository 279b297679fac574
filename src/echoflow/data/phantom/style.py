"""How a scanner was set for one patient and view: gains, clutter, noise, display window.

The constants were calibrated on aggregate statistics of public four-chamber clips; see
`benchmarks/phantom_statistics.py` for the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d, zoom

from echoflow.types import InputError

DEPTHS, LINES = 168, 128  # the polar grid: samples along a line, lines across the fan
SHIFTS = {  # quality: dB added to noise, near clutter, haze, gain
    1: (-8.0, -8.0, -8.0, 0.0),
    2: (0.0, 0.0, 0.0, 0.0),
    3: (6.0, 4.0, 8.0, -2.0),
    4: (11.0, 7.0, 13.0, -4.0),
}


@dataclass(frozen=True)
class Style:
    """Scanner settings. `gain_map` and `clutter_level` (168, 128) and the rest are in dB."""

    gain: float
    window: float
    noise: float
    near: float
    haze: float
    gain_map: np.ndarray
    reverberation: np.ndarray
    floor: float = -42.9
    gamma: float = 1.08
    tail: float = 0.25

    def at_quality(self, quality: int) -> Style:
        """The same settings in better or worse conditions, 1 (clean) to 4 (poor)."""
        if quality not in SHIFTS:
            raise InputError(f"quality must be 1 (clean), 2, 3 or 4 (poor); got {quality!r}.")
        noise, near, haze, gain = SHIFTS[quality]
        return replace(
            self,
            noise=self.noise + noise,
            near=self.near + near,
            haze=self.haze + haze,
            gain=self.gain + gain,
        )


def draw_style(rng: np.random.Generator, depth: float, half_angle: float) -> Style:
    """Settings for a fan of `depth` mm and half angle in rad."""
    haze = min(0.84 * rng.gamma(2.0, 1.0), 2.2)
    return Style(
        gain=rng.normal(-2.9, 1.27),
        window=rng.uniform(30.3, 35.7),
        noise=rng.normal(-42.9, 2.9),
        near=-15.7 + 2 * haze,
        haze=-52.4 + 5 * haze,
        gain_map=_gain_map(rng, depth, half_angle),
        reverberation=_arcs(rng, depth),
    )


def _wander(rng: np.random.Generator, count: int, width: float, sd: float) -> np.ndarray:
    """Smooth random curve of the given standard deviation."""
    curve = gaussian_filter1d(rng.standard_normal(count + int(6 * width)), width)
    return sd * 2**0.5 * np.pi**0.25 * width**0.5 * curve[int(3 * width) :][:count]


def _patches(rng: np.random.Generator) -> np.ndarray:
    """Smooth unit field (168, 128) of regional attenuation, about a third of the fan wide."""
    coarse = zoom(rng.standard_normal((6, 6)), (8, 8), order=3, mode="nearest")
    smooth = np.asarray(zoom(coarse, (DEPTHS / 48, LINES / 48), order=1, mode="nearest"))
    return smooth / (smooth.std() + 1e-6)


def _gain_map(rng: np.random.Generator, depth: float, half_angle: float) -> np.ndarray:
    """Static gain in dB (168, 128): TGC, lateral gain, edge drop-out, a shadow, the near field."""
    r = (np.arange(DEPTHS)[:, None] + 0.5) / DEPTHS * depth
    theta = np.rad2deg(((np.arange(LINES) + 0.5) / LINES * 2 - 1) * half_angle)[None, :]
    gain = 2 - 3.5 * r / depth - 16 * np.exp(-((r / 5) ** 2))
    gain = gain + _wander(rng, DEPTHS, 22, 2.1)[:, None] + _wander(rng, LINES, 9, 0.95)[None]
    gain = gain + 3 * _patches(rng)
    for side in (-1, 1):
        edge = np.rad2deg(half_angle) - side * theta
        gain = gain - rng.uniform(0, 14) * np.exp(-((edge / rng.uniform(4, 10)) ** 2))
    shadow, at, width = rng.uniform(6, 20), rng.uniform(-40, 40), rng.uniform(2.5, 8)
    if rng.uniform() < 0.45:
        onset = 1 / (1 + np.exp(-(r - rng.uniform(5, 30)) / 4))
        gain = gain - shadow * np.exp(-(((theta - at) / width) ** 2)) * onset
    return gain.astype(np.float32)


def _arcs(rng: np.random.Generator, depth: float) -> np.ndarray:
    """Amplitude (168, 1) of near-field clutter with four reverberation arcs, 1 at the probe."""
    r = (np.arange(DEPTHS)[:, None] + 0.5) / DEPTHS * depth
    level = np.exp(-((r / 13) ** 1.4))
    for at in np.sort(rng.uniform(6, 26, 4)):
        level = level + rng.uniform(0.1, 0.5) * np.exp(-(((r - at) / 0.9) ** 2)) * np.exp(-at / 18)
    return level.astype(np.float32)
