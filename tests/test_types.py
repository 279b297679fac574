"""The vocabulary: views."""

from __future__ import annotations

import pickle

import pytest

from echoflow.types import InputError, View


def test_views_are_the_classes_of_the_models():
    assert [view.name for view in View] == ["A4C", "PSAX", "PLAX"]
    assert len(View) == len(tuple(View)) == 3
    assert [int(view) for view in View] == [0, 1, 2]
    assert View.parse("psax") is View.parse(1) is View.parse(View.PSAX) is View.PSAX


def test_a_view_without_a_class_is_the_null_of_a_condition():
    from echoflow.condition import NULLS

    assert NULLS["view"] == View.OTHER == -1
    assert View.OTHER not in list(View)
    assert View.parse("other", other=True) is View.parse(-1, other=True) is View.OTHER
    assert pickle.loads(pickle.dumps(View.OTHER)) is View.OTHER
    for name in ("OTHER", -1):
        with pytest.raises(InputError, match="unknown view"):
            View.parse(name)
