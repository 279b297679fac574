"""Films to start from: each follows from its own anatomy, EF and seed, or says why not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from tiny_engine import disc, untrained_space
from torch import Tensor

from echoflow.beating import HEART_RATE, beating_start, drawn_rate
from echoflow.types import InputError, View

SPACE = untrained_space()
FRAMES, FPS = 4, 16.0
SEEDS = [3, 4, 5]


def found(video: np.ndarray, prior: np.ndarray) -> np.ndarray:
    return np.stack([disc(26.0)] * len(video))


def nothing(video: np.ndarray, prior: np.ndarray) -> np.ndarray:
    return np.zeros(video.shape, bool)


@pytest.fixture(scope="module")
def anatomies() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 2, 56, 56)


def made(z: Tensor, ef: list[float], seeds: list[int], **more) -> Tensor:
    return beating_start(SPACE, found, z, torch.tensor(ef), seeds, FRAMES, FPS, **more)


def test_each_sample_is_its_own(anatomies: Tensor) -> None:
    views = list(View)
    together = made(anatomies, [20.0, 50.0, 70.0], SEEDS, views=views)
    assert together.shape == (3, 2, FRAMES, 56, 56)
    alone = made(anatomies[1:2], [50.0], SEEDS[1:2], views=views[1:2])
    assert torch.equal(together[1:2], alone)
    other = made(anatomies[1:2], [20.0], SEEDS[1:2], views=views[1:2])
    assert not torch.equal(alone, other)


def test_without_an_ef_it_stands_still(anatomies: Tensor) -> None:
    film = made(anatomies[:1], [float("nan")], [0])
    assert torch.equal(film, film[:, :, :1].expand_as(film))


def test_a_heart_without_a_cavity_stands_still_and_is_named(anatomies: Tensor) -> None:
    with pytest.warns(UserWarning, match="no ventricle was found in heart 0"):
        film = beating_start(SPACE, nothing, anatomies[:1], torch.tensor([50.0]), [0], FRAMES, FPS)
    assert torch.equal(film, film[:, :, :1].expand_as(film))


def test_heart_rates(anatomies: Tensor) -> None:
    rates = np.array([drawn_rate(seed) for seed in range(400)])
    mean, deviation, least, most = HEART_RATE
    assert abs(rates.mean() - mean) < 0.2 * deviation
    assert ((rates >= least) & (rates <= most)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slow, fast = (made(anatomies[:1], [60.0], [0], heart_rate=rate) for rate in (50.0, 110.0))
    assert not torch.equal(slow, fast)
    with pytest.raises(InputError, match="heart rate must be in"):
        made(anatomies[:1], [60.0], [0], heart_rate=5.0)
