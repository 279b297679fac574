"""Runs side by side: the same weights, and nothing lost when one of them or all are stopped."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from test_fit import same_weights

from echoflow.data.phantom.layout import write_dynamic
from echoflow.pipeline import weights_folder
from echoflow.training import abreast
from echoflow.training.abreast import Job, train_all
from echoflow.training.checkpoint import newest
from echoflow.training.folder import METRICS, is_held
from echoflow.training.nano import POPULATION, encode_dataset
from echoflow.training.recipes import Recipe
from echoflow.training.table import named
from echoflow.types import InputError

LONG = 100_000
HANGS = 300  # seconds after which a process is not slow, but hangs


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("abreast")
    few = dataclasses.replace(POPULATION, patients=8, frames=3)
    write_dynamic(few.clips(1), root / "videos", few.spec())
    encode_dataset(root / "videos", weights_folder("nano") / "avae", root / "latents")
    return root / "latents"


def jobs(latents: Path, root: Path, steps: int) -> list[Job]:
    engine = [f"engine.steps={steps}", "engine.batch=2", "engine.warmup=1", "engine.compile=false"]
    engine += ["engine.checkpoint_every=100000", "engine.picture_every=0", f"data={latents}"]
    stages = ("reid", "lifm")
    return [(named(f"nano-{stage}").changed(engine), root / stage) for stage in stages]


@contextmanager
def process(latents: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains both for a long time, once both have begun; at the end none is left."""
    words = [sys.executable, __file__, str(latents), str(root)]
    places = os.pathsep.join(
        [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    )
    environment = os.environ | {"PYTHONPATH": places}
    started = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )
    logs = [root / stage / METRICS for stage in ("reid", "lifm")]
    try:
        until(lambda: all(log.exists() and log.stat().st_size for log in logs))
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + HANGS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def everything_is_saved(root: Path) -> bool:
    runs = (root / "reid", root / "lifm")
    return not any(is_held(run) for run in runs) and all(newest(run) is not None for run in runs)


def test_runs_side_by_side_end_like_runs_in_turn(latents: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    train_all(jobs(latents, tmp_path / "both", 3), 2, lambda *news: told.append(news))
    train_all(jobs(latents, tmp_path / "turn", 3), 1)
    for stage in ("reid", "lifm"):
        same_weights(tmp_path / "turn" / stage / "net", tmp_path / "both" / stage / "net", 1e-5)
    assert {("reid", 3, 3), ("lifm", 3, 3)} <= set(told)


def test_sigterm_to_the_first_process_saves_every_run(latents: Path, tmp_path: Path) -> None:
    with process(latents, tmp_path) as first:
        first.send_signal(signal.SIGTERM)
        assert first.wait(HANGS) == 128 + signal.SIGTERM
    assert everything_is_saved(tmp_path)


def test_ctrl_c_saves_every_run_and_no_worker_complains(latents: Path, tmp_path: Path) -> None:
    """A terminal sends it to all processes."""
    with process(latents, tmp_path) as first:
        os.killpg(first.pid, signal.SIGINT)
        _, told = first.communicate(timeout=HANGS)
    assert first.returncode == 130
    assert told == ""
    assert everything_is_saved(tmp_path)


def test_a_worker_that_is_killed_is_told_of(latents: Path, tmp_path: Path) -> None:
    def kill(stage: str, done: int, total: int) -> None:
        for worker in multiprocessing.active_children():
            if stage == "reid" and worker.pid:
                os.kill(worker.pid, signal.SIGKILL)

    told = (
        r"training of reid has ended, killed from outside, as the system does where memory runs out"
    )
    with pytest.raises(InputError, match=told):
        train_all(jobs(latents, tmp_path, LONG)[:1], 2, kill)


def test_a_worker_that_cannot_write_says_so_in_a_sentence(
    latents: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ((recipe, _), *_) = jobs(latents, tmp_path, 3)
    with pytest.raises(InputError, match="has ended, with the message above"):
        train_all([(recipe, tmp_path / ("x" * 300))], 2)
    told = capfd.readouterr().err
    assert "x: [Errno 36] File name too long" in told
    assert "Traceback" not in told


def test_runs_share_the_cores_with_those_that_there_are_and_the_last_has_them_all(
    latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, shares, start = [], [], abreast._Worker.start

    def told(recipe: Recipe, run: Path, threads: int) -> object:
        shares.append(threads)
        workers.append(start(recipe, run, threads))
        return workers[-1]

    monkeypatch.setattr(abreast._Worker, "start", told)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    train_all([*jobs(latents, tmp_path, 3)[:1], *jobs(latents, tmp_path, 60)[1:]], 4)
    assert shares == [4, 4]
    assert [worker.threads.value for worker in workers] == [4, 8]


def test_runs_save_and_leave_when_the_first_process_is_killed(
    latents: Path, tmp_path: Path
) -> None:
    with process(latents, tmp_path) as first:
        first.kill()
        first.wait()
        until(lambda: everything_is_saved(tmp_path))


def test_the_others_save_when_one_is_refused(
    latents: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (_, here), other = jobs(latents, tmp_path, LONG)
    refused = named("nano-reid").changed([f"data={tmp_path / 'nothing'}"])
    with pytest.raises(InputError, match="training of reid has ended"):
        train_all([(refused, here), other], 2)
    assert "reid: " in capfd.readouterr().err
    assert not is_held(tmp_path / "lifm")


if __name__ == "__main__":
    try:
        train_all(jobs(Path(sys.argv[1]), Path(sys.argv[2]), LONG), 2)
    except KeyboardInterrupt:
        sys.exit(130)
