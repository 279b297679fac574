"""Plans: sample i depends on (seed, i), shares and ranges are kept, nonsense is refused."""

import numpy as np
import pytest

from echoflow.synthesis import DatasetPlan, given_masks, sample_seed
from echoflow.types import InputError, Split, View, check_ef


def test_an_item_does_not_depend_on_the_size_or_batch_of_the_plan() -> None:
    small = DatasetPlan(n=3, seed=4)
    large = DatasetPlan(n=300, seed=4, batch=50)
    assert [small.item(i) for i in range(3)] == [large.item(i) for i in range(3)]
    assert small.item(0) != DatasetPlan(n=3, seed=5).item(0)


def test_views_take_turns_and_efs_cover_the_range_in_every_view() -> None:
    plan = DatasetPlan(n=96)
    items = [plan.item(i) for i in range(96)]
    for view in View:
        efs = np.sort([item.ef for item in items if item.view is view])
        assert len(efs) == 32
        assert 15 <= efs[0] < 20
        assert 70 < efs[-1] <= 75
        assert np.diff(efs).max() < 6


def test_ef_values_are_cycled_and_one_value_is_kept() -> None:
    plan = DatasetPlan(ef=(20, 40, 60), views=(View.A4C,))
    assert [plan.item(i).ef for i in range(4)] == [20, 40, 60, 20]
    assert {DatasetPlan(ef=(33,)).item(i).ef for i in range(5)} == {33}
    assert {DatasetPlan(ef=(50, 50)).item(i).ef for i in range(5)} == {50}


def test_a_range_from_0_gives_no_fractions() -> None:
    found = [DatasetPlan(ef=(0, 2)).item(i).ef for i in range(50)]
    assert all(check_ef(ef) == ef for ef in found)
    assert 1.0 in found
    assert max(found) > 1.5


def test_a_list_of_efs_reaches_every_view_and_uses_each_once() -> None:
    items = [DatasetPlan(n=9, ef=(30.0, 50.0, 70.0)).item(i) for i in range(9)]
    assert {(item.view, item.ef) for item in items} == {
        (view, ef) for view in View for ef in (30.0, 50.0, 70.0)
    }
    many = tuple(float(ef) for ef in range(20, 60))
    assert [DatasetPlan(n=40, ef=many).item(i).ef for i in range(40)] == list(many)


def test_videos_of_one_heart_share_base_view_and_split_but_not_the_motion_seed() -> None:
    plan = DatasetPlan(n=6, per_anatomy=3)
    first, second = [plan.item(i) for i in range(3)], [plan.item(i) for i in range(3, 6)]
    assert {(i.base, i.view, i.split) for i in first} == {
        ("sample_000000", View.A4C, first[0].split)
    }
    assert [i.name for i in second] == [f"sample_000001_{k:02d}" for k in range(3)]
    assert len({i.seed for i in first + second}) == 6


def test_splits_have_the_shares_of_echonet_dynamic() -> None:
    plan = DatasetPlan()
    splits = [plan.item(i).split for i in range(800)]
    assert splits.count(Split.TRAIN) == pytest.approx(600, abs=3)
    assert splits.count(Split.TEST) == pytest.approx(100, abs=3)
    assert set(splits[:24]) == set(Split)
    alone = DatasetPlan(splits=((Split.TRAIN, 1.0),))
    assert {alone.item(i).split for i in range(800)} == {Split.TRAIN}


def test_seeds_are_exact_in_floating_point_and_streams_never_meet() -> None:
    seeds = [sample_seed(0, s, i, k) for s in range(2) for i in range(50) for k in range(3)]
    assert len(set(seeds)) == 300
    assert all(int(float(seed)) == seed for seed in seeds)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"ef": (0.55,)}, "Multiply a fraction by 100"),
        ({"ef": (75, 15)}, "low to high"),
        ({"ef": (15, 130)}, r"percentage in \[0, 100\]"),
        ({"seed": -1}, "non-negative"),
        ({"views": ()}, "at least one view"),
        ({"splits": ()}, "add up to 1"),
        ({"splits": ((Split.TRAIN, 0.8),)}, "add up to 1"),
        ({"splits": ((Split.TRAIN, 1.2), (Split.VAL, -0.2))}, "not be negative"),
    ],
)
def test_nonsense_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DatasetPlan(**wrong)


def test_given_masks_are_checked_and_chosen_by_seed() -> None:
    masks = np.ones((3, 8, 8))
    masks[1, 4:] = 0
    source = given_masks(masks, 8)
    assert source(View.A4C, 4).sum() == 32
    assert source(View.PLAX, 4).dtype == bool
    assert np.array_equal(given_masks(masks * 255, 8)(View.A4C, 1), source(View.A4C, 1))
    with pytest.raises(InputError, match="must hold only 0 and 1"):
        given_masks(masks * 0.5, 8)
    with pytest.raises(InputError, match="112x112"):
        given_masks(masks)
    with pytest.raises(InputError, match=r"\(n, h, w\)"):
        given_masks(masks[0], 8)
    masks[2] = 0
    with pytest.raises(InputError, match="mask number 2 is empty"):
        given_masks(masks, 8)
