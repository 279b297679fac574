"""The table of networks: names, the paper's values, JSON."""

import json

import pytest

from echoflow.cli import main


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "ReId-4f4", "FMiT-S/4-4f4"]) == 0
    _, columns, judge, image = (line.split() for line in capsys.readouterr().out.splitlines()[:4])
    assert [*columns[:3], columns[-1]] == ["model", "here", "paper", "remark"]
    assert judge == ["ReId-4f4", "11.31", "-", "0.035", "0.035", "-", "-", "-"]
    assert image[:7] == ["FMiT-S/4-4f4", "35.25", "36", "1.079", "1.057", "1.059", "1.06"]
    assert " ".join(image[7:]) == "0.9990 MACs verified; misprint: 36 M is FMvT-S"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "FMvT-S/2-4f4", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["table"], row["paper_macs"]) == ("FMvT-S/2-4f4", 3, 430.31)
    assert row["macs_ratio"] == pytest.approx(1, abs=1e-3)
    assert row["with_attention"] - row["without_attention"] == pytest.approx(30.173, abs=1e-3)


def test_unknown_names_get_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "FMvT-S2-4f4"]) == 2
    assert "Did you mean FMvT-S/2-4f4" in capsys.readouterr().err
