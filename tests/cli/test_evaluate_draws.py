"""`echoflow evaluate draws`: what it writes, what measures, and what it refuses."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cascade_folder import one_stage
from small_datasets import brightening

from echoflow.cascade import Cascade
from echoflow.cascade_weights import load as load_cascade
from echoflow.cli import main
from echoflow.cli.cascade import plans_of
from echoflow.data.sources import open_source
from echoflow.data.video import read_gray
from echoflow.judges import Regressor, sha256_of
from echoflow.metrics.comparison import read_reports
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressorConfig
from echoflow.pipeline import load
from echoflow.sampling import Churn
from echoflow.training.table import named


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightening(tmp_path_factory.mktemp("videos"), ("VAL",) * 4)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished runs of a cascade of one stage and of an EF network."""
    root = one_stage(tmp_path_factory.mktemp("runs"))
    zoo.save(zoo.build(EFRegressorConfig((8, 8, 8), 28, 8)), root / "ef" / "net")
    (root / "ef" / "recipe.yaml").write_text(named("nano-ef").to_yaml())
    return root


@pytest.fixture
def words(videos: Path, mine: Path, tmp_path: Path) -> list[str]:
    """A command that is short."""
    out = ["--out", str(tmp_path / "scores.csv"), "--draws", "2", "--n", "2"]
    return ["evaluate", "draws", str(videos), "--weights", str(mine), "--model", "mine", *out]


@pytest.mark.slow
def test_the_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*words, "--steps", "1", "--ef", "15:85"]
    assert main([*words, "--judge", "nano"]) == 0
    told = capsys.readouterr().out
    assert "| single draw | 4 |" in told
    assert "nano knows phantoms only, and these videos are none: trust no EF" in told
    (report,) = read_reports(Path(words[words.index("--out") + 1]).with_suffix(".json"))
    regressor = load("nano").regressor
    assert isinstance(regressor, Regressor)
    assert report.fingerprints["regressor"] == sha256_of(regressor.net)[:16]
    assert (report.settings["split"], report.settings["ef"]) == ("VAL", [15.0, 85.0])
    assert main([*words, "--split", "TEST"]) == 2
    assert "has no videos of split TEST" in capsys.readouterr().err
    assert main([*words, "--ef", "0.2:0.8"]) == 2
    assert "Multiply a fraction by 100" in capsys.readouterr().err


def test_an_ef_network_measures_by_its_run_or_folder(
    words: list[str], mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for judge in (mine / "ef", mine / "ef" / "net"):
        assert main([*words, "--judge", str(judge)]) == 0
        assert "knows phantoms only" not in capsys.readouterr().out
        found.append((tmp_path / "scores.csv").read_text())
        (tmp_path / "scores.csv").unlink()
    assert found[0] == found[1]


def test_what_cannot_measure_is_refused_before_anything_is_drawn(
    words: list[str], mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "recipe.yaml").write_text(named("nano-ef").to_yaml())
    cases = [
        ([], "knows phantoms only, and these videos are none. Name what measures their EF"),
        (["--judge", str(mine / "mine-1")], "holds a UNet3D; give an EF regressor"),
        (["--judge", str(tmp_path / "unfinished")], "has not finished; go on with"),
    ]
    for more, message in cases:
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished"]


def test_the_videos_of_draws_are_a_dataset(words: list[str], mine: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    words = [*words, "--judge", str(mine / "ef"), "--videos", str(kept)]
    assert main(words) == 0
    made, real = open_source(kept), open_source(Path(words[2]))
    rows = list(csv.reader((tmp_path / "scores.csv").open()))[1:]
    assert [record.uid for record in made.records] == [
        f"{row[0]}_{draw:02d}" for row, draw in zip(rows, (1, 2, 1, 2), strict=True)
    ]
    splits = {record.uid: record.split for record in real.records}
    for record, row in zip(made.records, rows, strict=True):
        further = made.extras[record.uid]
        assert (further["BaseName"], float(further["EF_requested"])) == (row[0], float(row[1]))
        assert (record.ef, record.split) == (float(row[2]), splits[row[0]])
        video, fps = read_gray(made.video(record))
        assert (video.shape, fps) == ((8, 16, 16), 8.0)
        assert (record.frames, record.height, record.source) == (8, 16, "synthetic")
    assert not list(tmp_path.glob(".kept*"))
    group = [f"real={words[2]}:2", f"factual={kept}:2", "--out", str(tmp_path / "study")]
    assert main(["study", "make", *group, "--seconds", "0.5", "--fps", "8", "--size", "16"]) == 0
    compared = ["evaluate", str(kept), "--against", words[2], "--floors", "0"]
    assert main([*compared, "--out", str(tmp_path / "report")]) == 0
    assert main(words) == 2  # nothing finished is written over


def settings(words: list[str], *more: str) -> dict[str, Any]:
    """What a report says of its draws, whose score file is then removed."""
    out = Path(words[words.index("--out") + 1])
    assert main([*words, *more]) == 0
    (report,) = read_reports(out.with_suffix(".json"))
    out.unlink()
    return dict(report.settings)


def test_the_still_is_from_where_it_was_in_training(
    words: list[str], mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words, "--judge", str(mine / "ef")]
    assert settings(words)["frame"] == "first"  # as the recipe of these phantoms says
    for frame in ("clip", "video"):
        assert settings(words, "--frame", frame)["frame"] == frame
    assert main([*words, "--frame", "last"]) == 2
    assert "unknown frame 'last'; choose one of clip, video, first" in capsys.readouterr().err


def test_without_churn_draws_are_deterministic(
    words: list[str], mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words, "--judge", str(mine / "ef"), "--steps", "2"]
    assert settings(words)["churn"] == [0.0]  # as the recipe of these phantoms says
    assert settings(words, "--churn", "40", "--solver", "euler")["churn"] == [40.0]
    assert main([*words, "--churn", "40", "--solver", "multistep"]) == 2
    assert "churn needs a one-step solver" in capsys.readouterr().err
    cascade = load_cascade(str(mine), "mine")
    quiet, loud = (plans_of(cascade, 2, None, "heun", churn) for churn in (0.0, 40.0))
    assert quiet[0].churn is None
    assert loud[0].churn == replace(cascade.plans()[0].churn or Churn(), amount=40.0)


def test_draws_that_were_stopped_at_once_go_on(
    words: list[str], mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = [*words, "--judge", str(mine / "ef"), "--videos", str(tmp_path / "kept")]
    with monkeypatch.context() as patch:
        patch.setattr(Cascade, "animate", stopping)
        assert main(words) == 130
    assert (tmp_path / "scores.csv.part").is_file()
    assert main(words) == 0
    assert len(open_source(tmp_path / "kept").records) == 4


def test_rows_without_videos_are_not_gone_on_with_for_a_dataset(
    words: list[str],
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nor the other way round: a dataset of draws would lack those that were scored alone."""
    words, animate, calls = [*words, "--judge", str(mine / "ef")], Cascade.animate, list[int]()

    def tiring(cascade: Cascade, *given: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return animate(cascade, *given)

    kept = ["--videos", str(tmp_path / "kept")]
    monkeypatch.setattr(Cascade, "animate", tiring)
    assert main([*words, *kept]) == 130
    assert main(words) == 2
    assert "holds rows of other settings, weights or videos" in capsys.readouterr().err
    calls.clear()
    (tmp_path / "scores.csv.part").unlink()
    shutil.rmtree(tmp_path / ".kept.draws")
    assert main(words) == 130
    assert main([*words, *kept]) == 2
    assert "has rows whose videos are gone; remove it" in capsys.readouterr().err
