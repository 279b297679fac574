"""A reader study: what readers see gives nothing away, and answers are scored as known by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from echoflow.cli import main
from echoflow.data.prepare import Window
from echoflow.data.video import probe, write_video
from echoflow.reader_study import Group, kappa, make, score
from echoflow.types import InputError

WINDOW = Window(8, 16.0, 32)


def folder(root: Path, n: int, frames: int = 30, fps: float = 25, side: int = 40) -> Path:
    """Videos of noise; the last is too short for any study, one file is no video."""
    root.mkdir()
    rng = np.random.default_rng(n)
    for i in range(n):
        video = rng.integers(0, 255, (frames, side, side), np.uint8)
        write_video(root / f"v{i}.avi", video, fps)
    write_video(root / "zz_short.avi", np.zeros((2, side, side), np.uint8), fps)
    return root


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> list[Group]:
    root = tmp_path_factory.mktemp("study")
    recorded = folder(root / "recorded", 6)
    return [
        Group("real", recorded, 5),
        Group("factual", folder(root / "made", 4, 20, 16, 32), 3),
        Group("counterfactual", folder(root / "other", 3, 64, 32, 56), 2),
    ]


@pytest.fixture(scope="module")
def study(groups: list[Group], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(groups, tmp_path_factory.mktemp("made") / "study", WINDOW, seed=4)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answered(study: Path, path: Path, right: list[bool], **cells: str) -> Path:
    """Answers that are right where `right` says so."""
    lines = ["Clip,Answer,Seconds"]
    for row, good in zip(rows(study / "key.csv"), right, strict=True):
        real = (row["Group"] == "real") == good
        number = row["Clip"]
        lines.append(f"{number},{cells.get(number, 'real' if real else 'synthetic')},2.5")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_clips_are_alike_in_all_that_is_not_the_heart(study: Path) -> None:
    clips = sorted((study / "for-readers" / "clips").iterdir())
    assert [clip.name for clip in clips] == [f"{i:03d}.mp4" for i in range(1, 11)]
    assert {probe(clip) for clip in clips} == {(8, 32, 32, 16.0)}
    key = rows(study / "key.csv")
    kinds = [row["Group"] for row in key]
    assert sorted(kinds) == ["counterfactual"] * 2 + ["factual"] * 3 + ["real"] * 5
    assert kinds != sorted(kinds, reverse=True)  # not in the order of the groups
    assert len({(row["Source"], row["FileName"]) for row in key}) == 10
    assert not any(row["FileName"] == "zz_short" for row in key)
    handed = "".join(
        path.read_text() for path in (study / "for-readers").iterdir() if path.is_file()
    )
    assert "factual" not in handed


def test_the_same_seed_makes_the_same_files(
    groups: list[Group], study: Path, tmp_path: Path
) -> None:
    again = make(groups, tmp_path / "again", WINDOW, seed=4)
    for path in sorted(study.rglob("*.*")):
        assert (again / path.relative_to(study)).read_bytes() == path.read_bytes()
    other = make(groups, tmp_path / "other", WINDOW, seed=5)
    assert (other / "key.csv").read_text() != (study / "key.csv").read_text()


def test_scores_by_hand(study: Path, tmp_path: Path) -> None:
    kinds = [row["Group"] for row in rows(study / "key.csv")]
    first = [kind == "real" for kind in kinds]  # calls everything real
    a = answered(study, tmp_path / "a.csv", first)
    b = answered(study, tmp_path / "b.csv", [True] * 10)
    found = score(study, [a, b])
    assert found.metrics["accuracy"] == pytest.approx(0.75)
    assert found.metrics["accuracy_real"] == 1.0
    assert found.metrics["accuracy_factual"] == found.metrics["accuracy_counterfactual"] == 0.5
    assert found.metrics["accuracy_reader_1"] == 0.5
    assert found.metrics["accuracy_reader_2"] == 1.0
    assert found.metrics["said_real"] == pytest.approx(0.75)
    assert found.metrics["agreement"] == 0.5
    assert found.metrics["kappa"] == 0.0  # the first would agree with anybody as often
    assert found.metrics["seconds"] == 2.5
    assert found.metrics["accuracy_low"] < 0.75 < found.metrics["accuracy_high"]
    assert found.n == 10
    assert found.settings["groups"] == {"counterfactual": 2, "factual": 3, "real": 5}


def test_one_reader_agrees_with_nobody(study: Path, tmp_path: Path) -> None:
    found = score(study, [answered(study, tmp_path / "a.csv", [True] * 10)])
    assert found.metrics["accuracy"] == 1.0
    assert "kappa" not in found.metrics
    assert found.notes == ("One reader: agreement is not known.",)


def test_kappa() -> None:
    a, b = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 0, 1], bool)
    assert kappa(a, b) == pytest.approx((0.8 - 0.48) / 0.52)
    assert math.isnan(kappa(np.ones(3, bool), np.ones(3, bool)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace("003,", "011,"), "unknown clip '011'"),
        (lambda s: s.replace("004,", "003,"), "answered twice"),
        (lambda s: s.replace("real", "fake", 1), "unknown answer 'fake'"),
        (lambda s: "\n".join(s.splitlines()[:-2]), "no answer for 2 clips, 009, 010 first"),
        (lambda s: s.replace("Answer", "Reply"), "lacks the column Answer"),
    ],
)
def test_answers_that_cannot_be_used(study: Path, tmp_path: Path, change, message: str) -> None:
    path = answered(study, tmp_path / "a.csv", [True] * 10)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        score(study, [path])


def test_answers_from_a_spreadsheet(study: Path, tmp_path: Path) -> None:
    path = answered(study, tmp_path / "a.csv", [True] * 10)
    lines = [line.lstrip("0") for line in path.read_text().replace("real", "REAL").splitlines()]
    path.write_text("\r\n".join(lines))
    assert score(study, [path]).metrics["accuracy"] == 1.0


def test_studies_that_cannot_be_made(groups: list[Group], tmp_path: Path) -> None:
    real, factual, _ = groups
    for given, message in (
        ([real], "at least one of generated"),
        ([factual], "needs the group 'real'"),
        ([real, real], "given twice"),
        ([real, Group("made", factual.dataset, 0)], "at least 1 clip"),
        ([real, Group("made", factual.dataset, 9)], "has 4 videos .* 9 were asked for"),
    ):
        with pytest.raises(InputError, match=message):
            make(given, tmp_path / "study", WINDOW)
        assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="one length and one rate"):
        make([real, factual], tmp_path / "study", Window())


def test_from_the_command_line(
    groups: list[Group], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, (real, factual, _) = tmp_path / "s", groups
    given = [f"real={real.dataset}:3", f"factual={factual.dataset}:2"]
    options = ["--out", str(out), "--seconds", "0.5", "--size", "32"]
    assert main(["study", "make", *given, *options]) == 0
    assert "5 clips in" in capsys.readouterr().out
    answers = answered(out, tmp_path / "a.csv", [True] * 5)
    assert main(["study", "score", str(out), str(answers)]) == 0
    assert "accuracy_factual" in capsys.readouterr().out
    assert main(["study", "make", "real=here", *options]) == 2
    assert "a group is NAME=DATASET:N" in capsys.readouterr().err
