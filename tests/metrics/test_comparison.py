"""Two reports side by side, from the command line too."""

from __future__ import annotations

import json
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
