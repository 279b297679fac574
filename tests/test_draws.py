"""EchoDiffusion's protocol: what is asked, what is written, how it goes on, and the command."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cascade_folder import FORMS
from small_datasets import brightening
from torch import Tensor

from echoflow.cli import main
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.draws import Subject, Task, score, some
from echoflow.metrics.scores import Draws
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressorConfig
from echoflow.networks.unet3d import UNet3D
from echoflow.rulers import caveats, ruler
from echoflow.training.table import named
from echoflow.types import InputError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightening(tmp_path_factory.mktemp("videos"), ("VAL",) * 4)


def animate(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
    """Stills that fade as far as the EF asks, and a grain of the seed."""
    fade = 1 - torch.linspace(0, 1, 4)[:, None, None] * ef[0] / 100
    grain = np.random.default_rng(seeds[0]).integers(0, 4, (4, 16, 16))
    return (stills[:, None] * fade + torch.from_numpy(grain)).clamp(0, 255).byte()


def measure(video: np.ndarray, fps: float) -> float:
    first, last = (float(frame.mean()) for frame in (video[0], video[-1]))
    return 100 * (1 - last / max(first, 1)) if last < first else 50.0


SUBJECT = Subject(animate, Window(4, 8.0, 16, short="black", time="zoom"), 8.0)


def scores(folder: Path, out: Path, task: Task, subject: Subject = SUBJECT) -> list[list[str]]:
    manifest = open_source(folder)
    score(subject, manifest, manifest.records, task, measure, None, out)
    with out.open() as file:
        return list(csv.reader(file))[1:]


def test_a_row_of_every_draw(videos: Path, tmp_path: Path) -> None:
    rows = scores(videos, tmp_path / "s.csv", Task(3))
    assert [row[0] for row in rows] == [f"0X{i}" for i in range(4) for _ in range(3)]
    assert [float(row[1]) for row in rows[::3]] == [30.0, 50.0, 70.0, 90.0]
    draws = Draws.read(tmp_path / "s.csv")
    assert np.abs(draws.asked - draws.measured).max() < 8
    assert len({row[2] for row in rows[:3]}) > 1  # clip, frame and noise are drawn anew
    assert np.isnan(draws.lpips).all()


def test_a_counterfactual_ef_is_that_of_the_video_in_every_draw(videos: Path, tmp_path) -> None:
    asked = [row[1] for row in scores(videos, tmp_path / "s.csv", Task(2, (15.0, 85.0)))]
    assert asked[::2] == asked[1::2]
    assert len(set(asked)) == 4
    assert all(15 <= float(ef) <= 85 for ef in asked)


def test_a_video_does_not_depend_on_the_others(videos: Path, tmp_path: Path) -> None:
    manifest, out = open_source(videos), tmp_path / "s.csv"
    score(SUBJECT, manifest, manifest.records[2:3], Task(2), measure, None, out)
    rows = scores(videos, tmp_path / "all.csv", Task(2))
    assert list(csv.reader(out.open()))[1:] == rows[4:6]


def test_it_goes_on_where_it_was_stopped(videos: Path, tmp_path: Path) -> None:
    whole = scores(videos, tmp_path / "whole.csv", Task(2))
    calls = []

    def tiring(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return animate(stills, ef, seeds)

    out = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        scores(videos, out, Task(2), replace(SUBJECT, animate=tiring))
    assert not out.exists()
    with (tmp_path / "s.csv.part").open("a") as file:
        file.write("0X1,50.0000,50.0000,50.0000,0.50000,0.2")  # and a torn line
    with pytest.raises(InputError, match="holds rows of other settings"):
        scores(videos, out, Task(3))
    assert scores(videos, out, Task(2), replace(SUBJECT, animate=tiring)) == whole
    assert len(calls) == 4 + 6
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("s.")] == ["s.csv"]
    with pytest.raises(InputError, match="is there already"):
        scores(videos, out, Task(2))


def test_rows_of_other_videos_are_not_gone_on_with(videos: Path, tmp_path: Path) -> None:
    manifest, out = open_source(videos), tmp_path / "s.csv"
    calls = []

    def tiring(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return animate(stills, ef, seeds)

    subject = replace(SUBJECT, animate=tiring)
    with pytest.raises(KeyboardInterrupt):
        score(subject, manifest, manifest.records[:2], Task(1), measure, None, out)
    with pytest.raises(InputError, match="of other settings, weights or videos"):
        score(subject, manifest, manifest.records[2:], Task(1), measure, None, out)


@pytest.mark.parametrize("torn", ["", '{"task": '])
def test_a_kept_file_without_a_whole_line_is_begun_anew(
    torn: str, videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.csv.part").write_text(torn)
    assert len(scores(videos, tmp_path / "s.csv", Task(1))) == 4


def test_a_damaged_video_is_left_out_and_named(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "videos")
    manifest = open_source(tmp_path / "videos")
    damaged = manifest.records[1]
    path = manifest.root / damaged.path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    out = tmp_path / "s.csv"
    left = score(SUBJECT, manifest, manifest.records, Task(1), measure, None, out)
    assert list(left) == [damaged.uid]
    assert [row[0] for row in csv.reader(out.open())][1:] == ["0X0", "0X2", "0X3"]
    with pytest.raises(InputError, match="none of the 1 videos can be read"):
        score(SUBJECT, manifest, [damaged], Task(1), measure, None, tmp_path / "t.csv")


def test_rows_of_another_model_are_not_gone_on_with(videos: Path, tmp_path: Path) -> None:
    manifest, out = open_source(videos), tmp_path / "s.csv"

    def stopping(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        raise KeyboardInterrupt

    def begun(weights: str, subject: Subject) -> None:
        follows = {"weights": weights}
        score(subject, manifest, manifest.records, Task(1), measure, None, out, follows=follows)

    with pytest.raises(KeyboardInterrupt):
        begun("a", replace(SUBJECT, animate=stopping))
    with pytest.raises(InputError, match="of other settings, weights or videos"):
        begun("b", SUBJECT)
    begun("a", SUBJECT)


def test_efs_of_a_range_need_none_of_the_video(videos: Path, tmp_path: Path) -> None:
    manifest, out = open_source(videos), tmp_path / "s.csv"
    unknown = [replace(record, ef=None) for record in manifest.records]
    score(SUBJECT, manifest, unknown, Task(1, (15.0, 85.0)), measure, None, out)
    with pytest.raises(InputError, match="ask for EFs of a range, such as 15:85"):
        score(SUBJECT, manifest, unknown, Task(1), measure, None, tmp_path / "t.csv")


def test_some_of_the_videos(videos: Path) -> None:
    records = open_source(videos).records
    assert some(records, None) == some(records, 9) == records
    assert len(some(records, 2)) == 2
    assert some(records, 2) == some(records, 2)


def test_no_ef_to_be_factual_about(videos: Path) -> None:
    record = replace(open_source(videos).records[0], ef=None)
    with pytest.raises(InputError, match="has no EF; ask for EFs of a range"):
        Task().asked(record)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished runs of a cascade of one stage and of an EF network."""
    root = tmp_path_factory.mktemp("runs")
    net = UNet3D(replace(FORMS[0], channels=1, size=16, frames=8))
    zoo.save(net, root / "mine-1" / "net")
    settings = ["cascade.frames=8", "cascade.size=16", "cascade.fps=8", "cascade.steps=1"]
    recipe = named("phantom-2SCM-1").changed(settings)
    (root / "mine-1" / "recipe.yaml").write_text(recipe.to_yaml())
    zoo.save(zoo.build(EFRegressorConfig((8, 8, 8), 28, 8)), root / "ef" / "net")
    (root / "ef" / "recipe.yaml").write_text(named("nano-ef").to_yaml())
    return root


@pytest.fixture
def words(videos: Path, mine: Path, tmp_path: Path) -> list[str]:
    """A command that is short."""
    out = ["--out", str(tmp_path / "scores.csv"), "--draws", "2", "--n", "2", "--gated"]
    return ["evaluate", "draws", str(videos), "--weights", str(mine), "--model", "mine", *out]


@pytest.mark.slow
def test_the_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*words, "--steps", "1", "--ef", "15:85"]
    assert main([*words, "--judge", "nano"]) == 0
    told = capsys.readouterr().out
    assert "| single draw | 4 |" in told
    assert "nano knows phantoms only, and these videos are none: trust no EF" in told
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


def test_nano_measures_phantoms(videos: Path) -> None:
    records = open_source(videos).records
    phantoms = [replace(record, source="phantom") for record in records]
    assert (ruler(None, phantoms), caveats("nano", phantoms)) == ("nano", ())
    assert ruler("runs/ef", records) == "runs/ef"
    assert caveats("runs/ef", records) == ()
