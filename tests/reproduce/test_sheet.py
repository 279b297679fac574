"""The paper's number, ours, the difference: in markdown, CSV, JSON and as a picture."""

from __future__ import annotations

import csv
import io
import json

import pytest

from echoflow.metrics.report import Report
from echoflow.reproduce.printed import Printed
from echoflow.reproduce.sheet import Sheet

PAPER = Printed(
    "8",
    "A. Body 2025",
    "Table 8",
    "What it shows",
    "a cell",
    {"first": {"dynamic": {"r2": 0.8, "mae": 4.0}}, "second": {"lvh": {"r2": 0.5}}},
)
METRICS = {"r2": 0.75, "r2_low": 0.7, "r2_high": 0.8, "mae": 5.0, "more": 1.0}


def sheet() -> Sheet:
    reports = {
        "first": Report("first", METRICS, 40, {"seed": 0, "fps": 16}, {}, ("Read this.",)),
        "ours": Report("ours", {"r2": 0.6}, 20, {"seed": 0, "fps": 32}, {}, ("Read this.",)),
    }
    return Sheet(PAPER, "dynamic", "hearts (simulated)", reports, ("r2", "mae", "fid"))


def test_markdown() -> None:
    page = sheet().to_markdown()
    assert page.startswith("# A. Body 2025, Table 8, dynamic, and ours on hearts (simulated)\n")
    assert "| row | r2, paper | r2, ours | r2, difference | mae, paper | mae, ours | " in page
    assert "| first | 0.8 | 0.75 (0.7 to 0.8) | -0.05 | 4 | 5 | +1 |" in page
    assert "| second | - | - | - | - | - | - |" in page
    assert "| ours | - | 0.6 | - | - | - | - |" in page
    assert "Not at hand of the paper: a cell." in page
    assert "Ours: seed 0." in page
    assert "first: n 40, fps 16." in page
    assert page.count("Note: Read this.") == 1
    assert "a difference is one between data sets" in page


LIKE = {"extractor": "i3d", "frames": 16, "fps": 32.0, "size": [112, 112]}


@pytest.mark.parametrize(
    ("network", "n", "other", "told"),
    [
        ("i3d", 2048, {}, ""),
        ("i3d", 48, {}, "48 videos for 2048"),
        ("i3d", 4000, {"fps": 16.0, "frames": 8}, "frames 8 for 16, fps 16.0 for 32.0"),
        ("inception", 2048, {}, "it is not by the network i3d"),
    ],
)
def test_a_distance_stands_beside_the_papers_where_it_was_measured_alike(
    network: str, n: int, other: dict[str, object], told: str
) -> None:
    settings = {f"{network}: {key}": value for key, value in {**LIKE, **other}.items()}
    paper = Printed("6", "A. Body", "Table 6", "x", "nothing", {"1": {"all": {"fvd16": 28.0}}})
    ours = {"1": Report("1", {"fvd16": 29.0}, n, settings)}
    made = Sheet(paper, "all", "x", ours, ("fvd16",))
    row = next(csv.DictReader(io.StringIO(made.to_csv())))
    assert (row["paper"], row["ours"], row["difference"]) == ("28", "29", "" if told else "1")
    page = made.to_markdown()
    assert f"| 28 | 29 | {'-' if told else '+1'} |" in page
    assert ("fvd16 has no difference from the paper" in page) == bool(told)
    assert told in page


def test_rows_that_are_numbers_are_in_order() -> None:
    steps = Printed("4", "A. Body", "Table 4", "x", "nothing", {"5": {}, "50": {}})
    reports = {name: Report(name, {"r2": 0.5}, 9) for name in ("100", "10")}
    assert Sheet(steps, "all", "x", reports, ("r2",)).rows == ("5", "10", "50", "100")


def test_rows_that_begin_with_a_number_are_in_the_order_of_it() -> None:
    guided = Printed("6", "A. Body", "Table 6", "x", "nothing", {"10, EF": {}, "1": {}})
    reports = {name: Report(name, {"r2": 0.5}, 9) for name in ("1.5, EF", "1.5, all", "7, EF")}
    made = Sheet(guided, "all", "x", reports, ("r2",))
    assert made.rows == ("1", "1.5, EF", "1.5, all", "7, EF", "10, EF")


def test_what_rows_share_is_told_once() -> None:
    """Also inside a setting, and of notes that differ in a decimal number alone."""
    notes = ("5 of 9 are -0.25 apart", "5 of 9 are 0.75 apart", "6 of 9 are 0.5 apart")
    reports = {
        name: Report(name, {"r2": 0.5}, 9, {"plan": {"steps": 5, "scale": scale}}, {}, notes)
        for name, scale in (("a", 1.0), ("b", 2.0))
    }
    page = Sheet(PAPER, "lvh", "x", reports, ("r2",)).to_markdown()
    assert "Ours: n 9, plan steps 5." in page
    assert "\nb: plan scale 2.0.\n" in page
    assert page.count("Note: ") == 2
    assert "Note: 5 of 9 are -0.25 to 0.75 apart\n" in page


def test_csv_has_a_line_for_every_number() -> None:
    rows = list(csv.DictReader(io.StringIO(sheet().to_csv())))
    assert len(rows) == 3 * 2
    wanted = {"row": "first", "metric": "r2", "paper": "0.8", "ours": "0.75", "low": "0.7"}
    assert wanted.items() <= rows[0].items()
    assert rows[0]["n"] == "40"
    assert float(rows[0]["difference"]) < 0
    assert rows[2]["ours"] == rows[2]["n"] == ""


def test_json_holds_reports_that_can_be_compared() -> None:
    told = json.loads(sheet().to_json())
    again = [Report.from_json(json.dumps(one)) for one in told["reports"]]
    assert again[0].compare(again[0])["r2"] == 0


def test_picture() -> None:
    assert sheet().to_png().startswith(b"\x89PNG")
    assert Sheet(PAPER, "camus", "nothing", {}, ()).to_png().startswith(b"\x89PNG")
