"""Joint entropy against Gaussians whose entropy is known."""

import numpy as np
import pytest

from echoflow.metrics.entropy import joint_entropy
from echoflow.types import InputError

RNG = np.random.default_rng(0)


def known(deviations: np.ndarray) -> float:
    return float(np.sum(0.5 * np.log(2 * np.pi * np.e) + np.log(deviations)))


def test_independent_gaussians() -> None:
    deviations = np.linspace(0.3, 4, 12).reshape(3, 2, 2)
    z = RNG.normal(size=(20_000, 3, 2, 2)) * deviations
    for shrinkage in ("none", "ledoit-wolf"):
        found = joint_entropy(z, shrinkage=shrinkage)
        assert found.nats == pytest.approx(known(deviations), abs=0.15)
        assert found.per_dim == found.nats / 12
        assert found.notes == ()


def test_a_linear_map_adds_its_log_determinant() -> None:
    z, mix = RNG.normal(size=(500, 4)), RNG.normal(size=(4, 4))
    plain, mixed = (joint_entropy(x, shrinkage="none").nats for x in (z, z @ mix))
    assert mixed - plain == pytest.approx(np.linalg.slogdet(mix)[1])


def test_normalising_takes_the_scale_out() -> None:
    z = RNG.normal(size=(400, 2, 3, 3)) * np.array([0.1, 9.0])[:, None, None]
    by_channel = joint_entropy(z, "channel", "none")
    assert by_channel.nats == pytest.approx(known(np.ones(18)), abs=0.8)
    assert joint_entropy(7 * z, "scalar", "none").nats == pytest.approx(
        joint_entropy(z, "scalar", "none").nats
    )
    shift = joint_entropy(7 * z, "none", "none").nats - joint_entropy(z, "none", "none").nats
    assert shift == pytest.approx(18 * np.log(7))


def test_few_latents_are_told_with_their_bias() -> None:
    gaps = [joint_entropy(RNG.normal(size=(40, 10)), shrinkage="none") for _ in range(100)]
    told = float(gaps[0].notes[0].split()[-2])
    bias = known(np.ones(10)) - np.mean([found.nats for found in gaps])
    assert bias == pytest.approx(told, rel=0.2)
    shrunk = joint_entropy(RNG.normal(size=(5, 10)))
    assert np.isfinite(shrunk.nats)
    assert 0 < shrunk.shrinkage <= 1
    assert "5 latents of 10 numbers" in shrunk.notes[0]


def test_fewer_latents_than_numbers_have_no_entropy() -> None:
    for seed in range(6):  # what is left of a singular matrix is rounding noise of either sign
        z = np.random.default_rng(seed).normal(size=(40, 1, 8, 8))
        with pytest.raises(InputError, match="is singular"):
            joint_entropy(z, shrinkage="none")


def test_refusals() -> None:
    with pytest.raises(InputError, match="5 latents of 10 numbers is singular"):
        joint_entropy(RNG.normal(size=(5, 10)), shrinkage="none")
    with pytest.raises(InputError, match="constant"):
        joint_entropy(np.zeros((9, 2, 2, 2)), "channel")
    with pytest.raises(InputError, match="n of at least 2"):
        joint_entropy(np.zeros((1, 4)))
    with pytest.raises(InputError, match="one of none, scalar, channel"):
        joint_entropy(np.ones((3, 2)), "pixel")  # pyright: ignore[reportArgumentType]
