"""Condition: nulls, dropout, joining, and refusals by message."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from echoflow.condition import NULLS, Condition
from echoflow.types import InputError


def T(*values: float) -> Tensor:
    return torch.tensor(values)


def full(b: int = 3) -> Condition:
    rng = torch.Generator().manual_seed(b)
    return Condition(
        ef=torch.rand(b, generator=rng) * 80 + 10,
        view=torch.arange(b) % 3,
        frame=torch.randn(b, 4, 5, 5, generator=rng),
        mask=(torch.rand(b, 1, 5, 5, generator=rng) > 0.5).float(),
        lowres=torch.randn(b, 4, 2, 5, 5, generator=rng),
        lowres_noise=torch.randn(b, generator=rng),
    )


def same(a: Condition, b: Condition) -> bool:
    """Equal fields, nan equal to nan."""
    left, right = a.present(), b.present()
    return left.keys() == right.keys() and all(
        torch.equal(left[n].nan_to_num(-7), right[n].nan_to_num(-7)) for n in left
    )


def is_null(name: str, value: Tensor) -> Tensor:
    """Per sample: every element is the null of the field."""
    wanted = torch.tensor(NULLS[name])
    flat = value.flatten(1) if value.ndim > 1 else value[:, None]
    return (flat.isnan() if wanted.isnan() else flat == wanted).all(1)


@pytest.mark.parametrize("name", NULLS)
def test_without_nulls_the_named_field_only(name: str) -> None:
    cond = full()
    negative = cond.without(name)
    for other, value in negative.present().items():
        if other == name:
            assert is_null(name, value).all()
        else:
            assert value is cond.present()[other]
    assert not is_null(name, cond.present()[name]).all()


def test_without_leaves_absent_fields_absent() -> None:
    assert same(Condition(ef=torch.tensor([50.0])).without("frame", "mask"), Condition(ef=T(50.0)))


def test_dropped_is_independent_per_field_and_sample() -> None:
    n, p = 4000, 0.3
    cond = Condition(ef=torch.full((n,), 55.0), view=torch.ones(n, dtype=torch.long))
    dropped = cond.dropped(p, torch.Generator().manual_seed(0)).present()
    ef, view = (is_null(name, dropped[name]).double() for name in ("ef", "view"))
    error = 4 * (p * (1 - p) / n) ** 0.5
    assert abs(ef.mean() - p) < error
    assert abs(view.mean() - p) < error
    assert abs(torch.corrcoef(torch.stack([ef, view]))[0, 1]) < 4 / n**0.5


def test_dropped_by_field_and_at_the_ends() -> None:
    cond = full(16)
    only_ef = cond.dropped({"ef": 1.0}, torch.Generator().manual_seed(1))
    assert same(only_ef, cond.without("ef"))
    assert same(cond.dropped(0.0, torch.Generator().manual_seed(1)), cond)
    assert same(cond.dropped(1.0, torch.Generator().manual_seed(1)), cond.without(*NULLS))
    twice = [cond.dropped(0.5, torch.Generator().manual_seed(2)) for _ in range(2)]
    assert same(*twice)


def test_stack_select_cat_repeat_are_consistent() -> None:
    cond = full(4)
    items = [Condition(**{n: v[i] for n, v in cond.present().items()}) for i in range(4)]
    assert same(Condition.stack(items), cond)
    assert same(Condition.cat([cond.select(slice(0, 1)), cond.select([1, 2, 3])]), cond)
    assert same(cond.repeat(2).select(torch.arange(0, 8, 2)), cond)
    assert same(cond.repeat(2).select(torch.arange(1, 8, 2)), cond)
    assert len(cond) == 4
    assert len(cond.repeat(3)) == 12
    assert len(Condition()) == 0


def test_stack_gives_null_to_items_without_the_field() -> None:
    known = Condition(ef=torch.tensor(60.0), view=torch.tensor(1))
    stacked = Condition.stack([known, Condition(view=torch.tensor(2))])
    assert stacked.ef is not None
    assert stacked.ef[0] == 60
    assert stacked.ef[1].isnan()
    assert not Condition.cat([Condition(), Condition()]).present()


def test_to_changes_the_dtype_of_floats_only() -> None:
    moved = full().to("cpu", torch.float64)
    kinds = {name: value.dtype for name, value in moved.present().items()}
    assert kinds.pop("view") == torch.int64
    assert set(kinds.values()) == {torch.float64}
    assert same(full().to("cpu"), full())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ef": T(50, 60), "view": torch.tensor([1])}, "different batch sizes: ef 2, view 1"),
        ({"ef": T(50), "frame": torch.zeros(4, 5, 5)}, "do not fit together: ef (1,), frame (4"),
        ({"mask": torch.zeros(5, 5)}, "do not fit together: mask (5, 5)"),
        ({"ef": 55.0}, "condition field ef must be a tensor; got 55.0"),
    ],
)
def test_refuses_fields_that_do_not_fit(fields: dict, message: str) -> None:
    with pytest.raises(InputError, match=r"^condition") as error:
        Condition(**fields)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("cond", "message"),
    [
        (
            Condition(ef=T(55.0, 0.55)),
            "percentage in [0, 100]; got 0.55. Multiply a fraction by 100",
        ),
        (Condition(ef=T(101.0)), "percentage in [0, 100]; got 101."),
        (Condition(view=torch.tensor([3])), "A4C 0, PSAX 1, PLAX 2 or -1"),
        (Condition(mask=torch.full((1, 1, 2, 2), 0.5)), "only 0 and 1; got values from 0.5 to 0.5"),
    ],
)
def test_checked_refuses_values(cond: Condition, message: str) -> None:
    with pytest.raises(InputError) as error:
        cond.checked()
    assert message in str(error.value)


def test_checked_accepts_nulls_and_limits() -> None:
    cond = Condition(ef=T(0, 100, float("nan")), view=torch.tensor([0, 2, -1]))
    assert cond.checked() is cond
    assert full().without(*NULLS).checked()


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean frame"):
        full().without("frames")
    with pytest.raises(InputError, match="unknown condition field 'views'"):
        full().dropped({"views": 0.1}, torch.Generator())
    with pytest.raises(InputError, match="different fields: ef and ef\\+view"):
        Condition.cat([Condition(ef=T(1.0)), Condition(ef=T(1.0), view=torch.tensor([0]))])
