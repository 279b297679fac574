"""Laws of the exact left ventricle: closed forms against brute-force integration."""

from __future__ import annotations

import numpy as np
import pytest

from echoflow.data.phantom import COHORTS, PhantomPatient
from echoflow.data.phantom.ventricle import Region, Ventricle, profile, profile_integral

SIGMAS = np.linspace(0, 1, 7)


def brute_volume(heart: Ventricle, sigma: float) -> float:
    """Volume in mL by summing half squares of the rendered radius over zeta and phi."""
    zeta = (np.arange(2000)[:, None] + 0.5) / 2000
    phi = (np.arange(360)[None] + 0.5) / 360 * 2 * np.pi
    level = np.array(sigma)
    radius = heart.wall_radius(zeta, phi, heart.radius(level), level)
    return float(np.pi * (radius**2).mean() * heart.length(level) / 1000)


@pytest.mark.parametrize(("equator", "shape"), [(0.55, -0.35), (0.6, 0.0), (0.68, 0.45)])
def test_profile_integral_is_the_integral_of_the_profile(equator: float, shape: float) -> None:
    zeta = (np.arange(100_000) + 0.5) / 100_000
    expected = profile(zeta, equator, shape).mean()
    assert profile_integral(equator, shape) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("cohort", COHORTS)
def test_volume_of_the_rendered_surface_is_the_volume_curve(cohort: str) -> None:
    heart = PhantomPatient.sample(1, 3, cohort).ventricle
    for sigma in (0.0, 0.37, 1.0):
        expected = float(heart.volume(np.array(sigma)))
        assert brute_volume(heart, sigma) == pytest.approx(expected, rel=2e-6)


def test_regional_motion_keeps_the_label_and_moves_the_region_least() -> None:
    heart = PhantomPatient.sample(1, 0, "rwma").with_ef(50).ventricle
    region = heart.region
    assert isinstance(region, Region)
    assert heart.w0 > 0.05
    end, start = np.array(1.0), np.array(0.0)
    at = np.array(region.z0)
    ratio = [
        float(heart.wall_radius(at, phi, heart.radius(end), end))
        / float(heart.wall_radius(at, phi, heart.radius(start), start))
        for phi in (region.phi0, region.phi0 + np.pi)
    ]
    assert ratio[0] > ratio[1] + 0.05


def test_volume_length_and_radius_agree() -> None:
    heart = PhantomPatient.sample(2, 5).ventricle
    g = heart.integral(SIGMAS)
    volume = np.pi * heart.radius(SIGMAS) ** 2 * heart.length(SIGMAS) * g / 1000
    np.testing.assert_allclose(volume, heart.volume(SIGMAS), rtol=1e-6)
    assert heart.radius(np.array(0.0)) == pytest.approx(heart.a0, rel=1e-6)
