"""`echoflow from-mask`, by latent models and by Free-Echo's, and what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cascade_folder import cascade
from PIL import Image

from echoflow.cli import main
from echoflow.data.labels import Label, in_free_echo
from echoflow.data.video import read_gray
from echoflow.freeecho.latent import around, from_labels, started
from echoflow.freeecho.made import FromLabels
from echoflow.networks import zoo
from echoflow.networks.unet3d_labels import LabelUNet3DConfig
from echoflow.pipeline import Pipeline, load
from echoflow.training.recipes import parse
from echoflow.types import InputError, View


def cavity(side: int = 112) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    return (((x - 0.55) / 0.13) ** 2 + ((y - 0.45) / 0.25) ** 2 < 1).astype(np.uint8)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    Image.fromarray(cavity() * 255).save(path)
    return path


@pytest.fixture(scope="module")
def pipeline(bundle: Path) -> Pipeline:
    return load(bundle)


@pytest.fixture(scope="module")
def freeecho(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("freeecho")
    zoo.save(zoo.build(LabelUNet3DConfig(1, 16, 4, 8, (1, 2), heads=2, head=8)), folder / "net")
    return folder


def test_a_video_from_a_mask(mask: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    out, seen = tmp_path / "clip.gif", tmp_path / "pseudo.gif"
    words = ["from-mask", str(mask), "--ef", "40", "--weights", str(bundle), "--out", str(out)]
    assert main([*words, "--pseudo", str(seen)]) == 0
    assert read_gray(out)[0].shape == read_gray(seen)[0].shape == (8, 112, 112)
    said = capsys.readouterr().out
    assert "EF 40 % asked for, cavity as asked by Dice" in said
    assert str(out) in said
    first = out.read_bytes()
    assert main(words) == 0
    assert out.read_bytes() == first
    assert main([*words, "--seed", "1"]) == 0
    assert out.read_bytes() != first


def test_with_free_echos_weights(mask: Path, freeecho: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "clip.avi"
    words = ["from-mask", str(mask), "--weights", str(freeecho), "--out", str(out), "--steps", "4"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "mask.png has 112x112 pixels; this model needs 16x16; resize it" in error
    assert main([*words, "--resize", "--ef", "30", "--start", "2", "--reg", "0.001"]) == 0
    assert main([*words, "--resize", "--insertion", "released", "--reference", str(mask)]) == 0
    assert read_gray(out)[0].shape == (4, 16, 16)
    assert "no EF asked for; the video is" in capsys.readouterr().out


def test_frames_of_a_checkpoint_are_asked_and_those_of_a_run_are_known(
    mask: Path, freeecho: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "clip.avi"
    asked = ["from-mask", str(mask), "--resize", "--steps", "2", "--frames", "6"]
    assert main([*asked, "--weights", str(freeecho), "--out", str(out)]) == 0
    assert len(read_gray(out)[0]) == 6
    run = tmp_path / "run"
    shutil.copytree(freeecho, run)
    recipe = {"stage": "freeecho", "model": "Free-Echo", "data": "x"}
    (run / "recipe.yaml").write_text(parse(recipe).to_yaml())
    assert main([*asked, "--weights", str(run), "--out", str(out)]) == 2
    assert "was trained on 4 frames, as its recipe says; got 6" in capsys.readouterr().err


def test_a_reference_without_greys_is_refused(
    mask: Path, bundle: Path, tmp_path: Path, capsys
) -> None:
    Image.fromarray(np.full((112, 112), 90, np.uint8)).save(tmp_path / "flat.png")
    asked = ["from-mask", str(mask), "--weights", str(bundle), "--out", str(tmp_path / "clip.gif")]
    assert main([*asked, "--reference", str(tmp_path / "flat.png")]) == 2
    assert "flat.png is 90 all over; give a picture with the greys" in capsys.readouterr().err


def test_one_file_is_not_written_twice(mask: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "clip.gif"
    assert main(["from-mask", str(mask), "--out", str(out), "--pseudo", str(out)]) == 2
    assert "give each a file of its own" in capsys.readouterr().err


def test_the_walls_of_the_pseudo_video_move_as_the_ef_asks(pipeline: Pipeline) -> None:
    labels = in_free_echo(cavity())
    moving, still = (from_labels(pipeline, labels, ef) for ef in (60.0, None))
    areas = (moving.labels == Label.CAVITY).sum((1, 2))
    assert areas.min() < 0.7 * areas.max()
    assert (still.labels == labels).all()
    assert (still.pseudo == still.pseudo[0]).all()
    assert moving.verdict is not None
    assert moving.verdict.accepted


def test_without_a_start_the_pseudo_video_has_no_part(pipeline: Pipeline) -> None:
    """Then a video follows from the anatomy and the EF alone."""
    labels = in_free_echo(cavity())
    free = started(pipeline.motion, start=0)
    one, other = (
        from_labels(pipeline, labels, 50.0, plan=free, heart_rate=rate) for rate in (60.0, 90.0)
    )
    assert np.array_equal(one.video, other.video)
    assert not np.array_equal(one.pseudo, other.pseudo)


def test_weights_without_an_image_model_take_the_pseudo_image(pipeline: Pipeline) -> None:
    made = from_labels(replace(pipeline, image=None), in_free_echo(cavity()), 50.0, View.PSAX)
    assert made.verdict is None
    assert made.video.shape == (8, 112, 112)


def test_the_anatomy_stays_where_labels_know_nothing() -> None:
    labels = in_free_echo(cavity())
    pseudo, still = np.full((2, 112, 112), 90.0), np.full((112, 112), 20.0)
    mixed = around(pseudo, still, np.stack([labels, labels]))
    assert (mixed[:, labels == Label.CAVITY] > 80).all()
    assert np.allclose(mixed[:, -9:], 20)


def test_adherence_is_one_where_the_cavity_is_found_as_asked() -> None:
    maps = np.stack([in_free_echo(cavity()), in_free_echo(np.roll(cavity(), 4, axis=1))])
    made = FromLabels(maps, maps, maps, 16.0)
    found = made.adherence(lambda video, prior: video == Label.CAVITY)
    assert found.tolist() == [1, 1]
    still = made.adherence(lambda video, prior: np.stack([prior] * len(video)))
    assert still[1] < still[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ef", "0.4"], "got 0.4. Multiply a fraction by 100."),
        (["--start", "2"], "start_index must be in [0, 1] for 2 steps; got 2."),
        (["--view", "A2C"], "unknown view 'A2C'"),
        (["--out", "clip.txt"], "suffix of --out"),
        (["--transfer", "linear"], "unknown intensity transfer 'linear'"),
        (["--reg", "0"], "reg must be a positive number; got 0.0"),
        (
            ["--heart-rate", "1.2", "--ef", "40"],
            "heart rate must be in [20, 250] beats per minute; got 1.2",
        ),
        (["--method", "free-echo"], "--method is for the weights of Free-Echo, not for latent"),
        (
            ["--insertion", "paper", "--told", "labels"],
            "--insertion and --told are for the weights",
        ),
        (["--frames", "16"], "--frames is for the weights of Free-Echo, not for latent models"),
        (["--heart-rate", "60"], "--heart-rate is for a pseudo-video that moves, as it does with"),
        (
            ["--start", "0", "--ef", "40", "--heart-rate", "80", "--reg", "1"],
            "--reg and --heart-rate are for a pseudo-video, which plays no part from step 0 on",
        ),
        (["--layout", "mine"], "unknown layout of a label map 'mine'"),
        (["--transfer", "quantile", "--reg", "0.1"], "--reg is for a transport with entropy"),
    ],
)
def test_what_is_refused(
    words: list[str], message: str, mask: Path, bundle: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "clip.gif"
    asked = ["from-mask", str(mask), "--weights", str(bundle), "--out", str(out), *words]
    assert main(asked) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sdedit", "--transfer", "quantile"], "--transfer is for a pseudo-video, which sdedit"),
        (["labels", "--insertion", "paper"], "--insertion is for a pseudo-video, which labels"),
        (["labels", "--reg", "1", "--ef", "40"], "--reg and --ef are for a pseudo-video"),
        (["labels", "--pseudo", "p.mp4"], "--pseudo is for a pseudo-video, which labels does"),
        (
            ["labels", "--heart-rate", "70", "--view", "PLAX"],
            "--view and --heart-rate are for a pseudo-video, which labels",
        ),
        (
            ["sdedit", "--heart-rate", "60", "--view", "A4C"],
            "--heart-rate and --view are for a pseudo-video that moves, as it does with --ef",
        ),
        (["free-echo", "--frames", "0"], "Invalid value for '--frames'"),
    ],
)
def test_a_baseline_takes_nothing_that_it_would_not_use(
    words: list[str], message: str, mask: Path, freeecho: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "clip.gif"
    asked = ["from-mask", str(mask), "--weights", str(freeecho), "--resize", "--out", str(out)]
    assert main([*asked, "--method", *words]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((112, 112)), "all background; draw the left ventricle in it"),
        (cavity() * 9, "the label map holds 9; the layout free-echo has 0, 1, 2, 3, 4"),
        (cavity(64), "has 64x64 pixels; this model needs 112x112; resize it without smoothing"),
        (cavity()[:100] * 255, "has 100x112 pixels; this model needs 112x112, so cut it"),
        (np.where(cavity(), 3, 1), "no left ventricle (label 2)"),
    ],
)
def test_maps_that_do_not_do_are_refused(
    picture: np.ndarray, message: str, bundle: Path, tmp_path: Path, capsys
) -> None:
    Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "map.png")
    asked = ["from-mask", str(tmp_path / "map.png"), "--weights", str(bundle)]
    assert main([*asked, "--out", str(tmp_path / "clip.gif")]) == 2
    error = capsys.readouterr().err
    assert "map.png" in error
    assert message in error


def test_weights_that_do_not_do_are_refused_before_the_map_is_read(tmp_path: Path, capsys) -> None:
    asked = ["from-mask", str(tmp_path / "none.png"), "--out", str(tmp_path / "clip.gif")]
    assert main([*asked, "--weights", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
    cascade(tmp_path / "2SCM")
    assert main([*asked, "--weights", str(tmp_path / "2SCM")]) == 2
    assert "2SCM holds a cascade, which begins from a frame" in capsys.readouterr().err


def test_a_label_map_of_another_size_is_refused_by_the_library(pipeline: Pipeline) -> None:
    with pytest.raises(InputError, match="needs a label map of 112x112 pixels; got 64x64"):
        from_labels(pipeline, in_free_echo(cavity(64)), 40.0)
