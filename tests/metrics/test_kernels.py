"""MMD against its closed form for Gaussians; KID's subsets."""

import tracemalloc

import numpy as np
import pytest

from echoflow.metrics.kernels import (
    Estimate,
    Kernel,
    gaussian,
    kid,
    median_distance,
    mmd2,
    polynomial,
    squared_distances,
)
from echoflow.types import InputError

RNG = np.random.default_rng(0)
A, B = RNG.normal(0, 1, (300, 4)), RNG.normal(0.5, 1.2, (250, 4))


def gaussian_mmd2(gap: float, s: float, r: float, width: float, d: int) -> float:
    """MMD^2 of N(0, s^2 I) and N(m, r^2 I), |m| = gap, by the kernel exp(-|x-y|^2 / 2 width^2)."""

    def term(variance: float, square: float) -> float:
        total = width**2 + variance
        return (width**2 / total) ** (d / 2) * np.exp(-square / (2 * total))

    return term(2 * s**2, 0) + term(2 * r**2, 0) - 2 * term(s**2 + r**2, gap**2)


def test_gaussian_kernel_of_gaussians_has_a_closed_form() -> None:
    rng, gap = np.random.default_rng(1), np.array([0.8, 0.0, 0.6])
    draws = [
        mmd2(rng.normal(0, 1, (300, 3)), gap + rng.normal(0, 0.7, (300, 3)), gaussian(1.5))
        for _ in range(10)
    ]
    wanted = gaussian_mmd2(1.0, 1.0, 0.7, 1.5, 3)
    assert np.mean(draws) == pytest.approx(wanted, abs=3 * np.std(draws) / np.sqrt(10))
    assert np.std(draws) < 0.1 * wanted


def test_unbiased_is_zero_on_average_and_biased_is_a_squared_norm() -> None:
    rng = np.random.default_rng(2)
    pairs = [(rng.normal(size=(12, 3)), rng.normal(size=(12, 3))) for _ in range(200)]
    unbiased = [mmd2(a, b) for a, b in pairs]
    assert np.mean(unbiased) == pytest.approx(0, abs=3 * np.std(unbiased) / np.sqrt(200))
    assert min(unbiased) < 0
    assert min(mmd2(a, b, estimate="biased") for a, b in pairs) > 0
    assert mmd2(A, A, estimate="biased") == pytest.approx(0, abs=1e-12)


def test_distances_far_from_the_origin_keep_their_digits() -> None:
    found = squared_distances(A + 1e6, B + 1e6)
    np.testing.assert_allclose(found, ((A[:, None] - B) ** 2).sum(-1), rtol=1e-6)
    assert (squared_distances(A, A) >= 0).all()


@pytest.mark.parametrize("kernel", [polynomial, gaussian(2.0)])
@pytest.mark.parametrize("estimate", ["unbiased", "biased"])
def test_rows_at_a_time_are_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, estimate: Estimate
) -> None:
    whole = mmd2(A, B, kernel, estimate)
    for rows in (1, 7, 250):
        monkeypatch.setattr("echoflow.metrics.kernels._ROWS", rows)
        assert mmd2(A, B, kernel, estimate) == pytest.approx(whole, rel=1e-9)


def test_memory_grows_with_the_samples_not_with_their_square() -> None:
    x = np.random.default_rng(5).normal(size=(5000, 2))
    tracemalloc.start()
    mmd2(x, x + 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000**2 * 8


def test_kid_of_whole_sets_is_mmd_and_seeds_repeat() -> None:
    whole = kid(A[:50], B[:50], subsets=3, size=50)
    assert whole.mean == pytest.approx(mmd2(A[:50], B[:50], polynomial))
    assert np.isnan(whole.std)  # there is but one subset
    assert (whole.subsets, whole.notes) == (1, ())
    assert kid(A, B, 5, 100, seed=1) == kid(A, B, 5, 100, seed=1) != kid(A, B, 5, 100, seed=2)


def test_kid_tells_when_subsets_had_to_shrink() -> None:
    found = kid(A, B[:40], subsets=2)
    assert found.size == 40
    assert "40 samples instead of 1000" in found.notes[0]


def test_bandwidth_by_the_median() -> None:
    assert median_distance([[0.0], [3.0]], [[0.0], [3.0]]) == 3.0
    with pytest.raises(InputError, match="positive; got 0"):
        gaussian(0.0)


def test_refusals() -> None:
    with pytest.raises(InputError, match="4 and 3 features"):
        mmd2(A, B[:, :3])
    with pytest.raises(InputError, match="got 300 and 1"):
        kid(A, B[:1])
    with pytest.raises(InputError, match="1 of 2 feature rows hold NaN"):
        mmd2(A[:, :1], [[0.0], [np.nan]])
