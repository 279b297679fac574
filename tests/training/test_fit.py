"""The training loop: an interrupted run ends with the bits of an uninterrupted one."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echoflow.condition import Condition
from echoflow.data.stream import BatchStream
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMvTConfig
from echoflow.training.autoencoder import AutoencoderTask
from echoflow.training.checkpoint import checkpoints, newest
from echoflow.training.draws import Draws
from echoflow.training.fit import fit, write_picture
from echoflow.training.folder import clear, held, is_held
from echoflow.training.generation import FlowTask
from echoflow.training.optimisers import learning_rate
from echoflow.training.options import AutoencoderOptions, FlowOptions
from echoflow.training.recipes import Engine, Recipe
from echoflow.training.stopping import Terminated
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


def same_weights(a: Path, b: Path, atol: float = 0.0) -> None:
    """Two networks, bit for bit or within `atol`."""
    ours, theirs = (load_file(str(folder / zoo.WEIGHTS)) for folder in (a, b))
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], atol=atol, rtol=0)


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
    same_weights(tmp_path / "whole" / player, tmp_path / "cut" / player)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut/metrics.jsonl").open()]
    assert steps == [1, 2, 3, 4, 5, 6]


class Signalled(Noise):
    """Sends this process a signal while it reads its first example."""

    def __init__(self, shape: tuple[int, ...], number: int) -> None:
        super().__init__(shape)
        self.numbers = [number]

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        if self.numbers:
            signal.raise_signal(self.numbers.pop())
        return super().batch(index, rng)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_ends_the_step_saves_and_the_run_resumes_to_the_same_bits(
    number: signal.Signals, raised: type[BaseException], tmp_path: Path
) -> None:
    former = signal.signal(number, signal.default_int_handler)
    shape = (2, 4, 8, 8)
    try:
        fit(flow_task(), Noise(shape), recipe("lvfm"), tmp_path / "whole")
        with pytest.raises(raised):
            fit(flow_task(), Signalled(shape, number), recipe("lvfm"), tmp_path / "cut")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, former)
    assert [p.name for p in checkpoints(tmp_path / "cut")] == ["checkpoint-0000001"]
    fit(flow_task(), Noise(shape), recipe("lvfm"), tmp_path / "cut", resume=True)
    same_weights(tmp_path / "whole" / "net", tmp_path / "cut" / "net")


@pytest.mark.parametrize("place", ["loss", "validate", "finish"])
def test_a_signal_from_the_last_step_on_lets_the_run_finish_first(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, the signal neither."""
    fit(flow_task(), Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path / "whole")
    task, calls = flow_task(), 0

    def then(do: Callable[..., Any], at: int) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                signal.raise_signal(signal.SIGTERM)
            return do(*given)

        return done

    if place == "finish":
        monkeypatch.setattr(zoo, "save", then(zoo.save, 1))
    else:
        at = {"loss": 6, "validate": 2}[place]
        monkeypatch.setattr(task, place, then(getattr(task, place), at))
    with pytest.raises(Terminated):
        fit(task, Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path / "cut")
    same_weights(tmp_path / "whole" / "net", tmp_path / "cut" / "net")


def test_a_launcher_may_send_sigterm_twice(tmp_path: Path) -> None:
    class Twice(Signalled):
        def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
            self.numbers = [signal.SIGTERM, signal.SIGTERM]
            super().batch(index, rng)
            return super().batch(index, rng)

    with pytest.raises(Terminated):
        fit(flow_task(), Twice((2, 4, 8, 8), signal.SIGTERM), recipe("lvfm"), tmp_path)
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-0000001"]


@pytest.mark.parametrize("micro", [1, 3])
@pytest.mark.parametrize("stage", TASKS)
def test_accumulated_parts_equal_the_whole_batch(stage: str, micro: int, tmp_path: Path) -> None:
    """For a flow; the A-VAE only until its adversary plays, whose weight is that of each part."""
    build, shape, player = TASKS[stage]
    whole = recipe(stage, 3)
    fit(build(), Noise(shape), whole, tmp_path / "whole")
    fit(build(), Noise(shape), whole.changed([f"engine.micro={micro}"]), tmp_path / "parts")
    same_weights(tmp_path / "whole" / player, tmp_path / "parts" / player, atol=1e-4)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    shape, whole, cut = (2, 4, 8, 8), tmp_path / "whole", tmp_path / "cut"
    fit(flow_task(), Noise(shape), recipe("lvfm"), whole)
    with pytest.raises(Pulled):
        fit(flow_task(), Noise(shape), recipe("lvfm"), cut, progress=unplug(5))
    state = cut / "checkpoint-0000004" / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    assert newest(cut) == cut / "checkpoint-0000002"
    fit(flow_task(), Noise(shape), recipe("lvfm"), cut, resume=True)
    same_weights(whole / "net", cut / "net")
    state.write_bytes(b"")
    for path in checkpoints(cut):
        (path / "state.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="no whole checkpoint"):
        fit(flow_task(), Noise(shape), recipe("lvfm"), cut, resume=True)


def test_a_resumed_run_keeps_its_recipe_and_its_data(tmp_path: Path) -> None:
    run, shape = tmp_path / "run", (2, 4, 8, 8)
    with pytest.raises(Pulled):
        fit(flow_task(), Noise(shape), recipe("lvfm"), run, progress=unplug(3), fingerprint="aa")
    other = recipe("lvfm").changed(["engine.lr=0.5"])
    with pytest.raises(InputError, match=r"engine\.lr was 0\.0001, is 0\.5"):
        fit(flow_task(), Noise(shape), other, run, resume=True, fingerprint="aa")
    with pytest.raises(InputError, match=r"are not those that .* began with"):
        fit(flow_task(), Noise(shape), recipe("lvfm"), run, resume=True, fingerprint="bb")
    free = recipe("lvfm").changed(["engine.validate_every=5"])
    fit(flow_task(), Noise(shape), free, run, resume=True, fingerprint="aa")


def test_a_run_stopped_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    shape, cut = (2, 4, 8, 8), tmp_path / "cut"
    fit(flow_task(), Noise(shape), recipe("lvfm"), tmp_path / "whole")
    with pytest.raises(Pulled):
        fit(flow_task(), Noise(shape), recipe("lvfm"), cut, progress=unplug(1))
    (cut / ".checkpoint-0000002.abc.part").mkdir()
    (cut / ".recipe.abc.part.yaml").write_text("half")
    fit(flow_task(), Noise(shape), recipe("lvfm"), cut, resume=True)
    same_weights(tmp_path / "whole" / "net", cut / "net")
    assert not list(cut.glob(".*part*"))


def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's writer raises this when the disk is full, without saying why."""
    run, shape, save = tmp_path / "run", (2, 4, 8, 8), torch.save

    def cramped(state: dict[str, object], path: Path) -> None:
        if state["step"] == 4:
            raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos")
        save(state, path)

    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(torch, "save", cramped)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="disk full while writing"):
        fit(flow_task(), Noise(shape), recipe("lvfm"), run)
    assert [path.name for path in checkpoints(run)] == ["checkpoint-0000002"]
    monkeypatch.undo()
    fit(flow_task(), Noise(shape), recipe("lvfm"), run, resume=True)


