"""Masks, tracings and volumes of the left ventricle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from echoflow.data.masks import (
    area,
    check_mask,
    ed_es,
    fill_polygon,
    latent_mask,
    mask_tracing,
    traced_ed_es,
    tracing_mask,
)
from echoflow.data.volumes import mask_ef, mask_length, mask_volume, tracing_volume
from echoflow.types import InputError


def ellipse(long: float, short: float, angle: float, size: int = 112) -> np.ndarray:
    """A filled ellipse with these half axes, its long axis `angle` rad from horizontal."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (u / long) ** 2 + (v / short) ** 2 <= 1


def ellipsoid(long: float, short: float) -> float:
    return 4 / 3 * math.pi * long * short**2 / 1000


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


ANGLES = [math.pi / 2, 1.9, 1.2, 0.0, 0.4, -0.6]


@pytest.mark.parametrize("angle", ANGLES)
def test_disk_volume_of_a_mask_is_that_of_the_ellipsoid(angle):
    mask = ellipse(38, 20, angle)
    assert mask_volume(mask) == pytest.approx(ellipsoid(38, 20), rel=0.02)
    assert mask_volume(mask, 1.3) == pytest.approx(1.3**3 * mask_volume(mask))
    assert mask_length(mask, 0.5) == pytest.approx(38, rel=0.03)


@pytest.mark.parametrize("angle", ANGLES)
def test_tracing_of_a_mask_has_its_volume_and_shape(angle):
    mask = ellipse(38, 20, angle)
    lines = mask_tracing(mask)
    assert lines.shape == (21, 4)
    assert tracing_volume(lines) == pytest.approx(mask_volume(mask), rel=1e-9)
    assert dice(tracing_mask(lines), mask) > 0.97
    axis = lines[0, 2:] - lines[0, :2]
    chords = lines[1:, 2:] - lines[1:, :2]
    assert np.abs(chords @ axis).max() < 1e-6
    assert axis[np.argmax(np.abs(axis))] > 0  # apex first: above, or left where it lies flat
    assert (np.diff(lines[1:, :2] @ axis) > 0).all()  # apex to base


def test_ef_of_masks_needs_no_scale():
    masks = np.stack([ellipse(38, s, 1.5) for s in (22, 18, 15, 18, 22)])
    assert mask_ef(masks) == pytest.approx(100 * (1 - (15 / 22) ** 2), abs=1.0)
    with pytest.raises(InputError, match="every mask is empty"):
        mask_ef(np.zeros((3, 8, 8), bool))


def test_ed_and_es_are_told_by_area_not_by_order():
    areas = area(np.stack([ellipse(30, s, 1.5) for s in (18, 12, 20, 15)]))
    assert ed_es(areas) == (2, 1)
    large, small = (mask_tracing(ellipse(30, s, 1.5)) for s in (20, 12))
    assert traced_ed_es({3: small, 9: large}) == (9, 3)
    assert traced_ed_es({3: large, 9: small}) == (3, 9)


def test_reference_rule_of_filling():
    """The polygon of chord starts and reversed ends, as scikit-image fills it."""
    polygon = pytest.importorskip("skimage.draw").polygon
    for angle in ANGLES:
        lines = mask_tracing(ellipse(45, 24, angle))
        expected = np.zeros((112, 112), bool)
        x = np.concatenate([lines[1:, 0], lines[1:, 2][::-1]])
        y = np.concatenate([lines[1:, 1], lines[1:, 3][::-1]])
        rows, columns = polygon(np.rint(y).astype(int), np.rint(x).astype(int), (112, 112))
        expected[rows, columns] = True
        assert (tracing_mask(lines) == expected).all()


def test_polygon_includes_its_outline_and_is_cut_at_the_border():
    x, y = np.array([2, 5, 5, 2]), np.array([1, 1, 3, 3])
    assert fill_polygon(x, y, 6, 8).sum() == 12
    assert fill_polygon(x - 4, y - 2, 6, 8).sum() == 4
    assert fill_polygon(x + 50, y, 6, 8).sum() == 0


def test_repeated_tracings_are_not_zipped():
    lines = mask_tracing(ellipse(30, 15, 1.5))
    assert (tracing_mask(np.concatenate([lines, lines + 20])) == tracing_mask(lines)).all()
    assert tracing_volume(np.concatenate([lines, lines + 20])) == tracing_volume(lines)
    with pytest.raises(InputError, match="a long axis and two chords; got 2 lines"):
        tracing_mask(lines[:2])


def test_empty_masks():
    empty = np.zeros((112, 112), bool)
    assert mask_volume(empty) == mask_length(empty) == 0
    with pytest.raises(InputError, match="an empty mask has no tracing"):
        mask_tracing(empty)
    assert not check_mask(empty).any()


def test_one_pixel_is_enough():
    dot = np.zeros((9, 9), bool)
    dot[4, 4] = True
    assert mask_volume(dot) > 0
    assert np.isfinite(mask_tracing(dot)).all()


@pytest.mark.parametrize("high", [1, 255, True, 1.0])
def test_masks_people_give(high):
    mask = ellipse(30, 15, 1.0)
    checked = check_mask(mask * np.array(high))
    assert checked.dtype == bool
    assert (checked == mask).all()


def test_bad_masks():
    with pytest.raises(InputError, match=r"must be 112x112 pixels, grey; got shape \(64, 64\)"):
        check_mask(np.zeros((64, 64)))
    with pytest.raises(InputError, match=r"got shape \(112, 112, 3\)"):
        check_mask(np.zeros((112, 112, 3)))
    with pytest.raises(InputError, match=r"only 0 and 255; got 0, 128, 255. Threshold"):
        check_mask(np.resize([0, 128, 255], (112, 112)))
    with pytest.raises(InputError, match=r"\.\.\. Threshold it first"):
        check_mask(np.resize(np.arange(200), (112, 112)))
    with pytest.raises(InputError, match="got 0, nan"):
        check_mask(np.resize([0, np.nan], (112, 112)))


def test_latent_mask_follows_the_released_rule():
    mask = ellipse(30, 15, 1.3)
    small = latent_mask(mask, 28, 28)
    assert small.dtype == torch.float32
    assert small.shape == (28, 28)
    assert set(small.unique().tolist()) == {0.0, 1.0}
    # bilinear at factor 4 without anti-aliasing sees the middle 2 x 2 of every 4 x 4
    middle = mask.reshape(28, 4, 28, 4)[:, 1:3, :, 1:3].any((1, 3))
    assert (small.numpy() == middle).all()
    batch = latent_mask(torch.from_numpy(np.stack([mask, ~mask]))[:, None], 14, 14)
    assert batch.shape == (2, 1, 14, 14)
    assert not latent_mask(np.zeros((112, 112)), 28, 28).any()
