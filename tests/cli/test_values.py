"""Values typed on the command line: what they mean, and what is refused."""

from pathlib import Path

import pytest

from echoflow.cli.values import ef_range, video_path, views
from echoflow.types import InputError, View


def test_views_keep_the_order_asked_for() -> None:
    assert views("all") == (View.A4C, View.PSAX, View.PLAX)
    assert views("plax, a4c,PLAX") == (View.PLAX, View.A4C)


def test_ef_is_a_range_or_one_number() -> None:
    assert ef_range("15:75") == (15.0, 75.0)
    assert ef_range("40") == (40.0, 40.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.15:0.75", "Multiply a fraction by 100"),
        ("15:175", "percentage in"),
        ("75:15", "Swap"),
        ("high", "15:75"),
        ("15:", "percentage"),
        (":75", "15:75"),
        ("nan", "percentage in"),
    ],
)
def test_ef_refusals(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ef_range(text)


def test_unknown_view_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="A4C"):
        views("A5C")


def test_only_video_files_are_written() -> None:
    assert video_path(Path("a.GIF")) == Path("a.GIF")
    with pytest.raises(InputError, match=r"\.mp4"):
        video_path(Path("a.mov"))
