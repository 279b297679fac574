"""Volume of the left ventricle in mL, by the formulas of the field.

The formulas take lengths in cm and areas in cm^2, as they are published (1 cm^3 = 1 mL). What is
measured in pixels comes with its scale in mm per pixel, one number or one each for x and y;
without it, at 1 mm per pixel, volumes are in 1e-3 px^3 and only their ratios mean anything.

    simpson      pi/4 mean(d^2) L     20 disks in one plane                Lang 2015 (ASE/EACVI)
    biplane      pi/4 mean(d1 d2) L   the same disks in two planes         Lang 2015
    area_length  8 A^2 / (3 pi L)     area and length in one plane         Lang 2015
    bullet       5/6 A L              short-axis area, long-axis length    Lopez 2010 (children)
    teichholz    7 / (2.4 + D) D^3    one diameter, in PLAX                Teichholz 1976
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from echoflow.data.masks import DISKS, disks
from echoflow.types import InputError, choose

Scale = float | tuple[float, float]
"""mm per pixel: of both axes, or (x, y)."""

Method = Literal["simpson", "area-length"]


def simpson(diameters: ArrayLike, length: float) -> float:
    """Method of disks in one plane: `diameters` (n,) cm across a long axis of `length` cm -> mL."""
    return biplane(diameters, diameters, length)


def biplane(first: ArrayLike, second: ArrayLike, length: float) -> float:
    """Method of disks in two planes, (n,) cm each -> mL.

    The long axes of the planes differ a little; the convention is to give the longer `length`.
    """
    a, b = _positive("diameters", first), _positive("diameters", second)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise InputError(f"disks come in pairs, one per level; got {a.shape} and {b.shape}.")
    return float(math.pi / 4 * (a * b).mean() * _positive("length", length))


def area_length(area: float, length: float) -> float:
    """Single-plane area-length method: `area` cm^2 along a long axis of `length` cm -> mL."""
    area, length = float(_positive("area", area)), float(_positive("length", length))
    return 8 * area**2 / (3 * math.pi * length) if length else 0.0


def bullet(area: float, length: float) -> float:
    """5/6 area-length method: short-axis `area` cm^2 at mid level, long axis `length` cm -> mL.

    The EF of EchoNet-Pediatric is made of it; it needs a short-axis and an apical view.
    """
    return float(5 / 6 * _positive("area", area) * _positive("length", length))


def teichholz(diameter: float) -> float:
    """From the internal `diameter` in cm at the level of the mitral leaflet tips -> mL."""
    d = float(_positive("diameter", diameter))
    return 7 / (2.4 + d) * d**3


def ejection_fraction(edv: float, esv: float) -> float:
    """EF in percent from end-diastolic and end-systolic volume in the same unit."""
    if not (math.isfinite(edv) and 0 <= esv <= edv and edv > 0):
        raise InputError(
            f"an ejection fraction needs 0 <= ESV <= EDV and EDV > 0; got ESV {esv:g}, EDV {edv:g}."
        )
    return 100 * (edv - esv) / edv


@dataclass(frozen=True)
class Plane:
    """The ventricle as one plane shows it: long axis cm, disks (20,) cm across it, area cm^2."""

    length: float
    diameters: np.ndarray
    area: float

    @classmethod
    def of_tracing(cls, tracing: np.ndarray, mm_per_px: Scale = 1.0) -> Plane:
        """From the lines (21, 4) px of a tracing. Its area is that of the disks."""
        x, y = _scales(mm_per_px)
        lines = np.asarray(tracing, float)[: 1 + DISKS]
        lengths = np.hypot((lines[:, 2] - lines[:, 0]) * x, (lines[:, 3] - lines[:, 1]) * y) / 10
        if len(lengths) < 2:
            raise InputError(f"a tracing needs a long axis and a chord; got {len(lengths)} lines.")
        return cls(float(lengths[0]), lengths[1:], float(lengths[0] * lengths[1:].mean()))

    @classmethod
    def of_mask(cls, mask: np.ndarray, mm_per_px: Scale = 1.0) -> Plane:
        """From a mask (h, w), cut along its principal axis; all zero for an empty one."""
        x, y = _scales(mm_per_px)
        cut = disks(mask, (x, y))
        if cut is None:
            return cls(0.0, np.zeros(DISKS), 0.0)
        area = float(np.asarray(mask, bool).sum() * x * y / 100)
        return cls(cut.length / 10, cut.widths / 10, area)

    def volume(self, method: Method = "simpson") -> float:
        """mL by one of `METHODS`."""
        choose(method, METHODS, "method")
        return METHODS[method](self)


def biplane_volume(first: Plane, second: Plane) -> float:
    """mL from two apical planes (A4C and A2C), by the longer of their axes."""
    return biplane(first.diameters, second.diameters, max(first.length, second.length))


def bullet_volume(short_axis: Plane, long_axis: Plane) -> float:
    """mL from the area in PSAX and the length in A4C."""
    return bullet(short_axis.area, long_axis.length)


METHODS: Mapping[Method, Callable[[Plane], float]] = {
    "simpson": lambda plane: simpson(plane.diameters, plane.length),
    "area-length": lambda plane: area_length(plane.area, plane.length),
}


def tracing_volume(
    tracing: np.ndarray, mm_per_px: Scale = 1.0, method: Method = "simpson"
) -> float:
    """Volume of a tracing (21, 4): mL if `mm_per_px` is given, else 1e-3 px^3."""
    return Plane.of_tracing(tracing, mm_per_px).volume(method)


def mask_volume(mask: np.ndarray, mm_per_px: Scale = 1.0, method: Method = "simpson") -> float:
    """Volume of a mask (h, w): mL if `mm_per_px` is given, else 1e-3 px^3; 0 for an empty one."""
    return Plane.of_mask(mask, mm_per_px).volume(method)


def mask_length(mask: np.ndarray, mm_per_px: Scale = 1.0) -> float:
    """Extent along the principal axis: mm if `mm_per_px` is given, else px; 0 if empty."""
    return 10 * Plane.of_mask(mask, mm_per_px).length


def mask_ef(masks: np.ndarray, mm_per_px: Scale = 1.0, method: Method = "simpson") -> float:
    """EF in percent from masks (t, h, w): largest and smallest volume."""
    volumes = [mask_volume(mask, mm_per_px, method) for mask in masks]
    if not max(volumes, default=0.0) > 0:
        raise InputError("every mask is empty; an ejection fraction needs a ventricle.")
    return ejection_fraction(max(volumes), min(volumes))


def _scales(mm_per_px: Scale) -> tuple[float, float]:
    x, y = mm_per_px if isinstance(mm_per_px, tuple) else (mm_per_px, mm_per_px)
    if not (math.isfinite(x * y) and x > 0 and y > 0):
        raise InputError(f"mm per pixel must be positive; got {mm_per_px}.")
    return float(x), float(y)


def _positive(name: str, value: ArrayLike) -> np.ndarray:
    """float64 array of finite numbers >= 0."""
    values = np.asarray(value, float)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise InputError(f"{name} must be finite and not negative; got {values.ravel()[:3]}.")
    return values
