"""A segmentation that beats: its volumes have the EF asked for, and the rest moves with it."""

from __future__ import annotations

import numpy as np
import pytest

from echoflow.data.beat import beating, contracted, contraction
from echoflow.data.labels import Label, in_free_echo
from echoflow.data.masks import disks
from echoflow.data.phantom import PhantomPatient
from echoflow.data.volumes import Plane, ejection_fraction
from echoflow.types import InputError, View


def heart(view: View = View.A4C, patient: int = 3) -> np.ndarray:
    mask = PhantomPatient.sample(9, patient, "adult").render(view, 1, phase=0.0).truth.mask[0]
    return in_free_echo(mask.astype(np.uint8))


def measured(maps: np.ndarray) -> float:
    """EF of a sequence by the method of disks."""
    volumes = [Plane.of_mask(frame == Label.CAVITY).volume() for frame in maps]
    return ejection_fraction(max(volumes), min(volumes))


@pytest.mark.parametrize("ef", [0, 15, 40, 60, 80])
@pytest.mark.parametrize("patient", [1, 3])
def test_the_ef_of_the_maps_is_the_one_asked_for(ef: float, patient: int) -> None:
    maps = beating(heart(patient=patient), ef, contraction(16, 16))
    assert measured(maps) == pytest.approx(ef, abs=2.5)


def test_a_short_axis_keeps_its_centre_and_loses_area_alone() -> None:
    """Of a volume the plane sees two widths of three dimensions: its share to the power 4/5."""
    labels = heart(View.PSAX)
    moved = contracted(labels, 0.4, View.PSAX)
    before, after = ((m == Label.CAVITY) for m in (labels, moved))
    assert after.sum() / before.sum() == pytest.approx(0.4**0.8, rel=0.03)
    centres = [np.argwhere(mask).mean(0) for mask in (before, after)]
    np.testing.assert_allclose(*centres, atol=0.5)


def test_at_end_diastole_nothing_has_moved() -> None:
    labels = heart()
    assert np.array_equal(contracted(labels, 1.0), labels)
    maps = beating(labels, 55, contraction(4, 16))
    assert np.array_equal(maps[0], labels)


@pytest.mark.parametrize("view", list(View))
def test_the_wall_thickens_and_stays_in_the_sector(view: View) -> None:
    labels = heart(view)
    moved = contracted(labels, 0.4, view)
    assert ((moved > 0) == (labels > 0)).all()
    thick = [(m == Label.MYOCARDIUM).sum() / (m == Label.CAVITY).sum() for m in (labels, moved)]
    assert thick[1] > 1.3 * thick[0]


def test_the_wall_keeps_its_volume() -> None:
    """Of a heart that lies inside the sector as a whole: length times width squared."""
    labels = np.zeros((112, 112), np.uint8)
    labels[20:80, 40:72] = 1
    labels = in_free_echo(labels, "cavity", np.ones((112, 112), bool))
    sizes = []
    for frame in (labels, contracted(labels, 0.45)):
        parts = (disks(frame == Label.CAVITY), disks(frame >= Label.CAVITY))
        inner, outer = (part.length * np.square(part.widths).mean() for part in parts if part)
        sizes.append(outer - inner)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.06)


def test_the_apex_stays_and_the_atrium_follows_the_base() -> None:
    labels = np.ones((112, 112), np.uint8)
    labels[20:70, 45:65] = Label.CAVITY
    labels[70:100, 42:68] = Label.ATRIUM
    moved = contracted(labels, 0.4)
    top, base = (np.flatnonzero((moved == Label.CAVITY).any(1))[i] for i in (0, -1))
    assert top == pytest.approx(20, abs=1)
    assert base == pytest.approx(20 + 50 * 0.4**0.2, abs=2)
    rows = np.flatnonzero((moved == Label.ATRIUM).any(1))
    assert (rows[0], rows[-1]) == (base + 1, 99)


def test_the_cycle_begins_at_end_diastole_and_repeats() -> None:
    sigma = contraction(64, 32, heart_rate=60)
    assert sigma[0] == 0
    assert sigma.max() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(sigma[:32], sigma[32:], atol=1e-6)
    np.testing.assert_allclose(contraction(63, 32, 60, lead=1 / 32), sigma[1:], atol=1e-9)
    assert contraction(32, 32, 120).argmax() < sigma.argmax()


def test_an_ef_of_a_hundred_leaves_a_ventricle() -> None:
    assert (beating(heart(), 100, np.array([1.0])) == Label.CAVITY).any()


def test_what_is_refused() -> None:
    labels, sigma = heart(), contraction(2, 16)
    with pytest.raises(InputError, match=r"got 0.4. Multiply a fraction by 100"):
        beating(labels, 0.4, sigma)
    with pytest.raises(InputError, match=r"heart rate must be in .* got 1.2"):
        contraction(2, 16, 1.2)
    with pytest.raises(InputError, match="no left ventricle"):
        beating(np.ones((9, 9), int), 40, sigma)
