"""Clinical metrics against closed forms and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from echoflow.metrics.clinical import (
    area_ejection_fraction,
    area_length_volume,
    bootstrap,
    dice,
    ejection_fraction,
    mae,
    regression,
)
from echoflow.types import InputError


def pairs(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    asked = rng.uniform(15, 75, n)
    return asked, 0.8 * asked + 9 + rng.normal(0, 4, n)


def test_regression_agrees_with_scikit_learn() -> None:
    asked, measured = pairs()
    result = regression(asked, measured, resamples=10)
    assert result.r2 == pytest.approx(r2_score(asked, measured))
    assert result.mae == pytest.approx(mean_absolute_error(asked, measured))
    assert result.rmse == pytest.approx(root_mean_squared_error(asked, measured))
    assert result.slope == pytest.approx(np.polyfit(asked, measured, 1)[0])
    assert result.bias == pytest.approx(np.mean(measured - asked))


def test_intervals_hold_the_estimate_and_are_reproducible() -> None:
    asked, measured = pairs()
    result = regression(asked, measured, resamples=300)
    assert result.r2_ci[0] < result.r2 < result.r2_ci[1]
    assert result.mae_ci[0] < result.mae < result.mae_ci[1]
    assert result == regression(asked, measured, resamples=300)
    assert result.metrics("ef_")["ef_r2_low"] == result.r2_ci[0]


def test_bootstrap_width_follows_the_standard_error() -> None:
    rng = np.random.default_rng(1)
    error = rng.normal(0, 1, 400)
    low, high = bootstrap(lambda a, b: float(np.mean(b - a)), np.zeros(400), error, 2000)
    assert high - low == pytest.approx(2 * 1.645 * error.std() / np.sqrt(400), rel=0.08)


def test_perfect_obedience_and_constant_answers() -> None:
    asked = np.linspace(15, 75, 9)
    perfect = regression(asked, asked, resamples=5)
    assert (perfect.r2, perfect.mae, perfect.slope) == (1.0, 0.0, pytest.approx(1.0))
    ignored = regression(asked, np.full(9, asked.mean()), resamples=5)
    assert ignored.r2 == pytest.approx(0.0)
    assert ignored.slope == pytest.approx(0.0)
    assert np.isnan(regression([50, 50], [50, 60], resamples=5).r2)


def test_regression_refuses_unequal_lengths_and_missing_values() -> None:
    with pytest.raises(InputError, match="got 1 and 2"):
        regression([1, 2], [1])
    with pytest.raises(InputError, match="finite"):
        regression([1, 2], [1, float("nan")])
    assert mae([0, 2], [1, 1]) == 1.0


def test_dice_closed_form_and_empty_masks() -> None:
    a, b = np.zeros((2, 8, 8), bool), np.zeros((2, 8, 8), bool)
    a[0, :4], b[0, 2:6] = True, True
    np.testing.assert_allclose(dice(a, b), [0.5, 1.0])


def test_ejection_fraction_of_curves() -> None:
    assert ejection_fraction([100, 80, 40, 90]) == 60.0
    radii = np.array([10.0, 9.0, 8.0])
    assert area_ejection_fraction(np.pi * radii**2) == pytest.approx(ejection_fraction(radii**3))
    with pytest.raises(InputError, match="positive maximum"):
        ejection_fraction([0.0, 0.0])


def test_area_length_volume_of_an_ellipsoid() -> None:
    half_length, radius = 45.0, 22.0
    volume = area_length_volume(np.pi * half_length * radius, 2 * half_length)
    assert volume == pytest.approx(4 / 3 * np.pi * half_length * radius**2)
