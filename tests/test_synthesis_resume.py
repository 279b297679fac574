"""Datasets that are killed on the way: nothing is made twice, and the end is the same."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_engine import RADIUS, TinyEngine, disc, disc_mask, engine
from torch import Tensor, nn

from echoflow.cli import main
from echoflow.data.manifest import Manifest
from echoflow.sampling import SamplingPlan
from echoflow.synthesis import DatasetPlan, Origin, given_masks, kept, parts, phantom_masks
from echoflow.synthesis import synthesise as make
from echoflow.synthesis.fingerprint import digest
from echoflow.types import InputError, View

FORK = multiprocessing.get_context("fork")
PLAN = DatasetPlan(n=11, batch=4, per_anatomy=2)
TAU = 0.2  # rejects about a third of the candidates
ORIGIN = Origin("tiny", {"reid": "ab" * 32})


@dataclass
class Counting(TinyEngine):
    """Notes in a file, which a kill does not take back, the seed of every video it makes."""

    log: Path = field(default=Path(os.devnull), repr=False)

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor:
        with self.log.open("a") as file:
            file.writelines(f"{seed}\n" for seed in seeds)
        return super().animate(frame, ef, seeds, plan, views=views)


def synthesise(out: Path, progress=lambda done, total: None, plan: DatasetPlan = PLAN) -> Manifest:
    return make(engine(TAU), plan, out, disc_mask, progress, ORIGIN)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def in_child(work: Callable[[], object]) -> int | None:
    process = FORK.Process(target=work)
    process.start()
    process.join()
    return process.exitcode


def dying(at: int) -> Callable[[int, int], None]:
    def die(done: int, total: int) -> None:
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    synthesise(root / "out")
    assert [path.name for path in root.iterdir()] == ["out"]
    found = contents(root / "out")
    assert found["rejections.csv"].count(b"\n") > 2
    return found


@pytest.mark.parametrize("dies_at", [1, 4, 7, 11])
def test_killed_and_started_again(
    undisturbed: dict[str, bytes], tmp_path: Path, dies_at: int
) -> None:
    out = tmp_path / "deep" / "out"
    assert in_child(lambda: synthesise(out, dying(dies_at))) == -signal.SIGKILL
    assert not out.exists()
    whole = (dies_at - 1) // PLAN.batch * PLAN.batch  # a part is written after its last video
    assert kept(out) == whole
    seen: list[int] = []
    synthesise(out, lambda done, total: seen.append(done))
    assert seen == list(range(whole or 1, 12))
    assert contents(out) == undisturbed
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_no_finished_video_is_made_again(tmp_path: Path) -> None:
    counting = Counting(engine(TAU).privacy, log=tmp_path / "log")

    def run(progress=lambda done, total: None) -> None:
        make(counting, PLAN, tmp_path / "out", disc_mask, progress, ORIGIN)

    assert in_child(lambda: run(dying(10))) == -signal.SIGKILL
    run()
    seeds = [int(line) for line in counting.log.read_text().split()]
    items = [PLAN.item(i).seed for i in range(11)]
    assert seeds == [*items, *items[8:]]


@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random_moments(undisturbed: dict[str, bytes], tmp_path: Path, seed: int) -> None:
    """In the middle of samples, of tables, of the check and of the last renaming."""
    out, rng = tmp_path / "out", random.Random(seed)
    for _ in range(4):
        process = FORK.Process(target=synthesise, args=(out,))
        process.start()
        time.sleep(rng.uniform(0.01, 0.15))
        process.kill()
        process.join()
        if out.exists():
            break
    if not out.exists():
        synthesise(out)
    assert contents(out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("step", ["replace", "rmdir", "unlink", "mkdir"])
def test_a_kill_before_every_change_of_the_disk(tmp_path: Path, step: str) -> None:
    """Before the first, the second, ... renaming or removal, until a run comes through."""
    plan, original = DatasetPlan(n=3, batch=2), getattr(os, step)
    synthesise(tmp_path / "whole", plan=plan)
    expected = contents(tmp_path / "whole")

    def run(out: Path, at: int) -> None:
        calls = iter(range(at))

        def counted(*args: Any, **kwargs: Any) -> None:
            if next(calls, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(os, step, counted)
        synthesise(out, plan=plan)

    for at in range(1000):
        out = tmp_path / str(at) / "out"
        if in_child(partial(run, out, at)) == 0:
            break
        if not out.exists() or parts.is_published(parts.hidden(out), out):
            synthesise(out, plan=plan)
        else:
            with pytest.raises(InputError, match="not empty"):
                synthesise(out, plan=plan)
        assert contents(out) == expected, at
        assert [path.name for path in out.parent.iterdir()] == ["out"], at
    assert at > 1


def test_several_processes_share_the_parts(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    log = tmp_path / "log"

    def run() -> None:
        counting = Counting(engine(TAU).privacy, log=log)
        slow = lambda done, total: time.sleep(0.01)  # noqa: E731
        made = make(counting, PLAN, tmp_path / "out", disc_mask, slow, ORIGIN)
        assert len(made.records) == 11

    crew = [FORK.Process(target=run) for _ in range(3)]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    assert [process.exitcode for process in crew] == [0, 0, 0]
    seeds = sorted(map(int, log.read_text().split()))
    assert seeds == sorted(PLAN.item(i).seed for i in range(11))
    assert contents(tmp_path / "out") == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "out"]


def test_ctrl_c_keeps_what_is_finished(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path / "out", stop)
    assert seen == [(i, 11) for i in range(1, 7)]
    work = tmp_path / ".out.part"
    assert kept(tmp_path / "out") == 4
    assert sorted(p.name for p in work.iterdir() if p.is_dir()) == ["part-000000"]
    synthesise(tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed


def test_an_interruption_of_the_first_part_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path / "deep" / "out", stop)
    assert not list(tmp_path.iterdir())


def test_an_error_on_the_way_keeps_what_is_finished(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def fail(done: int, total: int) -> None:
        if done == 9:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        synthesise(tmp_path / "out", fail)
    assert kept(tmp_path / "out") == 8
    synthesise(tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    def fill(at: int) -> Callable[[int, int], None]:
        def full(done: int, total: int) -> None:
            if done == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return full

    with pytest.raises(InputError, match=r"disk full while writing \S+/out: .* nothing was left"):
        synthesise(tmp_path / "out", fill(2))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"/out: .* MB, 4 finished videos are kept, and the same"):
        synthesise(tmp_path / "out", fill(5))
    assert len(synthesise(tmp_path / "out").records) == 11


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"plan": replace(PLAN, seed=1)}, r"\(not the same: seed\)"),
        ({"plan": replace(PLAN, n=12, ef=(20, 60))}, r"\(not the same: ef, n\)"),
        ({"plan": replace(PLAN, motion=SamplingPlan(steps=3))}, r"\(not the same: motion\)"),
        ({"engine": engine(0.5)}, r"\(not the same: privacy of the weights\)"),
        ({"masks": given_masks(np.stack([disc(RADIUS)]))}, r"\(not the same: masks\)"),
        ({"origin": Origin("other")}, r"\(not the same: origin\)"),
    ],
)
def test_another_plan_or_other_weights_do_not_go_on(
    tmp_path: Path, other: dict, named: str
) -> None:
    out = tmp_path / "out"
    assert in_child(lambda: synthesise(out, dying(6))) == -signal.SIGKILL
    before = contents(tmp_path)
    asked = {"engine": engine(TAU), "plan": PLAN, "masks": disc_mask, "origin": ORIGIN} | other
    with pytest.raises(InputError, match=f"beginning of another dataset {named}; remove it, or"):
        make(out=out, progress=lambda done, total: pytest.fail("worked"), **asked)
    assert contents(tmp_path) == before


def test_another_plan_takes_over_where_nothing_is_finished(tmp_path: Path) -> None:
    out, other = tmp_path / "out", replace(PLAN, n=2)
    assert in_child(lambda: synthesise(out, dying(3))) == -signal.SIGKILL
    assert len(synthesise(out, plan=other).records) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["synthesise", "--out", str(tmp_path / "out"), "--n", "9"]
    tiny = engine(0.5)

    def interrupted(video: Tensor) -> Tensor:
        if kept(tmp_path / "out"):
            raise KeyboardInterrupt
        return TinyEngine.regressor(tiny, video)

    with monkeypatch.context() as patch:
        patch.setattr(tiny, "regressor", interrupted)
        patch.setattr("echoflow.pipeline.load", lambda *_: tiny)
        assert main(words) == 130
        assert "8 of 9 videos are kept; the same command goes on." in capsys.readouterr().err
    monkeypatch.setattr("echoflow.pipeline.load", lambda *_: engine(0.5))
    assert main([*words, "--seed", "1"]) == 2
    assert "another dataset (not the same: seed)" in capsys.readouterr().err
    assert main(words) == 0
    assert "9 videos in" in capsys.readouterr().out


def test_a_target_that_was_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def take(done: int, total: int) -> None:
        if done == 11:
            out.mkdir()
            (out / "mine").touch()

    with pytest.raises(InputError, match="is not empty; choose another"):
        synthesise(out, take)
    assert [path.name for path in out.iterdir()] == ["mine"]
    shutil.rmtree(out)
    assert len(synthesise(out, lambda done, total: None).records) == 11


def test_killed_between_the_name_and_the_cleaning(
    undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def unclean() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(parts, "remove", lambda work: None)
            synthesise(out)
        assert (tmp_path / ".out.part").is_dir()

    unclean()
    again = synthesise(out, lambda done, total: pytest.fail("worked"))
    assert len(again.records) == 11
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match="not empty"):
        synthesise(out)
    shutil.rmtree(out)
    unclean()
    with pytest.raises(InputError, match="not empty"):
        synthesise(out, plan=replace(PLAN, n=2))
    shutil.rmtree(out)  # by somebody who wants it made again
    synthesise(out)
    assert contents(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# ---- parts and fingerprints ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 24])
@pytest.mark.parametrize("per_anatomy", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_parts_are_whole_hearts_or_pieces_of_one(n: int, per_anatomy: int, batch: int) -> None:
    plan = DatasetPlan(n=n, per_anatomy=per_anatomy, batch=batch)
    cut = plan.parts()
    assert [i for part in cut for i in part] == list(range(n))
    hearts = [{i // per_anatomy for i in part} for part in cut]
    for part, mine in zip(cut, hearts, strict=True):
        assert len(part) <= batch
        shared = [other for other in hearts if other & mine]
        assert len(shared) == 1 or len(mine) == 1


@pytest.mark.parametrize("batch", [2, 5])
def test_a_heart_in_pieces_is_one_heart(tmp_path: Path, batch: int) -> None:
    """Each piece draws the heart again, and tells of the same rejections."""
    plan = DatasetPlan(n=15, batch=15, per_anatomy=5)
    whole = make(engine(0.18), plan, tmp_path / "whole", disc_mask)
    cut = make(engine(0.18), replace(plan, batch=batch), tmp_path / "cut", disc_mask)
    assert (whole.root / "rejections.csv").read_text().count("\n") > 1
    one, other = contents(whole.root), contents(cut.root)
    assert one.pop("dataset.json") != other.pop("dataset.json")  # which holds the plan
    assert one == other


def test_the_hash_of_weights_follows_every_number() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    first = digest({"net": net})
    assert digest({"net": net}) == first != digest({"other": net})
    with torch.no_grad():
        net.get_buffer("1.running_mean")[0] = 1
    assert digest({"net": net}) != first
    assert digest(net.bfloat16()) != digest(net.float())
    assert digest(net.forward) == digest(net.forward)
    assert digest(phantom_masks()) != digest(phantom_masks(seed=2))
    masks = np.stack([disc(5), disc(6)])
    assert digest(given_masks(masks)) == digest(given_masks(masks.copy()))
    assert digest(given_masks(masks)) != digest(given_masks(masks[::-1]))
