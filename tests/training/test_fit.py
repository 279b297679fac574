"""The training loop: an interrupted run ends with the bits of an uninterrupted one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echoflow.condition import Condition
from echoflow.data.clips import BatchStream
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMvTConfig
from echoflow.training.autoencoder import AutoencoderTask
from echoflow.training.checkpoint import checkpoints
from echoflow.training.fit import fit, learning_rate
from echoflow.training.generation import FlowTask
from echoflow.training.recipes import AutoencoderOptions, Engine, FlowOptions, Recipe
from echoflow.training.task import Logs, Task
from echoflow.types import Batch, InputError


class Noise:
    """Random latents or frames with an EF: enough to see whether two runs are the same."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.x = torch.from_numpy(
            np.random.default_rng(0).standard_normal((10, *shape), np.float32)
        )

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        x = self.x[index] + 0.1 * torch.from_numpy(
            rng.standard_normal(self.x[index].shape, np.float32)
        )
        ef = torch.from_numpy(10.0 + 5.0 * index).float()
        return Batch(x.clamp(-1, 1), Condition(ef=ef), tuple(str(i) for i in index))


def flow_task() -> Task:
    torch.manual_seed(0)
    net = zoo.build(FMvTConfig(2, 8, 4, (2, 4, 4), 16, 1, 2, preconditioned=True))
    held = [Noise((2, 4, 8, 8)).batch(np.arange(4), np.random.default_rng(1))]
    return FlowTask(net, FlowOptions(frames=4, shift=2.0), held)


def avae_task() -> Task:
    torch.manual_seed(0)
    options = AutoencoderOptions(adversary_from=3, adversary_width=8)
    avae = zoo.build(AVAEConfig(2, (8, 16), 1, 8, False, 1))
    return AutoencoderTask(avae, options, Noise((1, 32, 32)).x[:4])


TASKS = {"lvfm": (flow_task, (2, 4, 8, 8), "net"), "avae": (avae_task, (1, 32, 32), "avae")}


def recipe(stage: str, steps: int = 6) -> Recipe:
    engine = Engine(
        steps=steps, batch=4, warmup=2, precision="fp32", validate_every=3, checkpoint_every=2
    )
    return Recipe(stage=stage, model="unused", data="unused", engine=engine)  # type: ignore[arg-type]


class Pulled(Exception):
    """The plug."""


def unplug(at: int):
    def progress(step: int, logs: Logs) -> None:
        if step == at:
            raise Pulled

    return progress


@pytest.mark.parametrize("stage", TASKS)
@pytest.mark.parametrize("at", [3, 5])
def test_a_resumed_run_ends_with_the_same_bits(stage: str, at: int, tmp_path: Path) -> None:
    build, shape, player = TASKS[stage]
    fit(build(), Noise(shape), recipe(stage), tmp_path / "whole")
    with pytest.raises(Pulled):
        fit(build(), Noise(shape), recipe(stage), tmp_path / "cut", progress=unplug(at))
    fit(build(), Noise(shape), recipe(stage), tmp_path / "cut", resume=True)
    whole = load_file(str(tmp_path / "whole" / player / zoo.WEIGHTS))
    cut = load_file(str(tmp_path / "cut" / player / zoo.WEIGHTS))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut/metrics.jsonl").open()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_ctrl_c_ends_the_step_saves_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    former = signal.signal(signal.SIGINT, signal.default_int_handler)

    class Pressed(Noise):
        def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
            signal.raise_signal(signal.SIGINT)
            return super().batch(index, rng)

    shape = (2, 4, 8, 8)
    try:
        fit(flow_task(), Noise(shape), recipe("lvfm"), tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            fit(flow_task(), Pressed(shape), recipe("lvfm"), tmp_path / "cut")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)
    assert [p.name for p in checkpoints(tmp_path / "cut")] == ["checkpoint-0000001"]
    fit(flow_task(), Noise(shape), recipe("lvfm"), tmp_path / "cut", resume=True)
    whole = load_file(str(tmp_path / "whole" / "net" / zoo.WEIGHTS))
    cut = load_file(str(tmp_path / "cut" / "net" / zoo.WEIGHTS))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_training_moves_the_loss(tmp_path: Path) -> None:
    seen: list[float] = []
    engine = {"engine.lr": "3e-3", "engine.steps": "40"}
    source = Noise((2, 4, 8, 8))
    source.x[:] = source.x[:1]  # one clip, so that there is something to learn
    changed = recipe("lvfm", 40).changed([f"{k}={v}" for k, v in engine.items()])
    fit(
        flow_task(),
        source,
        changed,
        tmp_path / "run",
        progress=lambda step, logs: seen.append(logs["net/loss"]),
    )
    assert np.mean(seen[-10:]) < 0.9 * np.mean(seen[:10])


def test_run_folders_are_not_shared(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        fit(flow_task(), Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path / "run")
    with pytest.raises(InputError, match="no whole checkpoint"):
        fit(flow_task(), Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_stops_with_the_videos_named(tmp_path: Path) -> None:
    source = Noise((2, 4, 8, 8))
    source.x[:] = torch.nan
    with pytest.raises(InputError, match="not finite at step 0"):
        fit(flow_task(), source, recipe("lvfm"), tmp_path / "run")


def test_batches_depend_on_seed_and_step_and_visit_everything() -> None:
    source = Noise((1, 2, 2))
    stream = BatchStream(source, 4, seed=3)
    again = BatchStream(source, 4, seed=3)
    assert torch.equal(stream[7].x, again[7].x)
    assert not torch.equal(stream[7].x, BatchStream(source, 4, seed=4)[7].x)
    seen = [uid for step in range(5) for uid in stream[step].uid]
    assert sorted(seen) == sorted(2 * [str(i) for i in range(10)])


def test_two_processes_share_one_batch() -> None:
    source = Noise((1, 2, 2))
    whole = BatchStream(source, 4, seed=3)[2].uid
    parts = [BatchStream(source, 4, seed=3, rank=r, world=2)[2].uid for r in range(2)]
    assert sorted(whole) == sorted(parts[0] + parts[1])
    with pytest.raises(InputError, match="cannot be shared by 3"):
        BatchStream(source, 4, seed=3, world=3)


def test_learning_rate_rises_holds_and_falls_to_zero() -> None:
    engine = Engine(steps=100, lr=1.0, warmup=10, decay=0.2)
    rates = [learning_rate(engine, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:81]) == {1.0}
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == 0
