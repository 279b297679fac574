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
from cascade_folder import cascade as published
from cascade_folder import one_stage
from small_datasets import brightening
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.drawn import Drawn
from echoflow.draws import Subject, Task, frame_of, part_of, score, some
from echoflow.metrics.scores import Draws
from echoflow.rulers import caveats, ruler
from echoflow.training.cascaded import PixelClips
from echoflow.types import InputError, Record


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


def test_a_draw_decodes_its_video_once(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(source: PixelClips, record: Record, rng: np.random.Generator):
        read.append(record.uid)
        return example(source, record, rng)

    example = PixelClips.example
    monkeypatch.setattr(PixelClips, "example", counted)
    rows = scores(videos, tmp_path / "s.csv", Task(2))
    assert read == [row[0] for row in rows]


def test_a_counterfactual_ef_is_that_of_the_video_in_every_draw(videos: Path, tmp_path) -> None:
    asked = [row[1] for row in scores(videos, tmp_path / "s.csv", Task(2, (15.0, 85.0)))]
    assert asked[::2] == asked[1::2]
    assert len(set(asked)) == 4
    assert all(15 <= float(ef) <= 85 for ef in asked)


def test_a_range_from_0_gives_no_fractions(videos: Path) -> None:
    records = open_source(videos).records
    asked = [Task(ef=(0.0, 2.0), seed=k).asked(one) for k in range(9) for one in records]
    assert 1.0 in asked
    assert max(asked) > 1
    assert Condition(ef=torch.tensor(asked)).checked()
    assert Task(ef=(0.0, 0.0)).asked(records[0]) == 0


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


def test_nano_measures_phantoms(videos: Path) -> None:
    records = open_source(videos).records
    phantoms = [replace(record, source="phantom") for record in records]
    assert (ruler(None, phantoms), caveats("nano", phantoms)) == ("nano", ())
    assert ruler("runs/ef", records) == "runs/ef"
    assert caveats("runs/ef", records) == ()


def test_videos_of_draws_go_on_where_they_were_stopped(videos: Path, tmp_path: Path) -> None:
    manifest, out, stop = open_source(videos), tmp_path / "s.csv", [5]

    def tiring(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        stop[0] -= 1
        if stop[0] == 0:
            raise KeyboardInterrupt
        return animate(stills, ef, seeds)

    def drawn(folder: Path, file: Path, weights: str = "a") -> None:
        kept = Drawn(folder, file, {"weights": weights})
        if not kept.all_there():
            given = (replace(SUBJECT, animate=tiring), manifest, manifest.records, Task(2), measure)
            score(*given, None, file, keep=kept.keep)
        kept.finish(manifest.records)

    with pytest.raises(KeyboardInterrupt):
        drawn(tmp_path / "kept", out)
    assert not (tmp_path / "kept").exists()
    with pytest.raises(InputError, match="holds videos of other settings, weights or videos"):
        drawn(tmp_path / "kept", out, "b")
    work = Drawn(tmp_path / "kept", out, {}).work
    work.rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"s.csv.part has rows whose videos are gone; remove it"):
        drawn(tmp_path / "kept", out)
    (tmp_path / "away").rename(work)
    drawn(tmp_path / "kept", out)
    assert stop[0] == 5 - 1 - 4 - 4  # the two videos that were finished were not drawn again
    drawn(tmp_path / "whole", tmp_path / "t.csv")
    for record in open_source(tmp_path / "whole").records:
        whole, again = (tmp_path / part / record.path for part in ("whole", "kept"))
        assert whole.read_bytes() == again.read_bytes()


def test_draws_that_were_stopped_before_the_first_row_go_on(videos: Path, tmp_path: Path) -> None:
    manifest, out = open_source(videos), tmp_path / "s.csv"
    kept = Drawn(tmp_path / "kept", out, {"weights": "a"})

    def stopping(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        raise KeyboardInterrupt

    assert not kept.all_there()
    given = (manifest, manifest.records, Task(1), measure, None, out)
    with pytest.raises(KeyboardInterrupt):
        score(replace(SUBJECT, animate=stopping), *given, keep=kept.keep)
    assert part_of(out).is_file()
    assert not kept.all_there()
    score(SUBJECT, *given, keep=kept.keep)
    assert len(kept.finish(manifest.records).records) == 4


def test_the_frame_of_training(tmp_path: Path) -> None:
    assert frame_of(one_stage(tmp_path), "mine") == "first"
    recipe = tmp_path / "mine-1" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("frame: first", "frame: video"))
    assert frame_of(tmp_path, "mine") == "video"
    published(tmp_path / "2SCM_v6")
    assert frame_of(tmp_path / "2SCM_v6") == "clip"


def test_a_dataset_of_draws_that_only_lacks_its_end(videos: Path, tmp_path: Path) -> None:
    """Stopped between the score file and the folder, the same command only makes the folder."""
    manifest, out = open_source(videos), tmp_path / "s.csv"
    kept = Drawn(tmp_path / "kept", out, {"weights": "a"})
    assert not kept.all_there()
    score(SUBJECT, manifest, manifest.records, Task(1), measure, None, out, keep=kept.keep)
    assert kept.all_there()
    (kept.work / "Videos" / "0X2_01.avi").rename(tmp_path / "0X2_01.avi")
    with pytest.raises(InputError, match=r"0X2_01.avi is gone, and its row is in the score file"):
        kept.finish(manifest.records)
    (tmp_path / "0X2_01.avi").rename(kept.work / "Videos" / "0X2_01.avi")
    assert len(kept.finish(manifest.records).records) == 4
    with pytest.raises(InputError, match="is not empty; choose another"):
        kept.all_there()
