"""Two reports side by side, from the command line too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from echoflow.cli import main
from echoflow.metrics.comparison import compared, paired, read_reports
from echoflow.metrics.report import Report
from echoflow.types import InputError


def report(fd: float, name: str = "distribution", **settings: object) -> Report:
    metrics = {"fd": fd, "fd_low": fd - 1, "fd_high": fd + 1, "kid": 0.1}
    return Report(name, metrics, 48, {"frames": 16, **settings}, {"against": "abc"})


def test_intervals_tell_numbers_apart_or_do_not() -> None:
    near, far = compared(report(5), report(6.5)), compared(report(5), report(8))
    assert near[0] == ("fd", "5", "4 to 6", "6.5", "5.5 to 7.5", "1.5", "overlap")
    assert far[0][-1] == "apart"
    assert near[1] == ("kid", "0.1", "-", "0.1", "-", "0", "-")


def test_reports_are_paired_by_name(tmp_path: Path) -> None:
    several = tmp_path / "b.json"
    told = {"reports": [json.loads(report(1, "x").to_json()), json.loads(report(2).to_json())]}
    several.write_text(json.dumps(told))
    (pair,) = paired((report(5),), read_reports(several))
    assert pair[1].metrics["fd"] == 2
    with pytest.raises(InputError, match="one has y, the other x, distribution"):
        paired((report(1, "y"),), read_reports(several))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reports": []}', '{"reports": [3]}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json holds no report"):
        read_reports(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"settings": None}, "settings"),
        ({"settings": ["frames"]}, "settings"),
        ({"fingerprints": None}, "fingerprints"),
        ({"name": ["distribution"]}, "name"),
        ({"n": "many"}, "n"),
        ({"n": -1}, "n"),
        ({"notes": "small"}, "notes"),
        ({"metrics": {"fd": 5, "fd_low": 6, "fd_high": 4}}, "the interval of fd"),
    ],
)
def test_reports_edited_by_hand_are_refused(
    change: dict[str, object], what: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**json.loads(report(5).to_json()), **change}))
    with pytest.raises(InputError, match=rf"a\.json holds no report: .*: {what} is not as"):
        read_reports(path)


def test_files_that_were_saved_again(tmp_path: Path) -> None:
    path, told = tmp_path / "a.json", report(5).to_json()
    path.write_text(told, encoding="utf-8-sig")
    assert read_reports(path) == (Report.from_json(told),)
    path.write_text(json.dumps({"reports": [json.loads(told)] * 2}))
    with pytest.raises(InputError, match="has the report distribution twice"):
        read_reports(path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"a\.json holds no report"):
        read_reports(path)


def test_what_is_not_compared_and_what_must_be_read_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (tmp_path / f"{name}.json" for name in "ab")
    one = replace(report(5), notes=("features of a random network",))
    other = replace(report(6), notes=("features of a random network", "few"))
    other = replace(other, metrics={"fd": 6.0, "mmd": 0.2})
    told = [json.loads(x.to_json()) for x in (one, report(1, "x"))]
    a.write_text(json.dumps({"reports": told}))
    b.write_text(other.to_json())
    assert main(["report", str(a), str(b)]) == 0
    printed = capsys.readouterr().out
    for said in (
        "Only in A: kid.",
        "Only in B: mmd.",
        "Note on A and B: features of a random network",
        "Note on B: few",
        "Only in A: x.",
        "A: against sha256 abc.",
    ):
        assert said in printed


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (tmp_path / f"{name}.json" for name in "abc")
    for path, one in ((a, report(5)), (b, report(8)), (c, report(8, frames=32))):
        path.write_text(one.to_json())
    out = tmp_path / "page.md"
    assert main(["report", str(a), str(b), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| fd | 5 | 4 to 6 | 8 | 7 to 9 | 3 | apart |" in printed
    assert out.read_text() == printed
    assert main(["report", str(a), str(c)]) == 2
    assert "frames 16 and 32" in capsys.readouterr().err
    assert main(["report", str(a), str(tmp_path / "none.json")]) == 2
    assert "does not exist" in capsys.readouterr().err
