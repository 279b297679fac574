"""The Inception score where it is known: its ends, and both rules of splitting."""

import numpy as np
import pytest

from echoflow.metrics.inception import inception_score, probabilities
from echoflow.types import InputError

LOGITS = np.random.default_rng(0).normal(0, 2, (100, 7))


def test_ends_of_the_scale() -> None:
    certain = np.tile(np.eye(7), (10, 1))
    assert inception_score(certain, splits=10).mean == pytest.approx(7.0)
    assert inception_score(np.full((50, 7), 1 / 7)).mean == pytest.approx(1.0)


def test_one_split_by_hand() -> None:
    p = np.array([[0.5, 0.5], [1.0, 0.0]])
    divergence = [0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25), np.log(1 / 0.75)]
    found = inception_score(p, splits=1)
    assert found.mean == pytest.approx(np.exp(np.mean(divergence)))
    assert (found.std, found.n, found.splits) == (0.0, 2, 1)


def test_nominal_splits_are_cut_for_the_number_the_protocol_asks_for() -> None:
    p = probabilities(LOGITS)
    assert inception_score(p, 5, nominal=100) == inception_score(p, 5)
    uneven = inception_score(p, 5, nominal=110)  # the last split is left with 12 of 22
    by_hand = [inception_score(p[i : i + 22], 1).mean for i in range(0, 100, 22)]
    assert uneven.mean == pytest.approx(np.mean(by_hand))
    fewer = inception_score(p, 5, nominal=50)
    assert (fewer.n, fewer.mean) == (50, inception_score(p[:50], 5).mean)


def test_shuffling_is_seeded() -> None:
    p = probabilities(LOGITS)
    assert inception_score(p, shuffle_seed=1) == inception_score(p, shuffle_seed=1)
    assert inception_score(p, shuffle_seed=1) != inception_score(p)


def test_refusals() -> None:
    p = probabilities(LOGITS)
    with pytest.raises(InputError, match="5 of 10 splits of 200 images are empty"):
        inception_score(p, nominal=200)
    with pytest.raises(InputError, match="empty"):
        inception_score(np.empty((0, 7)))
    with pytest.raises(InputError, match="Logits go through"):
        inception_score(LOGITS)
    with pytest.raises(InputError, match="1 of 2 feature rows hold NaN"):
        inception_score([[1.0, 0.0], [np.nan, 1.0]])
