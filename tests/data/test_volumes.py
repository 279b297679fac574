"""Formulas of ventricular volume: closed forms, units, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echoflow.data.masks import mask_tracing
from echoflow.data.volumes import (
    METHODS,
    Plane,
    area_length,
    biplane,
    biplane_volume,
    bullet,
    bullet_volume,
    ejection_fraction,
    mask_ef,
    mask_length,
    mask_volume,
    simpson,
    teichholz,
    tracing_volume,
)
from echoflow.types import InputError


def ellipse(long: float, short: float, height: int = 112, width: int = 112) -> np.ndarray:
    """A filled upright ellipse with these half axes in px."""
    y, x = np.mgrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    return (y / long) ** 2 + (x / short) ** 2 <= 1


def ellipsoid(long: float, short: float) -> float:
    return 4 / 3 * math.pi * long * short**2


def test_closed_forms_in_cm_and_ml():
    levels = (np.arange(2000) + 0.5) / 1000 - 1  # from apex to base of a 9 cm by 5 cm ellipsoid
    diameters = 5 * np.sqrt(1 - levels**2)
    true = ellipsoid(4.5, 2.5)
    assert simpson(diameters, 9) == pytest.approx(true, rel=1e-6)
    assert biplane(diameters, 0.8 * diameters, 9) == pytest.approx(0.8 * true, rel=1e-6)
    assert area_length(math.pi * 4.5 * 2.5, 9) == pytest.approx(true)
    assert bullet(math.pi * 2.5**2, 9) == pytest.approx(true * 5 / 4)  # a bullet is fuller
    assert simpson([4.0], 10) == pytest.approx(math.pi * 4 * 10)  # a cylinder


def test_teichholz_at_tabulated_diameters():
    """7 / (2.4 + D) * D^3; cubes only near D = 4.6 cm, where the factor is 1."""
    assert teichholz(4.6) == pytest.approx(4.6**3)
    assert teichholz(5.0) == pytest.approx(118.2432, abs=1e-4)
    assert teichholz(3.0) == pytest.approx(35.0)
    assert teichholz(0) == 0
    assert ejection_fraction(teichholz(5), teichholz(3)) == pytest.approx(70.4, abs=0.01)


def test_a_mask_has_the_volume_of_its_ellipsoid_by_every_method():
    mask = ellipse(38, 20)
    for method in METHODS:
        # 0.5 mm per px: 38 px are 1.9 cm
        assert mask_volume(mask, 0.5, method) == pytest.approx(ellipsoid(1.9, 1.0), rel=0.03)
        assert tracing_volume(mask_tracing(mask), 0.5, method) == pytest.approx(
            mask_volume(mask, 0.5, method), rel=0.02
        )
    assert mask_length(mask, 0.5) == pytest.approx(38, rel=0.03)


def test_pixels_need_not_be_square():
    """Half as wide pixels, twice as many of them: the same ventricle."""
    stretched = ellipse(38, 40, 112, 224)
    same = ellipse(38, 20)
    assert mask_volume(stretched, (0.25, 0.5)) == pytest.approx(mask_volume(same, 0.5), rel=0.01)
    assert mask_length(stretched, (0.25, 0.5)) == pytest.approx(mask_length(same, 0.5), rel=0.01)
    lines = mask_tracing(same)
    wide = lines * [2, 1, 2, 1]
    assert tracing_volume(wide, (0.25, 0.5)) == pytest.approx(tracing_volume(lines, 0.5))
    assert Plane.of_mask(stretched, (0.25, 0.5)).area == pytest.approx(
        Plane.of_mask(same, 0.5).area, rel=0.01
    )


def test_a_ratio_needs_no_scale():
    masks = np.stack([ellipse(38, s) for s in (22, 18, 15, 18, 22)])
    expected = 100 * (1 - (15 / 22) ** 2)
    for method in METHODS:
        assert mask_ef(masks, method=method) == pytest.approx(expected, abs=1.5)
        assert mask_ef(masks, 0.3, method) == pytest.approx(mask_ef(masks, method=method))


def test_two_planes_of_one_ventricle():
    """38 x 20 px half axes in one plane, 36 x 16 in the other, at 0.5 mm per px."""
    first, second = (Plane.of_mask(ellipse(*axes), 0.5) for axes in ((38, 20), (36, 16)))
    whole = 4 / 3 * math.pi * 1.9 * 1.0 * 0.8
    assert biplane_volume(first, second) == pytest.approx(whole, rel=0.03)
    assert biplane_volume(first, first) == pytest.approx(first.volume())
    ring = Plane.of_mask(ellipse(20, 20), 0.5)
    assert bullet_volume(ring, first) == pytest.approx(5 / 6 * math.pi * 3.8, rel=0.03)


def test_refusals():
    with pytest.raises(InputError, match=r"0 <= ESV <= EDV and EDV > 0; got ESV 60, EDV 50"):
        ejection_fraction(50, 60)
    with pytest.raises(InputError, match="got ESV 0, EDV 0"):
        ejection_fraction(0, 0)
    with pytest.raises(InputError, match="diameter must be finite and not negative"):
        teichholz(float("nan"))
    with pytest.raises(InputError, match="area must be finite and not negative"):
        area_length(-1, 5)
    with pytest.raises(InputError, match=r"disks come in pairs, one per level; got \(2,\) and"):
        biplane([1, 2], [1, 2, 3], 5)
    with pytest.raises(InputError, match="mm per pixel must be positive; got 0"):
        mask_volume(ellipse(9, 5), 0)
    with pytest.raises(InputError, match="unknown method 'cube'"):
        mask_volume(ellipse(9, 5), 1.0, "cube")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a long axis and a chord; got 1 lines"):
        tracing_volume(np.ones((1, 4)))
    with pytest.raises(InputError, match="every mask is empty"):
        mask_ef(np.zeros((3, 8, 8), bool))
    assert mask_volume(np.zeros((8, 8), bool), method="area-length") == 0
