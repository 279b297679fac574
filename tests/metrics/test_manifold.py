"""Precision, recall, density and coverage where the answer is plain, and by brute force."""

import numpy as np
import pytest

from echoflow.metrics import manifold as module
from echoflow.metrics.manifold import manifold
from echoflow.types import InputError

RNG = np.random.default_rng(0)


def test_equal_sets_and_sets_far_apart() -> None:
    x = RNG.normal(size=(60, 3))
    same = manifold(x, x)
    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    assert same.density == pytest.approx(1 + 1 / 5)  # k neighbours and the sample itself
    apart = manifold(x, x + 100)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0, 0, 0, 0)


def test_one_mode_of_two_is_precise_but_does_not_cover() -> None:
    modes = np.concatenate([RNG.normal(0, 1, (200, 2)), RNG.normal(50, 1, (200, 2))])
    found = manifold(modes, RNG.normal(0, 0.5, (200, 2)), k=3)
    assert found.precision > 0.98
    assert found.recall < 0.5
    assert 0.2 < found.coverage < 0.5
    assert found.density > 0.9


def test_density_of_one_distribution_is_one_on_average() -> None:
    draws = [
        manifold(RNG.normal(size=(80, 2)), RNG.normal(size=(80, 2)), k=4).density for _ in range(40)
    ]
    assert np.mean(draws) == pytest.approx(1.0, abs=0.06)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = RNG.normal(size=(70, 4)), RNG.normal(0.4, 1, (45, 4))
    whole = manifold(x, y)
    monkeypatch.setattr(module, "_ROWS", 16)
    assert manifold(x, y) == whole


def test_refusals() -> None:
    x = RNG.normal(size=(9, 2))
    with pytest.raises(InputError, match="at least 6 samples; got 9 and 5"):
        manifold(x, x[:5])
    with pytest.raises(InputError, match="k = 0"):
        manifold(x, x, k=0)
