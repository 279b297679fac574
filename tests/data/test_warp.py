"""A warped still: how far the ventricle contracts, what stays where it is, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from echoflow.data.beat import Axis, contraction, opening
from echoflow.data.leaflets import LACKING, Valves, closedness
from echoflow.data.masks import disks
from echoflow.data.phantom import PhantomPatient
from echoflow.data.warp import is_round, warped
from echoflow.types import InputError, View

SIDE = 224  # twice as fine as videos, so that whole pixels matter less
SIGMA = np.array([0.0, 0.5, 1.0])


def ellipse(
    half_width: float, half_length: float, y: float = 100.0, x: float = 112.0
) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot((columns - x) / half_width, (rows - y) / half_length) <= 1


def volume(mask: np.ndarray) -> float:
    cut = disks(mask)
    assert cut is not None
    return float(cut.length * np.square(cut.widths).mean())


def grey(mask: np.ndarray) -> np.ndarray:
    """A picture whose cavity is bright, so that where it went can be told to half a pixel."""
    return np.where(mask, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("ef", [0.0, 20.0, 45.0, 60.0, 75.0])
def test_a_long_axis_view_has_the_ef(ef: float) -> None:
    cavity = ellipse(30, 56)
    moved = warped(grey(cavity), cavity, ef, SIGMA, View.A4C) >= 128
    found = [100 * (1 - volume(frame) / volume(cavity)) for frame in moved]
    np.testing.assert_allclose(found, ef * SIGMA, atol=2.0)


@pytest.mark.parametrize("ef", [0.0, 20.0, 45.0, 60.0, 75.0])
def test_a_short_axis_view_shrinks_as_widths_do(ef: float) -> None:
    """Its area is a width squared: the volume to the power of 4/5."""
    cavity = ellipse(36, 34)
    moved = warped(grey(cavity), cavity, ef, SIGMA, View.PSAX) >= 128
    wanted = (1 - ef / 100 * SIGMA) ** 0.8
    np.testing.assert_allclose(moved.sum((1, 2)) / cavity.sum(), wanted, atol=0.02)


@pytest.mark.parametrize("view", list(View))
def test_phantom_cavities_have_the_ef(view: View) -> None:
    clip = PhantomPatient.sample(0, 3).with_ef(60.0).render(view, 2, 16.0, phase=0.0)
    cavity = clip.truth.mask[0].astype(bool)
    moved = warped(grey(cavity), cavity, 50.0, [1.0], view)[0] >= 128
    if view is View.PSAX:
        assert moved.sum() / cavity.sum() == pytest.approx(0.5**0.8, abs=0.03)
    else:
        assert volume(moved) / volume(cavity) == pytest.approx(0.5, abs=0.05)


def test_at_rest_nothing_moves() -> None:
    clip = PhantomPatient.sample(0, 1).render(View.A4C, 2, 16.0, phase=0.0)
    still, cavity = clip.clip.video[0], clip.truth.mask[0].astype(bool)
    np.testing.assert_array_equal(warped(still, cavity, 70.0, [0.0], View.A4C)[0], still)


def test_walls_thicken_and_far_tissue_stays() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot(rows - 112, columns - 112)
    cavity, ring = radius <= 32, (radius > 32) & (radius <= 32 * 1.45)
    still = np.where(ring, 255, 0).astype(np.uint8)
    still[radius > 96] = 100
    moved = warped(still, cavity, 60.0, [1.0], View.PSAX)[0]
    assert np.array_equal(moved[radius > 100], still[radius > 100])
    row, before = moved[112], still[112]
    assert (row > 180).sum() > 1.15 * (before > 180).sum()
    assert (moved > 180).sum() == pytest.approx(ring.sum(), rel=0.2)  # it keeps its area, about


def test_no_teeth_at_the_edge() -> None:
    """The edge of a strongly contracted cavity is about as long as that of a disc of its area."""
    cavity = ellipse(40, 40)
    soft = np.asarray(gaussian_filter(grey(cavity), 3.0), np.uint8)
    moved = warped(soft, cavity, 80.0, [1.0], View.PSAX)[0] >= 128
    steps = sum((moved != np.roll(moved, 1, axis)).sum() for axis in (0, 1))
    around = 8 * np.sqrt(moved.sum() / np.pi)  # of a disc in steps along the axes
    assert steps < 1.15 * around


def test_without_a_view_the_shape_decides() -> None:
    assert is_round(ellipse(36, 34))
    assert not is_round(ellipse(28, 56))
    cavity = ellipse(36, 34)
    guessed, told = (warped(grey(cavity), cavity, 60.0, [1.0], view) for view in (None, View.PSAX))
    np.testing.assert_array_equal(guessed, told)


def test_it_beats_as_often_as_asked() -> None:
    cavity = ellipse(30, 56)
    sigma = contraction(48, 16.0, 80.0)
    areas = (warped(grey(cavity), cavity, 60.0, sigma, View.A4C) >= 128).sum((1, 2))
    lows = (areas[1:-1] < areas[:-2]) & (areas[1:-1] <= areas[2:])
    assert lows.sum() == 4  # 3 seconds at 80 a minute


def test_refusals() -> None:
    still, cavity = np.zeros((SIDE, SIDE), np.uint8), ellipse(30, 56)
    with pytest.raises(InputError, match="not empty"):
        warped(still, np.zeros_like(cavity), 50.0, SIGMA)
    with pytest.raises(InputError, match="as large"):
        warped(still[:100], cavity, 50.0, SIGMA)
    with pytest.raises(InputError, match="percent"):
        warped(still, cavity, 150.0, SIGMA)


@pytest.mark.parametrize("view", [View.A4C, View.PLAX])
def test_a_valve_opens_as_that_of_the_phantom_does(view: View) -> None:
    patient = PhantomPatient.sample(0, 3).with_ef(60.0)
    clip = patient.render(view, 40, 16.0, phase=0.0)
    picture, cavity = clip.clip.video[0], clip.truth.mask[0].astype(bool)
    widest = int(clip.truth.mitral_open[:20].argmax())
    open_valve = clip.clip.video[widest], clip.truth.mask[widest].astype(bool)
    still = [0.0, 0.0]
    states = [(0.0, 0.0), (1.0, 0.0)]
    closed, opened = warped(picture, cavity, 50.0, still, view, states)
    assert np.array_equal(closed, warped(picture, cavity, 50.0, still, view)[0])
    drawn = opened.astype(int) - closed
    assert 20 < (np.abs(drawn) > 20).sum() < 0.1 * picture.size
    assert 0.2 < (drawn > 20).sum() / (drawn < -20).sum() < 5  # leaflets move, none are added
    for better, mask in ((opened, open_valve), (closed, (picture, cavity))):
        worse = closed if better is opened else opened
        assert in_front(better, cavity, *mask) > in_front(worse, cavity, *mask)


@pytest.mark.parametrize("view", [View.A4C, View.PLAX])
def test_leaflets_that_a_still_lacks_are_drawn(view: View) -> None:
    clip = PhantomPatient.sample(0, 3).render(view, 1, 16.0, phase=0.0)
    picture, cavity = clip.clip.video[0], clip.truth.mask[0].astype(bool)
    valves = Valves.of(picture, cavity, Axis.of(cavity, view), view)
    assert valves.shown
    bare = valves.without[0].round().astype(np.uint8)
    assert closedness(bare, cavity, view) < LACKING < closedness(picture, cavity, view)
    states = [(0.0, 0.0), (1.0, 0.0)]
    closed, opened = warped(bare, cavity, 50.0, [0.0, 0.0], view, states)
    assert closedness(closed, cavity, view) > LACKING
    assert closedness(opened, cavity, view) < closedness(closed, cavity, view) - 0.3
    rest = binary_erosion(cavity, iterations=8) & (np.abs(closed.astype(int) - bare) > 2)
    assert rest.sum() < 0.1 * cavity.sum()  # thin, and at the base


def in_front(picture: np.ndarray, cavity: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """How alike the insides of two ventricles are: their correlation over what both cover."""
    both: np.ndarray = binary_erosion(cavity & mask, iterations=2)
    seen, known = (gaussian_filter(of.astype(float), 2.0)[both] for of in (picture, truth))
    return float(np.corrcoef(seen, known)[0, 1])


def test_the_aortic_valve_opens_in_a_long_axis_and_the_short_axis_shows_none() -> None:
    clip = PhantomPatient.sample(0, 3).render(View.PLAX, 2, 16.0, phase=0.0)
    picture, cavity = clip.clip.video[0], clip.truth.mask[0].astype(bool)
    still, states = [0.0, 0.0], [(0.0, 0.0), (0.0, 1.0)]
    closed, opened = warped(picture, cavity, 50.0, still, View.PLAX, states)
    gone = opened < closed
    assert (opened <= closed).all()
    assert 5 < gone.sum() < 0.02 * picture.size
    assert not (gone & binary_erosion(cavity, iterations=4)).any()
    round_one = warped(picture, cavity, 50.0, still, View.PSAX, states)
    assert np.array_equal(round_one[0], round_one[1])


def test_one_valve_opens_at_a_time() -> None:
    times = (32, 32.0, 60.0)
    sigma, (mitral, aortic) = contraction(*times), opening(*times).T
    contracting = np.flatnonzero(sigma == sigma.max())[0]
    assert (mitral[1:contracting] == 0).all()
    assert mitral[contracting:].max() > 0.8
    assert aortic[1:contracting].max() > 0.8
    assert not (mitral * aortic).any()
    assert ((opening(*times) >= 0) & (opening(*times) <= 1)).all()
