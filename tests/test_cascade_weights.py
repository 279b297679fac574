"""Cascades from disk: published folders under each setting, runs of stages, and the command."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cascade_folder import FORMS, TREE, cascade

from echoflow.cascade_files import fingerprint_of, holds_one
from echoflow.cascade_weights import load
from echoflow.cli import main
from echoflow.cli.cascade import is_cascade
from echoflow.condition import Condition
from echoflow.data.video import read_gray, write_video
from echoflow.networks import zoo
from echoflow.networks.unet3d import UNet3D
from echoflow.sampling import Churn
from echoflow.training.table import named
from echoflow.types import InputError


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two published cascades."""
    root = tmp_path_factory.mktemp("release")
    cascade(root / "2SCM_v6")
    one = {**TREE, "unets": {"unet1": TREE["unets"]["unet1"]}}
    single = {"image_sizes": [8], "num_sample_steps": 64, "S_churn": 160}
    single |= {"temporal_downsample_factor": [4], "random_crop_sizes": None}
    cascade(root / "1SCM_v2", {**one, "imagen": {**TREE["imagen"], **single}}, FORMS[:1])
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of two stages, and of something else."""
    root = tmp_path_factory.mktemp("runs")
    settings = ["cascade.frames=8", "cascade.size=16", "cascade.fps=32"]
    for i, form in enumerate(FORMS, start=1):
        before = "[2, 8]" if i == 2 else "null"
        own = [f"cascade.before={before}", "cascade.crop=null", "cascade.lowres_level=0.1"]
        recipe = named(f"phantom-2SCM-{i}").changed([*settings, *own])
        run = root / f"mine-{i}"
        torch.manual_seed(0)
        zoo.save(UNet3D(replace(form, channels=1)), run / "net")
        (run / "recipe.yaml").write_text(recipe.to_yaml())
    (root / "other-1").mkdir()
    (root / "other-1" / "recipe.yaml").write_text(named("nano-ef").to_yaml())
    return root


def test_a_published_cascade_samples_as_its_config_says(release: Path) -> None:
    found = load(release, "2SCM")
    assert found.shape == (3, 8, 16, 16)
    assert [stage.fps for stage in found.stages] == [8.0, 32.0]
    first, second = (stage.plan for stage in found.stages)
    assert (first.steps, first.churn) == (32, Churn(80.0))
    assert (second.steps, second.churn) == (64, Churn(160.0))
    assert (second.solver, second.scale, second.negative, second.threshold) == (
        *("heun", 5.0, ("ef",)),
        0.95,
    )
    lowres = found.stages[1].lowres
    assert lowres is not None
    assert (lowres.resize, lowres.told, lowres.level) == ("trilinear", "level", 0.2)
    assert found.calls() == 63 + 127
    assert len(load(release / "1SCM_v2").stages) == 1


@pytest.mark.parametrize(
    ("settings", "told", "inflation", "null"),
    [
        ("ours", "level", 1.003, False),
        ("code", "level", 1.003, True),
        ("paper", "log-snr", math.sqrt(1.003), False),
    ],
)
def test_paper_and_code_by_name(release, settings, told, inflation, null) -> None:
    stage = load(release, "2SCM", settings).stages[1]
    assert stage.lowres is not None
    assert stage.plan.churn is not None
    assert stage.lowres.told == told
    assert stage.plan.churn.inflation == inflation
    assert stage.generator.net.config.zero_ef_is_null is null  # type: ignore[union-attr]


def test_runs_of_stages_are_a_cascade(runs: Path) -> None:
    for found in (load(runs, "mine"), load(runs)):
        assert found.shape == (1, 8, 16, 16)
        assert [stage.fps for stage in found.stages] == [8.0, 32.0]
        assert found.stages[0].plan.churn is None
        lowres = found.stages[1].lowres
        assert lowres is not None
        assert (lowres.told, lowres.resize, lowres.level) == ("log-snr", "trilinear", 0.1)


def test_other_bounds_of_churn_are_taken_from_the_config(tmp_path: Path) -> None:
    bounds = {"S_tmin": 0.1, "S_tmax": [40, 80], "S_noise": 1.0}
    cascade(tmp_path, {**TREE, "imagen": {**TREE["imagen"], **bounds}})
    first, second = (stage.plan.churn for stage in load(tmp_path).stages)
    assert (first, second) == (Churn(80.0, 0.1, 40.0, 1.0), Churn(160.0, 0.1, 80.0, 1.0))


def test_a_cascade_without_its_last_stage_is_none(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "mine-1", tmp_path / "mine-1")
    with pytest.raises(InputError, match=r"makes 2 frames of 8 pixels .* stage 2 is missing"):
        load(tmp_path, "mine")


def test_the_fingerprint_is_that_of_what_is_read(runs: Path, release: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(runs, root)
    before = fingerprint_of(root, "mine")
    (root / "scores.csv.part").write_text("rows")
    (root / "mine-2" / "metrics.jsonl").write_text("{}")
    assert fingerprint_of(root, "mine") == before
    shutil.copy(root / "mine-1" / "net" / zoo.WEIGHTS, root / "mine-2" / "net")
    assert fingerprint_of(root, "mine") != before
    assert fingerprint_of(release, "1SCM") != fingerprint_of(release, "2SCM")


def test_a_folder_with_a_cascade_needs_no_name(runs: Path, release: Path, tmp_path: Path) -> None:
    assert is_cascade(str(runs), ())
    assert is_cascade(str(release), ())
    (tmp_path / "several").mkdir()
    cascade(tmp_path / "several" / "foo")
    assert is_cascade(str(tmp_path / "several"), ("foo",))
    assert is_cascade(str(tmp_path / "several" / "foo"), ("foo",))
    assert not is_cascade(str(tmp_path / "several"), ("lvfm/foo",))
    assert not is_cascade(str(tmp_path), ())
    assert not is_cascade("nano", ())


def test_what_is_not_there(release: Path, runs: Path, tmp_path: Path) -> None:
    cases = [
        (("nano", "2SCM"), "the weights nano hold no cascade 2SCM; give"),
        ((release, None), "several cascades: 1SCM_v2, 2SCM_v6; choose one by --model"),
        ((release, "4SCM"), "there is not the cascade 4SCM in"),
        ((release / "2SCM_v6", "1SCM"), "holds a cascade of 2 stages, not 1SCM"),
        ((runs, "other"), "there is not the cascade other in .*; it has mine"),
        ((tmp_path, None), "there is not a cascade in"),
    ]
    for (weights, name), message in cases:
        with pytest.raises(InputError, match=message):
            load(weights, name)
    with pytest.raises(InputError, match="settings of a cascade 'papers'"):
        load(release, "2SCM", "papers")  # type: ignore[arg-type]


def test_a_stage_alone_as_it_is_documented(release: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "echodiffusion.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace('"FOLDER"', repr(str(release))), names)
    assert names["large"].shape == (1, 3, 8, 16, 16)
    assert float(names["large"].std()) > 0
    second, whole = names["second"], torch.zeros(1, *names["second"].shape)
    cond = Condition(ef=torch.tensor([40.0]), frame=whole[:, :, 0])
    with pytest.raises(InputError, match=r"= \(2, 8, 8\); got a video of \(8, 16, 16\). Reduce it"):
        second.sample(cond, [0], whole)
    small = torch.zeros(1, *names["first"].shape)
    with pytest.raises(InputError, match=r"= \(4, 8, 8\); got a video of \(2, 8, 8\)"):
        second.sample(cond, [0], small, frames=16)
    assert second.sample(cond, [0], small.repeat(1, 1, 2, 1, 1), frames=16).shape[2] == 16


def test_runs_that_do_not_fit(runs: Path, tmp_path: Path) -> None:
    for i, form in enumerate(FORMS, start=1):
        run = tmp_path / f"odd-{i}"
        recipe = (runs / f"mine-{i}" / "recipe.yaml").read_text()
        zoo.save(UNet3D(replace(form, channels=1)), run / "net")
        (run / "recipe.yaml").write_text(recipe.replace("- 2\n  - 8", "- 4\n  - 8"))
    with pytest.raises(InputError, match=r"to follow a stage of 4 frames of 8 pixels; .* 2 of 8"):
        load(tmp_path, "odd")
    (tmp_path / "odd-1" / "net" / zoo.WEIGHTS).unlink()
    with pytest.raises(InputError, match="has not finished; go on with"):
        load(tmp_path, "odd")


def test_pieces_that_are_missing_are_named(release: Path, runs: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(release / "2SCM_v6", tmp_path / "copy")
    with pytest.raises(InputError, match="holds a cascade of 2 stages, not 9SCM"):
        load(copy, "9SCM")
    (copy / "merged.pt").unlink()
    assert holds_one(copy)
    with pytest.raises(InputError, match=r"merged\.pt"):
        load(copy)
    later = shutil.copytree(runs / "mine-2", tmp_path / "lone" / "mine-2").parent
    assert holds_one(later)
    for name in (None, "mine"):
        with pytest.raises(InputError, match="the run of the first stage, mine-1, is not; train"):
            load(later, name)
    shutil.copytree(runs / "mine-1", later / "mine-1")
    zoo.save(zoo.build("LV-nano"), later / "mine-2" / "net")
    with pytest.raises(InputError, match="holds a LVSegmenter; a cascade is of UNet3D"):
        load(later)


# ---- the command --------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    write_video(path, np.random.default_rng(0).integers(0, 255, (3, 30, 40), np.uint8), 20)
    return path


def test_animate_by_a_cascade(
    film: Path, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "beat.gif"
    words = ["animate", str(film), "--ef", "0", "--out", str(out), "--weights", str(release)]
    words += ["--model", "2SCM", "--steps", "2", "--guidance", "2", "--draws", "2"]
    assert main(words) == 0
    first, second = (read_gray(tmp_path / f"beat-{n}.gif")[0] for n in (1, 2))
    assert first.shape == (8, 16, 16)
    assert (first != second).any()
    assert "beat-1.gif" in capsys.readouterr().out
    again = [*words[:4], "--out", str(tmp_path / "one.gif"), *words[6:-1], "1", "--seed", "1"]
    assert main(again) == 0
    assert (read_gray(tmp_path / "one.gif")[0] == second).all()


def test_animate_refuses(
    film: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["animate", str(film), "--ef", "40", "--out", str(tmp_path / "a.gif")]
    cases = [
        (["--model", "2SCM"], "the weights nano hold no cascade 2SCM"),
        (["--model", "2SCM", "--model", "1SCM"], "--model takes one cascade; got 2SCM, 1SCM"),
        (["--model", "9SCM", "--weights", str(runs)], "it has mine"),
        (["--model", "2SCM", "--settings", "mine"], "settings of a cascade 'mine'"),
        (["--model", "mine", "--weights", str(runs), "--settings", "ours"], "Leave --settings out"),
        (["--settings", "ours"], "--settings is for published cascades, not for latent models"),
        (["--churn", "0"], "--churn is for cascades, not for latent models; leave it out."),
        (["--model", "mine", "--weights", str(runs), "--view", "A4C"], "--view is for latent"),
        (["--model", "2SCM", "--ef", "0.4"], "Multiply a fraction by 100"),
    ]
    for more, message in cases:
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.gif"))


def test_runs_animate_by_any_solver(
    film: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.avi"
    words = ["animate", str(film), "--ef", "40", "--out", str(out), "--weights", str(runs)]
    words += ["--model", "mine", "--steps", "2", "--solver", "multistep"]
    assert main(words) == 0
    assert read_gray(out)[0].shape == (8, 16, 16)
    assert main([*words, "--inference", "bf16", "--steps", "1"]) == 0
    films = []
    for churn in ("0", "80"):
        assert main([*words, "--solver", "euler", "--steps", "4", "--churn", churn]) == 0
        films.append(read_gray(out)[0])
    assert (films[0] != films[1]).any()
    assert main([*words, "--frames", "11"]) == 0  # windows of few frames share fewer
    assert read_gray(out)[0].shape == (11, 16, 16)
