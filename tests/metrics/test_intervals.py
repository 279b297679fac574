"""Intervals hold the truth as often as they say."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from echoflow.metrics.intervals import Interval, bootstrapped, jackknifed
from echoflow.types import InputError


@pytest.mark.parametrize("method", [partial(bootstrapped, resamples=200), jackknifed])
def test_nine_of_ten_intervals_hold_the_mean(method: Callable[..., Interval]) -> None:
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        x = rng.normal(3.0, 1.0, 60)
        low, high = method(lambda index, x=x: float(x[index].mean()), 60, seed=seed)
        held += low < 3.0 < high
    assert 0.8 < held / 200 < 0.96


def test_jackknife_of_single_items_is_the_standard_error() -> None:
    x = np.random.default_rng(1).normal(size=30)
    low, high = jackknifed(lambda index: float(x[index].mean()), 30, blocks=30, level=90)
    assert (high - low) / 2 == pytest.approx(1.699 * x.std(ddof=1) / np.sqrt(30), rel=1e-3)
    assert (high + low) / 2 == pytest.approx(x.mean())


def test_seeded_and_refused() -> None:
    def mean(index: np.ndarray) -> float:
        return float(index.mean())

    assert jackknifed(mean, 50, seed=3) == jackknifed(mean, 50, seed=3)
    assert bootstrapped(mean, 50, 100, seed=3) == bootstrapped(mean, 50, 100, seed=3)
    assert np.isnan(bootstrapped(mean, 1)).all()  # nothing is known of its error
    with pytest.raises(InputError, match="at least 2 items; got 1"):
        jackknifed(mean, 1)
