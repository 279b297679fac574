"""`echoflow evaluate truth` on an untrained bundle, whose clips are too short to hold a beat."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from echoflow.cli import main
from echoflow.metrics.comparison import read_reports
from echoflow.types import InputError

FEW = ["--hearts", "2", "--view", "A4C", "--ef", "60"]


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_truth(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "truth"
    words = ["evaluate", "truth", *FEW, "--weights", str(bundle), "--steps", "1"]
    assert main([*words, "--out", str(out)]) == 0
    assert f"4 videos compared; open {out}.html" in capsys.readouterr().out
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "truth-files",
        "truth.html",
        "truth.json",
        "truth.md",
    ]
    assert not re.search(r"\bnan\b", out.with_suffix(".md").read_text())
    reports = {report.name: report for report in read_reports(out.with_suffix(".json"))}
    assert reports["obedience"].n == 4
    assert reports["counterfactual"].settings["motion_steps"] == 1
    assert reports["timing"].metrics["generated_without_rhythm"] == 1
    assert "no rhythm is found in 4 of 4 generated videos" in reports["timing"].notes[1]
    prints = reports["timing"].fingerprints
    judges = {"regressor", "finder", "reid, A4C", "reid, PSAX", "reid, PLAX"}
    assert prints.keys() == {"weights", *judges}
    other = replace(reports["timing"], fingerprints={**prints, "weights": "x", "regressor": "y"})
    with pytest.raises(InputError, match=r"compared: regressor '\w{16}' and 'y'\."):
        reports["timing"].compare(other)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ef", "0.4"], "Multiply a fraction by 100"),
        (["--ef", "20;40"], "--ef must be percentages such as 20,45,70; got '20;40'"),
        (["--ef", "95"], "a phantom heart beats with an ef in [5, 85]: 95"),
        (["--view", "A5C"], "unknown view"),
        (["--device", "tpu"], "unknown device"),
    ],
)
def test_refusals(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "truth", *words]) == 2
    assert sentence in capsys.readouterr().err
