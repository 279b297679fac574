"""The SLURM example, with stand-ins for what only a cluster has."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "slurm.sh"
STAND_INS = {
    "scontrol": 'case $1 in show) printf "node-%s\\n" a b;; requeue) echo "requeued $2";; esac',
    "srun": 'echo "$@"; trap "echo saved; exit 143" TERM\n'
    'if [[ -n ${LASTS:-} ]]; then for i in {1..300}; do sleep 0.05; done; fi\nexit "${CODE:-0}"',
}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of two nodes."""
    for name, lines in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{lines}\n")
        path.chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node-[a,b]", "SLURM_NNODES": "2"}
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **job, "SLURM_GPUS_ON_NODE": "4", "PATH": path}


def submitted(folder: Path, env: dict[str, str], *words: str) -> subprocess.Popen[str]:
    command = ["bash", str(SCRIPT), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)


def test_it_hands_over_what_it_was_given(tmp_path: Path, cluster: dict[str, str]) -> None:
    job = submitted(tmp_path, cluster, "FMvT-S/2-4f4", "data=x")
    out, errors = job.communicate(timeout=30)
    assert (job.returncode, errors) == (0, "")
    assert "--nnodes=2 --nproc-per-node=4" in out
    assert "--rdzv-endpoint=node-a:29500" in out
    assert out.endswith("-m echoflow train FMvT-S/2-4f4 data=x --out runs/FMvT-S2-4f4\n")


def test_it_resumes_and_fails_as_the_training_does(tmp_path: Path, cluster: dict[str, str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").touch()
    job = submitted(tmp_path, cluster | {"RUN": "mine", "CODE": "2"}, "nano-lv")
    out, _ = job.communicate(timeout=30)
    assert job.returncode == 2
    assert out.endswith("train nano-lv --out mine --resume\n")
    assert "requeued" not in out


def test_it_queues_again_when_its_time_is_up(tmp_path: Path, cluster: dict[str, str]) -> None:
    job = submitted(tmp_path, cluster | {"LASTS": "yes"}, "nano-lv")
    assert job.stdout is not None
    first = job.stdout.readline()  # the training has begun
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    out, _ = job.communicate(timeout=30)
    assert "torchrun" in first
    assert out.splitlines() == ["saved", "requeued 7"]
    assert job.returncode == 143
