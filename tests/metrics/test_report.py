"""Reports survive JSON, print as markdown, and refuse unequal comparisons."""

import math
from pathlib import Path

import pytest

from echoflow.metrics.comparison import to_markdown
from echoflow.metrics.report import Report, fingerprint, number
from echoflow.types import InputError


def report(**settings: object) -> Report:
    metrics = {"r2": 0.912345, "mae": 4.2, "floor": math.nan}
    return Report("ef", metrics, 96, {"steps": 25, "views": ("A4C",), **settings}, {"data": "ab"})


def test_json_round_trip_keeps_nan() -> None:
    again = Report.from_json(report().to_json())
    assert math.isnan(again.metrics["floor"])
    assert again.metrics["r2"] == 0.912345
    assert again.n == 96
    assert again.compare(report())["mae"] == 0.0  # tuples and lists are the same setting
    assert again.to_json() == report().to_json()


def test_markdown_row() -> None:
    assert report().row("mae", "r2", "floor") == "| ef | 96 | 4.2 | 0.9123 | - |"
    assert report().header("mae") == "| report | n | mae |\n| --- | --- | --- |"
    assert number(1234.5) == "1234"


def test_compare_gives_differences_and_refuses_other_settings() -> None:
    better = Report("ef", {"r2": 0.95}, 96, {"steps": 25, "views": ["A4C"]})
    assert report().compare(better) == {"r2": pytest.approx(0.037655)}
    with pytest.raises(InputError, match="steps 25 and 50"):
        report().compare(report(steps=50))
    with pytest.raises(InputError, match="different reports"):
        report().compare(Report("psnr", {}, 1, report().settings))


def test_long_settings_are_compared_whole_and_shown_in_part() -> None:
    many = report(frames=list(range(9)))
    assert "frames [0, 1, 2, '... 9 values']" in many.about()
    with pytest.raises(InputError, match=r"\[0, 1, 2, '... 9 values'\] and \[0, 1, 2, '... 10 v"):
        many.compare(report(frames=list(range(10))))
    assert many.compare(many)["mae"] == 0
    assert "'... 9 values'" in to_markdown(many, many)


def test_what_is_measured_may_differ_and_what_measures_may_not() -> None:
    def against(dataset: str, real: str) -> Report:
        prints = {"dataset": dataset, "against": real}
        return Report("fd", {"fd": 2.0, "fd_low": 1.0, "fd_high": 3.0}, 9, {"seed": 0}, prints)

    assert against("a", "r").compare(against("b", "r")) == {"fd": 0.0}
    with pytest.raises(InputError, match="against 'r' and 's'"):
        against("a", "r").compare(against("a", "s"))


def test_a_table_has_intervals_and_says_what_it_depends_on() -> None:
    one = Report("x", {"fd": 2.0, "fd_low": 1.0, "fd_high": 3.0, "kid": 0.5}, 9, {"seed": 0})
    assert one.names() == ("fd", "kid")
    assert one.interval("fd") == (1.0, 3.0)
    assert one.interval("kid") is None
    assert one.table().endswith("| fd | 2 | 1 to 3 |\n| kid | 0.5 | - |")
    assert one.about() == "n 9, seed 0."


def test_other_json_is_refused() -> None:
    for text in ("{}", "[]", "not json", '{"metrics": 3}'):
        with pytest.raises(InputError, match="not a report"):
            Report.from_json(text)


def test_fingerprint_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = fingerprint(tmp_path)
    assert first == fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(tmp_path) != first
    assert fingerprint(tmp_path / "b") != fingerprint(tmp_path)
    assert len(first) == 16
    both = fingerprint(tmp_path)
    (tmp_path / "report.json").write_text("what came of it")
    assert fingerprint(tmp_path) != both == fingerprint(tmp_path, but="report.json")
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "nothing")
