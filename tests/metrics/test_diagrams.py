"""Pictures of agreement: what is drawn where, and what cannot be drawn."""

import io

import numpy as np
import pytest
from PIL import Image

from echoflow.metrics.diagrams import bland_altman, comparison, difference, volume_curves
from echoflow.types import InputError


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def test_difference_is_grey_where_equal_and_signed_elsewhere() -> None:
    a = np.full((2, 12, 12), 100, np.uint8)
    b = a.copy()
    b[:, :6], b[:, 6:] = 40, 180
    apart = difference(a, b)
    assert np.all(difference(a, a) == 128)
    assert np.all(apart[:, :6] == 128 + 30)
    assert np.all(apart[:, 6:] == 128 - 40)
    extremes = difference(np.full((1, 2, 2), 255, np.uint8), np.zeros((1, 2, 2), np.uint8))
    assert np.all(extremes == 255)
    with pytest.raises(InputError, match="two shapes"):
        difference(a, b[:1])


def test_a_film_has_three_videos_in_a_row() -> None:
    pair = (np.zeros((3, 16, 20), np.uint8), np.full((3, 16, 20), 200, np.uint8))
    film = comparison([pair, pair], ["one", "two"], scale=2)
    assert film.shape == (3, 2 * (32 + 22), 3 * 40 + 2 * 4)
    assert film[0, 30, 50] == 200  # generated
    assert film[0, 30, 100] == 228  # generated - true
    with pytest.raises(InputError, match="as many titles"):
        comparison([pair], [])


def test_bland_altman_needs_pairs() -> None:
    rng = np.random.default_rng(0)
    asked = rng.uniform(20, 70, 30)
    drawn = opened(bland_altman({"A4C": (asked, asked + rng.normal(3, 4, 30))}))
    assert drawn.std() > 5
    with pytest.raises(InputError, match="at least 2 pairs; got 1"):
        bland_altman({"A4C": ([20.0], [25.0])})
    with pytest.raises(InputError, match="got 0"):
        bland_altman({})


def test_volume_curves_have_a_panel_per_heart() -> None:
    curve = 0.8 + 0.2 * np.cos(np.linspace(0, 12, 32))
    gap = np.where(np.arange(32) == 5, np.nan, curve)
    one = opened(volume_curves({"A4C": {"20 %": (curve, gap)}}, 16.0))
    panel = {"20 %": (curve, gap)}
    two = opened(volume_curves({"A4C": panel, "PLAX": panel}, 16.0))
    assert two.shape[1] > 1.5 * one.shape[1]
