"""Every verb end to end on untrained networks: files appear where they were asked for."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from echoflow.calibration import Curve, EFCalibration
from echoflow.cli import main
from echoflow.data.manifest import Manifest
from echoflow.data.video import read_gray, write_video
from echoflow.interop.tuning import retune
from echoflow.networks import zoo
from echoflow.networks.zoo import STAGES
from echoflow.pipeline import load, weights_folder
from echoflow.training.nano import recipe_of
from echoflow.training.recipes import parse
from echoflow.types import View


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom dataset: A4C and PSAX of seven patients, nine frames each."""
    out = tmp_path_factory.mktemp("data") / "hearts"
    asked = ["--n", "7", "--frames", "9", "--fps", "16", "--view", "A4C,PSAX", "--ef", "15:75"]
    assert main(["phantom", "--out", str(out), "--gated", *asked]) == 0
    return out


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    write_video(path, np.random.default_rng(0).integers(0, 255, (3, 90, 120), np.uint8), 20)
    return path


def test_phantom(hearts: Path) -> None:
    manifest = Manifest.read(hearts)
    assert len(manifest.of(view=View.PSAX)) == 7
    assert all(15 <= record.ef <= 75 for record in manifest.records if record.ef is not None)
    assert json.loads((hearts / "phantom.json").read_text())["spec"]["phase"] == 0


def test_evaluate(hearts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(hearts), "--against", str(hearts), "--out", str(tmp_path / "r")]
    assert main([*words, "--floors", "0"]) == 0
    report, floor = json.loads((tmp_path / "r.json").read_text())["reports"]
    assert (report["n"], report["metrics"]["grey_w1"]) == (14, 0)
    assert floor["metrics"]["grey_w1"] > 0
    assert "| grey_w1 | 0 |" in (tmp_path / "r.md").read_text()
    assert (tmp_path / "r.html").is_file()
    assert "14 videos" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".avi"])
def test_animate(suffix: str, film: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / f"clip{suffix}"
    words = ["animate", str(film), "--ef", "40", "--frame", "2", "--out", str(out)]
    assert main([*words, "--weights", str(bundle)]) == 0
    assert read_gray(out)[0].shape == (8, 112, 112)


def test_animate_repeats_itself(film: Path, bundle: Path, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> bytes:
        out = tmp_path / name
        words = ["animate", str(film), "--ef", "40", "--seed", str(seed), "--out", str(out)]
        assert main([*words, "--weights", str(bundle)]) == 0
        return out.read_bytes()

    assert made("a.avi", 3) == made("b.avi", 3)
    assert made("c.avi", 4) != made("b.avi", 3)


def test_a_view_chooses_the_curve_of_the_calibration(
    film: Path, bundle: Path, tmp_path: Path
) -> None:
    plain, tuned = tmp_path / "plain", tmp_path / "tuned"
    shutil.copytree(bundle, plain)
    net = zoo.load(plain / "lvfm")
    for p in net.parameters():  # an untrained head says nothing, whatever it is told
        torch.nn.init.normal_(p, std=0.1)
    zoo.save(net, plain / "lvfm")
    shutil.copytree(plain, tuned)
    every, psax = Curve((0.0, 100.0), (0.0, 100.0)), Curve((10.0, 40.0), (20.0, 80.0))
    curves = EFCalibration({"all": every, "PSAX": psax})
    retune(tuned, load(bundle).motion, curves)

    def made(name: str, weights: Path, ef: str, *more: str) -> bytes:
        out = tmp_path / name
        words = ["animate", str(film), "--ef", ef, "--out", str(out), "--weights", str(weights)]
        assert main([*words, *more]) == 0
        return out.read_bytes()

    told = made("told.avi", plain, "20")
    assert made("view.avi", tuned, "40", "--view", "psax") == told
    assert made("none.avi", tuned, "20") == told
    assert made("other.avi", tuned, "40") != told


def test_weights_that_do_not_listen_are_not_calibrated(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = tmp_path / "deaf"
    shutil.copytree(bundle, deaf)
    before = (deaf / "bundle.json").read_bytes()
    assert main(["calibrate", str(deaf), "--n", "24"]) == 2
    assert "Train the model longer" in capsys.readouterr().err
    assert (deaf / "bundle.json").read_bytes() == before


@pytest.mark.slow
def test_a_calibration_keeps_the_start_and_the_guidance_it_is_for(tmp_path: Path) -> None:
    nano, mine = weights_folder("nano"), tmp_path / "mine"
    shutil.copytree(nano, mine)
    assert main(["calibrate", str(mine), "--n", "24", "--start", "9", "--guidance", "1.5"]) == 0
    before, after = load(nano), load(mine)
    assert after.motion == replace(before.motion, start_index=9, scale=1.5)
    assert after.calibration is not None
    assert after.calibration != before.calibration


def test_synthesise(bundle: Path, tmp_path: Path) -> None:
    words = ["synthesise", "--out", str(tmp_path / "new"), "--n", "3", "--ef", "20:60"]
    assert main([*words, "--view", "PLAX,A4C", "--weights", str(bundle), "--steps", "1"]) == 0
    manifest = Manifest.read(tmp_path / "new")
    assert [record.view for record in manifest.records] == [View.PLAX, View.A4C, View.PLAX]
    asked = [float(manifest.extras[record.uid]["EF_requested"]) for record in manifest.records]
    assert all(20 <= ef <= 60 for ef in asked)


def test_encode_then_train(
    hearts: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents, run = tmp_path / "latents", tmp_path / "run"
    assert main(["encode", str(hearts), "--out", str(latents), "--weights", str(bundle)]) == 0
    small = ["engine.batch=2", "engine.compile=false", "engine.precision=fp32"]
    words = ["train", "nano-reid", f"data={latents}", *small, "--out", str(run)]
    first = [*words, "engine.steps=2", "engine.checkpoint_every=1", "--resume"]  # as launchers do
    assert main(first) == 0
    assert f"nothing to resume in {run}; starts anew" in capsys.readouterr().out
    (run / "checkpoint-0000002" / "state.pt").write_bytes(b"half")
    capsys.readouterr()
    assert main([*words, "engine.steps=2", "--resume"]) == 0
    told = "checkpoint-0000001, past checkpoint-0000002, which is damaged"
    assert told in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    assert main([*words, "engine.steps=3", "--resume"]) == 2
    assert "engine.steps was 2, is 3" in capsys.readouterr().err


def test_print_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "nano-lvfm", "engine.lr=2e-3", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"  lr: 0.002 +# changed on the command line\n", printed)
    (tmp_path / "mine.yaml").write_text(printed)
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--print-config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(printed)


def test_print_config_of_nano_is_what_runs_at_each_stage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["train", "nano", "lvfm.engine.lr=2e-3", "--out", str(tmp_path), "--print-config"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    told = yaml.safe_load(printed)
    assert list(told) == list(STAGES)
    for stage in STAGES:
        changed = ["engine.lr=2e-3"] if stage == "lvfm" else []
        assert parse(told[stage]) == recipe_of(stage, tmp_path, changed)
    assert printed.count("# changed on the command line") == 1


@pytest.mark.slow
def test_quickstart(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new"
    assert main(["quickstart", "--out", str(out), "--weights", str(bundle)]) == 0
    assert len(Manifest.read(out / "dataset").records) == 24
    assert {"report.html", "report.md", "sweep.mp4", "sweep.gif"} <= {p.name for p in out.iterdir()}
    assert str(out / "report.html") in capsys.readouterr().out
