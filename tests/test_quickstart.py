"""The quickstart with a tiny pipeline: every promised file and a page that stands alone."""

import json
from pathlib import Path

import pytest
from tiny_engine import engine

from echoflow.data.manifest import Manifest
from echoflow.data.video import read_gray
from echoflow.quickstart.run import EFS, tell
from echoflow.synthesis import DatasetPlan
from echoflow.types import InputError

PLAN = DatasetPlan(n=6)


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Path:
    out = tmp_path_factory.mktemp("story") / "quickstart"
    page = tell(engine(), out, said.append, lambda done, total: None, "tiny", PLAN, {})
    assert page == out / "report.html"
    return out


def test_every_promised_file_is_there(folder: Path) -> None:
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "dataset",
        "mosaic.mp4",
        "sweep.mp4",
        "sweep.gif",
        "contact_sheet.png",
        "area_curves.png",
        "beat.png",
        "asked_measured.png",
        "similarities.png",
        "report.html",
        "report.md",
        "report.json",
    }
    assert len(Manifest.read(folder / "dataset").records) == 6


def test_the_sweep_shows_every_ef_side_by_side(folder: Path) -> None:
    video, fps = read_gray(folder / "sweep.mp4")
    assert fps == 16
    assert video.shape[2] == len(EFS) * 224 + (len(EFS) - 1) * 4


def test_the_page_stands_alone_and_the_markdown_finds_its_pictures(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert page.count("data:video/mp4;base64,") == 2
    text = (folder / "report.md").read_text()
    for name in ("contact_sheet.png", "sweep.mp4", "similarities.png"):
        assert f"]({name})" in text
    assert "nan" not in text


def test_the_numbers_are_also_there_for_programs(folder: Path) -> None:
    reports = {r["name"]: r for r in json.loads((folder / "report.json").read_text())}
    assert reports["obedience"]["n"] == 6
    assert reports["obedience"]["metrics"]["ef_mae"] < 4
    assert reports["sweep"]["metrics"]["in_order"] == 1.0
    assert set(reports["privacy"]["metrics"]) == {"candidates_rejected", "unseen_rejected_percent"}


def test_it_says_where_to_look(folder: Path, said: list[str]) -> None:
    assert str(folder / "report.html") in said[-1]
    assert str(folder / "dataset") in said[-1]


def test_a_taken_folder_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="not empty"):
        tell(engine(), folder, print, lambda done, total: None, "tiny", PLAN, {})
