"""Several processes under torchrun do what one does, and none of them waits for the dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_fit import same_weights

WORKER = Path(__file__).with_name("worker.py")


def torchrun(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--master-addr", "127.0.0.1", "--rdzv-endpoint", "127.0.0.1:0"]
    command += ["--rdzv-backend", "c10d", str(WORKER), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment())


def environment() -> dict[str, str]:
    places = os.pathsep.join(str(WORKER.parents[level]) for level in (0, 1))
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": places}


def losses(run: Path, key: str) -> list[float]:
    return [json.loads(line)[key] for line in (run / "metrics.jsonl").open()]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "player"), [("lvfm", "net"), ("avae", "avae"), ("reid", "net")])
def test_two_processes_equal_one(stage: str, player: str, tmp_path: Path) -> None:
    for processes in (1, 2):
        done = torchrun(processes, stage, str(tmp_path / str(processes)), "0")
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = tmp_path / "1", tmp_path / "2"
    assert losses(one, f"{player}/loss") == pytest.approx(losses(two, f"{player}/loss"), abs=1e-5)
    same_weights(one / player, two / player, atol=1e-4)


@pytest.mark.slow
def test_the_death_of_a_process_ends_the_job_with_a_message(tmp_path: Path) -> None:
    done = torchrun(2, "lvfm", str(tmp_path / "run"), "3")
    assert done.returncode != 0
    assert "another process of this job has ended" in done.stderr
    assert (tmp_path / "run" / "checkpoint-0000002" / "state.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "player"), [("lvfm", "net"), ("avae", "avae"), ("reid", "net")])
def test_twenty_kills_at_random_moments_change_no_bit(
    stage: str, player: str, tmp_path: Path
) -> None:
    command = [sys.executable, str(WORKER.with_name("killer.py")), stage, str(tmp_path / "cut")]
    command += ["20", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    same_weights(tmp_path / "whole" / player, tmp_path / "cut" / player)
    steps = losses(tmp_path / "cut", "step")
    assert steps == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_crashes_at_file_boundaries_of_a_save(tmp_path: Path) -> None:
    """The whole command, killed before and in the middle of its writes by ckpt-chaos."""
    chaos, echoflow = (Path(sys.executable).with_name(name) for name in ("ckpt-chaos", "echoflow"))
    hearts, latents = tmp_path / "hearts", tmp_path / "latents"
    small = ["--n", "8", "--frames", "9", "--fps", "8"]
    for words in (
        ["phantom", "--out", str(hearts), *small],
        ["encode", str(hearts), "--out", str(latents)],
    ):
        subprocess.run([echoflow, *words], check=True, capture_output=True, env=environment())
    settings = ["steps=4", "batch=2", "checkpoint_every=2", "compile=false", "precision=fp32"]
    train = [echoflow, "train", "nano-reid", f"data={latents}", "--resume", "--out", "{out}"]
    command = [chaos, "run", "--max-points", "9", "--modes", "before,torn,term", "--grace", "30"]
    command += ["--step-regex", r"checkpoint-0*(\d+)", "--checkpoint-glob", "{out}/checkpoint-*"]
    command += ["--result-file", "{out}/net/diffusion_pytorch_model.safetensors"]
    command += ["--work", str(tmp_path / "work"), "--", *train]
    command += [f"engine.{setting}" for setting in settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "PASS: 10" in done.stdout, done.stdout[-3000:]
