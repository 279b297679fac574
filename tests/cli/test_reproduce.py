"""Tables of the papers from the command line, on untrained networks and a handful of phantoms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cascade_folder import TREE, cascade, one_stage
from small_datasets import brightening, dynamic, row

from echoflow.cascade import Cascade
from echoflow.cli import main
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.video import write_video
from echoflow.metrics.comparison import read_reports
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressorConfig
from echoflow.networks.zoo import WEIGHTS
from echoflow.reproduce.downstream import FILTERED, REAL, UNFILTERED
from echoflow.reproduce.sweeps import named
from echoflow.types import Clip, Record, Split, View

TINY = ["engine.steps=1", "engine.batch=2", "engine.warmup=0", "engine.precision=fp32"]
TINY += ["ef.frames=8"]


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A4C of 16 simulated patients, 9 frames each: 12 to train on, 2 to validate and 2 to test."""
    out = tmp_path_factory.mktemp("hearts") / "real"
    asked = ["--n", "16", "--frames", "9", "--fps", "16", "--ef", "20:70", "--quality", "1"]
    assert main(["phantom", "--out", str(out), "--gated", *asked]) == 0
    return out


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Three videos of noise, one for each split."""
    return dynamic(tmp_path / "films", [row("0XA"), row("0XB", "VAL"), row("0XC", "TEST")])


def words(table: str, on: Path, bundle: Path, out: Path, *more: str) -> list[str]:
    return ["reproduce", table, "--on", str(on), "--weights", str(bundle), "--out", str(out), *more]


@pytest.mark.slow
def test_costs_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "3", "--out", str(tmp_path / "t")]) == 0
    printed = capsys.readouterr().out
    assert "| FMvT-S/2-4f4 | 36 | 36.8 | " in printed
    assert {p.suffix for p in (tmp_path / "t").iterdir()} == {".md", ".csv", ".json", ".png"}


def test_counts(films: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    assert main(words("7", films, bundle, tmp_path / "t")) == 0
    (report,) = read_reports(tmp_path / "t" / "table.json")
    told = {"train": 1, "val": 1, "test": 1, "frames": 5}
    assert report.metrics == told
    assert report.notes == ()
    assert "| videos | 7465 | 1 | -7464 | 1288 | 1 |" in capsys.readouterr().out
    (films / video_path("0XC")).write_bytes(b"")
    assert main(words("7", films, bundle, tmp_path / "u")) == 0
    assert "1 further video is left out (empty-file 1)" in capsys.readouterr().out


@pytest.mark.slow
def test_steps(hearts: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "t"
    asked = words("4", hearts, bundle, out, "--n", "8", "--steps", "1,2")
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "(simulated hearts)" in printed
    reports = read_reports(out / "table.json")
    assert [report.name for report in reports] == ["1", "2"]
    for report in reports:
        assert {"fd_low", "kid", "ef_r2", "ef_mae_high", "seconds_low"} <= report.metrics.keys()
        assert report.settings["sampling"]["solver"] == "euler"
        assert report.settings["ef: extractor_sha256"]
        assert report.n == 8
    again = (out / "reports" / "1.json").stat().st_mtime_ns
    assert main(asked) == 0
    assert (out / "reports" / "1.json").stat().st_mtime_ns == again
    capsys.readouterr()
    assert main([*asked[:-1], "1,3"]) == 2
    assert "steps was [1, 2], is [1, 3]" in capsys.readouterr().err


@pytest.mark.slow
def test_guidance_names_what_the_negative_branch_knows(
    hearts: Path, bundle: Path, tmp_path: Path, capsys
) -> None:
    out, asked = tmp_path / "t", ["--n", "7", "--steps", "1", "--scales", "0,1"]
    assert main(words("6", hearts, bundle, out, *asked)) == 0
    reports = {report.name: report for report in read_reports(out / "table.json")}
    assert list(reports) == ["0, nothing", "0, anatomy", "0, EF", "1"]
    assert reports["0, anatomy"].settings["sampling"]["negative"] == ["ef"]
    assert reports["0, nothing"].settings["sampling"]["negative"] is None
    assert "| 0, EF | " in capsys.readouterr().out


@pytest.mark.slow
def test_filter(hearts: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    assert main(words("5", hearts, bundle, tmp_path / "t", "--n", "4")) == 0
    (report,) = read_reports(tmp_path / "t" / "table.json")
    assert report.metrics["tau"] == pytest.approx(0.99)
    assert report.metrics["rejection_percent"] == 100 * report.settings["rejected"] / report.n


@pytest.mark.slow
def test_losses(hearts: Path, bundle: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Two test videos: enough for errors, not for a distance."""
    for place in ("ECHO_WEIGHTS", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(place, str(tmp_path / "empty"))
    assert main(words("1", hearts, bundle, tmp_path / "t")) == 2
    assert "each set needs at least 7 samples; got 2 and 2" in capsys.readouterr().err
    assert main(words("1", hearts, bundle, tmp_path / "u", "--extractor", "none")) == 0
    (report,) = read_reports(tmp_path / "u" / "table.json")
    assert report.n == 2
    assert {"mse_low", "psnr", "ssim_high"} <= report.metrics.keys()
    assert any("without LPIPS: the network vgg16 is not on" in note for note in report.notes)


def test_an_inception_score_stands_beside_distances(bundle: Path, tmp_path: Path) -> None:
    """Here of the network that only tests the program; of Inception it has the papers' name."""
    (tmp_path / "films" / "Videos").mkdir(parents=True)
    records = []
    for i in range(7):
        video = np.random.default_rng(i).integers(0, 255, (16, 112, 112), np.uint8)
        clip = Clip(f"V{i}", video, 16.0, View.A4C, "t", Split.TEST, ef=50.0)
        write_video(tmp_path / "films" / video_path(clip.uid), video, 16)
        records.append(Record.of(clip, video_path(clip.uid)))
    Manifest(tmp_path / "films", tuple(records)).write()
    asked = words("1", tmp_path / "films", bundle, tmp_path / "t", "--extractor", "random")
    assert main(asked) == 0
    (report,) = read_reports(tmp_path / "t" / "table.json")
    assert report.metrics["random is"] >= report.metrics["random is_low"] >= 1
    assert report.settings["random, is: splits"] == 10
    assert [named("inception", metric) for metric in ("is", "is_low")] == ["is", "is_low"]
    assert named("inception-fidelity", "is") == "is"


@pytest.mark.slow
def test_asked_and_measured(hearts: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "t"
    assert main(words("echodiffusion-1", hearts, bundle, out, "--gated")) == 0
    reports = {report.name: report for report in read_reports(out / "table.json")}
    best, single = reports["ours Gen, best of 3"], reports["ours Gen, single draw"]
    assert best.metrics["mae"] <= single.metrics["mae"]
    assert len(best.fingerprints["regressor"]) == 16
    assert not any("knows phantoms only" in note for note in best.notes)
    assert len((out / "scores-gen.csv").read_text().splitlines()) == 1 + 2 * 3
    assert "ours Rec, the real clips" in reports
    assert "| 1SCM Rec | 0.76 | - | - | 4.51 |" in capsys.readouterr().out


@pytest.fixture
def cascade_words(tmp_path: Path) -> list[str]:
    """Table 1 of EchoDiffusion by a published cascade that takes one step a stage."""
    (tmp_path / "real").mkdir()
    real = brightening(tmp_path / "real", ("TRAIN", "VAL", "VAL"))
    quick = {**TREE, "imagen": {**TREE["imagen"], "num_sample_steps": [1, 1]}}
    (tmp_path / "release").mkdir()
    cascade(tmp_path / "release" / "2SCM_v6", quick)
    zoo.save(zoo.build(EFRegressorConfig((8, 8, 8), 28, 8)), tmp_path / "ef" / "net")
    asked = words("echodiffusion-1", real, tmp_path / "release", tmp_path / "t")
    return [*asked, "--model", "2SCM", "--judge", str(tmp_path / "ef")]


def test_a_cascade_stands_in_the_row_of_the_paper(
    cascade_words: list[str], tmp_path, capsys
) -> None:
    assert main(cascade_words) == 0
    reports = {report.name: report for report in read_reports(tmp_path / "t" / "table.json")}
    ours = ["2SCM Gen", "2SCM Gen, single draw", "2SCM Rec", "2SCM Rec, single draw"]
    assert list(reports) == [*ours, "2SCM Rec, the real clips"]
    best = reports["2SCM Rec"]
    assert (best.n, best.metrics["r2"] <= 1) == (2, True)
    told = {key: best.settings[key] for key in ("model", "frame", "draws", "frames", "fps", "size")}
    assert told == {
        "model": "2SCM",
        "frame": "a random one of the clip",
        "draws": [3],
        "frames": 8,
        "fps": 32.0,
        "size": [16, 16],
    }
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("| 2SCM Rec |"))
    cells = row.split(" | ")
    assert (cells[1], cells[4]) == ("0.93", "2.22")  # of the paper: R2, MAE
    assert "-" not in cells[:6]


def test_a_cascade_goes_on_with_its_draws(
    cascade_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    animate, calls = Cascade.animate, list[int]()

    def tiring(cascade: Cascade, *given: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return animate(cascade, *given)

    monkeypatch.setattr(Cascade, "animate", tiring)
    assert main(cascade_words) == 130
    assert (tmp_path / "t" / "scores-gen.csv.part").is_file()
    assert main(cascade_words) == 0
    assert len(calls) == 5 + 3 + 6
    assert main(cascade_words) == 0
    assert len(calls) == 5 + 3 + 6
    zoo.save(zoo.build(EFRegressorConfig((8, 8, 8), 28, 8)), tmp_path / "ef" / "net")
    capsys.readouterr()
    assert main(cascade_words) == 2
    assert "holds results of another job (judge was" in capsys.readouterr().err


def test_a_cascade_on_recordings_needs_a_judge(cascade_words: list[str], capsys) -> None:
    assert main(cascade_words[:-2]) == 2
    assert "Name what measures their EF: --judge" in capsys.readouterr().err


@pytest.mark.slow
def test_downstream_goes_on_where_it_was(hearts: Path, bundle: Path, tmp_path: Path) -> None:
    """Four training sets, two trainings each, one test set for all."""
    out = tmp_path / "t"
    settings = [word for setting in TINY for word in ("--set", setting)]
    asked = words("8", hearts, bundle, out, "--n", "8", "--trainings", "2", *settings)
    assert main([*asked, "--at-once", "2"]) == 0
    reports = {report.name: report for report in read_reports(out / "table.json")}
    rebuilt = "Reconstructed, A-VAE of the weights"
    assert list(reports) == [REAL, rebuilt, UNFILTERED, FILTERED]
    assert {"r2", "mae_std", "rmse_high"} <= reports[REAL].metrics.keys()
    assert {"gap_r2", "gap_r2_low", "gap_mae_high"} <= reports[FILTERED].metrics.keys()
    assert reports[REAL].settings["training_videos"] == 12
    assert reports[FILTERED].settings["training_videos"] == 8
    assert all("not independent of real ones" in " ".join(r.notes) for r in reports.values())
    run = out / "runs" / "echoflow-filtered-1"
    assert len(json.loads((run / "test.json").read_text())) == 2
    (out / "reports" / "echoflow-filtered.json").unlink()
    trained = (run / "net" / WEIGHTS).stat().st_mtime_ns
    assert main(asked) == 0
    assert (run / "net" / WEIGHTS).stat().st_mtime_ns == trained
    assert read_reports(out / "table.json") == tuple(reports.values())


@pytest.mark.slow
def test_rare_efs_are_filled_up(hearts: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "t"
    settings = [word for setting in TINY for word in ("--set", setting)]
    asked = ["--sizes", "1", "--trainings", "1", *settings]
    assert main(words("echodiffusion-4", hearts, bundle, out, *asked)) == 0
    balanced, real = read_reports(out / "table.json")
    assert (balanced.metrics["videos"], real.metrics["videos"]) == (79, 12)
    there = [Manifest.read(out / name).records for name in ("balanced-1", "filled-1")]
    assert len({int(record.ef or 0) for part in there for record in part}) == 79
    assert 100 * len(there[1]) / 79 == pytest.approx(balanced.metrics["synthetic_percent"])
    assert "67 of 79 videos short" in capsys.readouterr().out


@pytest.mark.slow
def test_rare_efs_are_filled_up_by_a_cascade(hearts: Path, tmp_path: Path) -> None:
    out = tmp_path / "t"
    settings = [word for setting in TINY for word in ("--set", setting)]
    asked = ["--sizes", "1", "--trainings", "1", "--model", "mine", *settings]
    asked = words("echodiffusion-4", hearts, one_stage(tmp_path / "runs"), out, *asked)
    assert main(asked) == 0
    balanced, _ = read_reports(out / "table.json")
    assert balanced.metrics["videos"] == 79
    made = Manifest.read(out / "filling-1")
    ours = {record.uid for record in Manifest.read(hearts).of(Split.TRAIN)}
    assert {cells["BaseName"] for cells in made.extras.values()} <= ours
    assert {(r.frames, r.width, r.source) for r in made.records} == {(8, 16, "synthetic")}
    assert main([*asked, "--model", "other"]) == 2


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            ["reproduce", "8", "--on", "ON", "--model", "2SCM"],
            "can make echodiffusion-1 and echodi",
        ),
        (["reproduce", "8", "--on", "ON", "--judge", "nano"], "is for echodiffusion-1, not table"),
        (["reproduce", "9"], "unknown table '9'; choose one of 1, 2, 3"),
        (["reproduce", "8"], "name its folder with --on"),
        (["reproduce", "4", "--on", "ON", "--steps", "five"], "--steps takes numbers"),
        (["reproduce", "4", "--on", "ON", "--view", "PLAX"], "has no videos of PLAX; it has A4C"),
        (["reproduce", "8", "--on", "ON"], "has 1 TEST videos with an EF; this table needs at"),
        (["reproduce", "4", "--on", "ON"], "has 1 TRAIN videos with an EF; this table needs at"),
        (["reproduce", "7", "--on", "ON", "--column", "camel"], "Did you mean camus?"),
        (["reproduce", "8", "--on", "ON", "--recipe", "nano-lv"], "give a recipe of stage ef"),
    ],
)
def test_refusals(asked: list[str], sentence: str, films: Path, tmp_path: Path, capsys) -> None:
    said = [str(films) if word == "ON" else word for word in asked]
    assert main([*said, "--out", str(tmp_path / "t")]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_refused_command_leaves_its_folder_to_the_next(films: Path, tmp_path: Path) -> None:
    words = ["reproduce", "8", "--on", str(films), "--out", str(tmp_path / "t")]
    assert main([*words, "--recipe", "nano-lv"]) == 2
    job = tmp_path / "t" / "job.json"
    assert job.is_file()
    assert main([*words, "--recipe", "nano-ef"]) == 2  # for its few videos, not for the folder
    assert json.loads(job.read_text())["recipe"] == "nano-ef"