def test_one_process_trains_in_one_precision_after_the_other(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        changed = recipe("lvfm", 1).changed([f"engine.precision={precision}"])
        fit(flow_task(), Noise((2, 4, 8, 8)), changed, tmp_path / precision)


def test_two_runs_never_write_one_folder(tmp_path: Path) -> None:
    with held(tmp_path / "run"), pytest.raises(InputError, match="another process is training"):
        fit(flow_task(), Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path / "run")
    assert not is_held(tmp_path / "run")


def test_a_live_run_is_not_emptied(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held(run):
        (run / "metrics.jsonl").write_text("")
        with pytest.raises(InputError, match="another process is training"):
            clear(run)
        assert (run / "metrics.jsonl").exists()
    clear(run)
    assert [path.name for path in run.iterdir()] == [".lock"]


def test_what_layers_draw_follows_from_the_step_and_the_row() -> None:
    drawn = []
    for step, rows in ((5, (3, 4)), (5, (3, 4)), (6, (3, 4)), (5, (4, 5))):
        Draws(0, step, rows, 8, "net").seed_layers()
        drawn.append(torch.rand(()).item())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


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


def test_a_gradient_that_is_not_finite_is_not_stepped(tmp_path: Path) -> None:
    task = flow_task()
    before = {name: value.clone() for name, value in task.nets["net"].state_dict().items()}
    next(task.nets["net"].parameters()).register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(InputError, match="gradient of net is not finite at step 0"):
        fit(task, Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path / "run")
    after = task.nets["net"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_batches_depend_on_seed_and_step_and_visit_everything() -> None:
    source = Noise((1, 2, 2))
    stream = BatchStream(source, 4, seed=3)
    again = BatchStream(source, 4, seed=3)
    assert torch.equal(stream[7].batch.x, again[7].batch.x)
    assert not torch.equal(stream[7].batch.x, BatchStream(source, 4, seed=4)[7].batch.x)
    seen = [uid for step in range(5) for uid in stream[step].batch.uid]
    assert sorted(seen) == sorted(2 * [str(i) for i in range(10)])


def test_two_processes_share_one_batch() -> None:
    source = Noise((1, 2, 2))
    whole = BatchStream(source, 4, seed=3)[2]
    for rank in range(2):
        part = BatchStream(source, 4, seed=3, rank=rank, world=2)[2]
        assert part.rows == whole.rows[rank::2]
        assert torch.equal(part.batch.x, whole.batch.x[rank::2])
    with pytest.raises(InputError, match="cannot be shared by 3"):
        BatchStream(source, 4, seed=3, world=3)


def test_learning_rate_rises_holds_and_falls_to_zero() -> None:
    engine = Engine(steps=100, lr=1.0, warmup=10, decay=0.2)
    rates = [learning_rate(engine, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:81]) == {1.0}
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == 0


def test_what_is_no_unfinished_run_is_not_cleared(tmp_path: Path) -> None:
    weights = tmp_path / "avae" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("mine")
    with pytest.raises(InputError, match=r"holds model\.safetensors, which no unfinished run has"):
        clear(weights.parent)
    assert weights.read_text() == "mine"


def test_a_run_stopped_before_its_first_checkpoint_may_have_begun_its_reports(
    tmp_path: Path,
) -> None:
    (tmp_path / "tensorboard").mkdir()
    fit(flow_task(), Noise((2, 4, 8, 8)), recipe("lvfm"), tmp_path, resume=True)


def test_a_picture_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "step-0000001.png"
    write_picture(path, np.zeros((2, 2), np.uint8))
    before = path.read_bytes()
    with pytest.raises(OSError, match="cannot write mode F"):
        write_picture(path, np.zeros((2, 2), np.float32))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
