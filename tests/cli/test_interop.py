"""A complete stand-in release drives the verbs; weights go in and out of the published layout."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published import S, write_release, write_video_model

from echoflow.cli import main
from echoflow.data.manifest import Manifest
from echoflow.data.video import read_gray, write_video


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("published"))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    write_video(path, np.random.default_rng(0).integers(0, 255, (2, 112, 112), np.uint8), 32)
    return path


def animate(film: Path, weights: Path, out: Path, *more: str) -> int:
    words = ["animate", str(film), "--ef", "40", "--out", str(out), "--steps", "2"]
    return main([*words, "--weights", str(weights), *more])


def test_animate_with_a_release(film: Path, published: Path, tmp_path: Path) -> None:
    assert animate(film, published, tmp_path / "clip.mp4") == 0
    video, fps = read_gray(tmp_path / "clip.mp4")
    assert (video.shape, fps) == ((4, 112, 112), 32)


def test_synthesise_with_a_release(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    words = ["synthesise", "--out", str(out), "--n", "3", "--ef", "20:60", "--steps", "1"]
    assert main([*words, "--weights", str(published)]) == 0
    assert "no EF regressor" in capsys.readouterr().out
    manifest = Manifest.read(out)
    assert [(r.frames, r.fps, r.ef) for r in manifest.records] == [(4, 32.0, None)] * 3
    with (out / "FileList.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(20 <= float(row["EF_requested"]) <= 60 and row["EF"] == "" for row in rows)
    assert [row["NearestTraining"].split(":")[0] for row in rows][1:] == ["ped_psax", "lvh"]
    assert json.loads((out / "dataset.json").read_text())["relabelled"] is False


def test_a_cascade_needs_no_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "2SCM").mkdir()
    (tmp_path / "2SCM/config.yaml").write_text("unets: {}\n")
    for verb in ("import", "export"):
        assert main([verb, str(tmp_path / "2SCM"), "--out", str(tmp_path / "new")]) == 2
        assert "used as it lies there" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_import_export_and_animate_again(film: Path, published: Path, tmp_path: Path) -> None:
    """The same film of one seed from a release, the bundle made of it, and the release of that."""
    bundle, again = tmp_path / "bundle", tmp_path / "again"
    assert main(["import", str(published), "--out", str(bundle)]) == 0
    assert main(["export", str(bundle), "--out", str(again), "--data", "noise"]) == 0
    films = []
    for name, weights in (("a.avi", published), ("b.avi", bundle), ("c.avi", again)):
        assert animate(film, weights, tmp_path / name) == 0
        films.append((tmp_path / name).read_bytes())
    assert films[0] == films[1] == films[2]
    card = (again / "README.md").read_text()
    for section in (
        "license: apache-2.0",
        "## Data",
        "Noise.",
        "## Privacy",
        "## Recipe",
        "bibtex",
    ):
        assert section in card
    assert f"Converted from {published}" in card


def test_one_model_in_and_out(published: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    words = ["import", str(published), "--subfolder", "lvfm/FMvT-S14-4f4", "--out", str(ours)]
    assert main(words) == 0
    assert json.loads((ours / "config.json").read_text())["_class_name"] == "FMvTv1"
    assert main(["export", str(ours), "--out", str(theirs)]) == 0
    assert json.loads((theirs / "config.json").read_text())["_class_name"] == "DiffuserSTDiT"
    assert "Not recorded" in (theirs / "README.md").read_text()


def test_a_choice_of_models(
    film: Path, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = shutil.copytree(published, tmp_path / "release")
    shutil.copytree(release / "lvfm/FMvT-S14-4f4", release / "lvfm/FMvT-B14-4f4")
    assert animate(film, release, tmp_path / "clip.avi") == 2
    assert "choose one of lvfm/FMvT-B14-4f4, lvfm/FMvT-S14-4f4" in capsys.readouterr().err
    chosen = ("--model", "lvfm/FMvT-B14-4f4")
    assert animate(film, release, tmp_path / "clip.avi", *chosen) == 0


def test_quickstart_needs_a_regressor(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", "--weights", str(published), "--out", str(tmp_path / "q")]) == 2
    assert "has no EF regressor" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["import", "owner/name", "--out", "new"], "hf download owner/name"),
        (["import", "owner/name", "--subfolder", "vae/x", "--out", "new"], "name/vae/x"),
        (["import", "nowhere", "--out", "new"], "no hub id of the form owner/name"),
        (["import", "empty", "--out", "new"], "neither a model"),
        (["export", "empty", "--out", "new"], "neither a network"),
        (["synthesise", "--weights", "owner/name", "--out", "new"], "hf download owner/name"),
        (["synthesise", "--weights", "nano", "--model", "lvfm/x", "--out", "new"], "no release"),
    ],
)
def test_refusals(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(words) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_release_of_real_size(film: Path, tmp_path: Path) -> None:
    """FMvT-S/4-4f4, FMiT-S/4-4f4, A-VAE-4f4 and ResNet18 with random weights.

    The film has 64 frames; the dataset has a video model for 4, since decoding takes the time.
    """
    release = write_release(tmp_path / "release", S)
    assert animate(film, release, tmp_path / "clip.avi", "--guidance", "1") == 0
    assert read_gray(tmp_path / "clip.avi")[0].shape == (64, 112, 112)
    write_video_model(release, replace(S, frames=4))
    words = ["synthesise", "--out", str(tmp_path / "new"), "--n", "1", "--steps", "2"]
    assert main([*words, "--view", "PLAX", "--weights", str(release)]) == 0
    assert Manifest.read(tmp_path / "new").records[0].frames == 4
