"""The Frechet distance against closed forms; its statistics streamed, merged, across processes."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
from numpy.typing import NDArray

from echoflow.metrics.frechet import Statistics, chance, frechet
from echoflow.types import InputError

Values = NDArray[np.float64]


def gaussian(n: int, d: int, seed: int = 0, shift: float = 0.0) -> Values:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1.0, (n, d)) @ rng.normal(0, 1 / np.sqrt(d), (d, d))


def exactly(mean: Values, covariance: Values, n: int = 1001) -> Statistics:
    """Statistics of samples whose sample mean and covariance are these."""
    return Statistics(n, mean, covariance * (n - 1))


def orthogonal(d: int, seed: int) -> Values:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def test_covariances_that_commute() -> None:
    turn, rng = orthogonal(7, 0), np.random.default_rng(1)
    p, q, gap = rng.uniform(0, 3, 7), rng.uniform(0, 3, 7), rng.normal(size=7)
    p[2] = q[5] = 0.0
    a = exactly(np.zeros(7), turn @ np.diag(p**2) @ turn.T)
    b = exactly(gap, turn @ np.diag(q**2) @ turn.T)
    found = frechet(a, b)
    assert found.means == pytest.approx(np.sum(gap**2))
    assert found.covariances == pytest.approx(np.sum((p - q) ** 2), rel=1e-12)
    assert found.value == found.means + found.covariances
    assert found.notes == ()


def test_a_linear_map_moves_a_gaussian_by_its_own_transport() -> None:
    """x -> M x with M symmetric positive is optimal, so the distance is E |M x - x|^2."""
    root = gaussian(30, 5, seed=2)
    covariance = root.T @ root / 30
    turn = orthogonal(5, 3)
    m = turn @ np.diag([0.5, 1.0, 1.5, 2.0, 3.0]) @ turn.T
    moved = m - np.eye(5)
    found = frechet(exactly(np.zeros(5), covariance), exactly(np.zeros(5), m @ covariance @ m))
    assert found.value == pytest.approx(np.trace(moved @ covariance @ moved), rel=1e-12)


def test_equal_sets_are_zero_apart_and_the_order_does_not_matter() -> None:
    a, b = Statistics.of(gaussian(50, 4)), Statistics.of(gaussian(60, 4, 1, 0.3))
    assert frechet(a, a).value == pytest.approx(0.0, abs=1e-12)
    assert frechet(a, b).value == pytest.approx(frechet(b, a).value, rel=1e-12)


def test_population_and_sample_covariance_differ_as_named() -> None:
    x = gaussian(9, 3)
    stats = Statistics.of(x)
    np.testing.assert_allclose(stats.covariance(), np.cov(x, rowvar=False))
    np.testing.assert_allclose(stats.covariance("population"), np.cov(x, rowvar=False, ddof=0))
    still = exactly(stats.mean, np.zeros((3, 3)))
    sample, population = (frechet(stats, still, kind).value for kind in ("sample", "population"))
    assert population == pytest.approx(sample * 8 / 9)


def test_streaming_in_any_pieces_is_one_pass() -> None:
    x = gaussian(101, 6, shift=1e4)  # far from the origin, where sums of squares would cancel
    whole = Statistics.of(x)
    pieces = np.split(x, [1, 1, 40, 99])
    for order in (pieces, pieces[::-1]):
        merged = Statistics.streamed(order)
        assert merged.n == 101
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_two_processes_are_one() -> None:
    x = gaussian(64, 8)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(Statistics.of, [x[:20], x[20:]])
    merged, whole = first.merged(second), Statistics.of(x)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [6, 200])
def test_chance_is_what_two_draws_of_one_gaussian_score(n: int) -> None:
    scale = np.linspace(0.1, 2.0, 10)
    truth = exactly(np.zeros(10), np.diag(scale**2))
    rng = np.random.default_rng(0)

    def drawn() -> float:
        a, b = (Statistics.of(rng.normal(size=(n, 10)) * scale) for _ in range(2))
        return frechet(a, b).value

    simulated = np.mean([chance(truth, n, n, seed=seed) for seed in range(60)])
    assert simulated == pytest.approx(np.mean([drawn() for _ in range(60)]), rel=0.12)


def test_chance_of_large_sets_is_the_first_order_bias() -> None:
    """d (1/n + 1/m) for the means, d (d + 1) / 4 (1/n + 1/m) for covariances near identity."""
    d, n = 20, 20_000
    truth = exactly(np.zeros(d), np.eye(d))
    found = np.mean([chance(truth, n, n, seed=seed) for seed in range(20)])
    assert found == pytest.approx((d + d * (d + 1) / 4) * 2 / n, rel=0.1)


def test_too_few_samples_get_a_note_with_the_bias() -> None:
    a, b = Statistics.of(gaussian(10, 12)), Statistics.of(gaussian(40, 12))
    (note,) = frechet(a, b).notes
    assert "10 and 40 samples are too few for 12 features" in note
    assert frechet(a, b).notes == (note,)
    x = gaussian(50, 12, 1)
    same = frechet(Statistics.of(x[:10]), Statistics.of(x[10:]))
    assert float(same.notes[0].split()[-4]) == pytest.approx(same.value, rel=0.4)


def test_the_bias_does_not_grow_with_the_distance_of_the_means() -> None:
    x, y = gaussian(10, 12), gaussian(40, 12)
    near, far = (frechet(Statistics.of(x), Statistics.of(y + gap)) for gap in (0.0, 50.0))
    assert far.value > 100 * near.value
    told = [float(found.notes[0].split()[-4]) for found in (near, far)]
    assert told[0] == pytest.approx(told[1], rel=1e-3)


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least 2 samples; got 1"):
        frechet(Statistics.of(np.zeros((1, 3))), Statistics.of(gaussian(5, 3)))
    with pytest.raises(InputError, match="2 of 4 feature rows hold NaN or infinity, the first is"):
        Statistics.of([[0.0], [np.nan], [1.0], [np.inf]])
    with pytest.raises(InputError, match="3 and 4 features"):
        Statistics.of(gaussian(5, 3)).merged(Statistics.of(gaussian(5, 4)))
    with pytest.raises(InputError, match="3 and 4 features"):
        frechet(Statistics.of(gaussian(5, 3)), Statistics.of(gaussian(5, 4)))
    with pytest.raises(InputError, match=r"got \(4,\)"):
        Statistics.of(np.zeros(4))
    with pytest.raises(InputError, match="at least one batch"):
        Statistics.streamed([])
