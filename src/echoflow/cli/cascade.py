"""`echoflow animate` by a cascade in pixel space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from echoflow.cli.progress import Progress, bar
from echoflow.types import Inference, InputError, choose

if TYPE_CHECKING:
    import numpy as np

    from echoflow.cascade import Cascade
    from echoflow.cascade_weights import SettingsName
    from echoflow.sampling import SamplingPlan


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line."""

    ef: float
    out: Path
    seed: int
    draws: int
    frames: int | None
    steps: int | None
    guidance: float | None
    solver: str | None
    churn: float | None


def is_cascade(weights: str, model: Sequence[str]) -> bool:
    """Whether a cascade is meant: by its name, or because the folder holds one or runs of one."""
    folder = Path(weights).expanduser()
    runs = (folder / f"{name}-{stage}" for name in model for stage in (1, 2))
    if any("SCM" in name for name in model) or any(run.is_dir() for run in runs):
        if len(model) > 1:
            raise InputError(f"--model takes one cascade; got {', '.join(model)}.")
        return True
    from echoflow.cascade_files import holds_one
    from echoflow.interop.bundle import CARD
    from echoflow.interop.echodiffusion import is_cascade as published

    if weights == "nano" or (folder / CARD).is_file():
        return False
    if model:
        return len(model) == 1 and (published(folder) or published(folder / model[0]))
    return holds_one(folder)


def animate(
    weights: str,
    model: Sequence[str],
    settings: str | None,
    device: str,
    inference: Inference,
    still: np.ndarray,
    asked: Asked,
) -> list[Path]:
    """The videos of all draws of a still (h, w), written one by one; their files."""
    if settings is not None:
        choose(settings, ("ours", "code", "paper"), "settings of a cascade")
    import torch

    from echoflow.cascade_weights import load
    from echoflow.data.resample import resize
    from echoflow.data.video import write_video

    name, chosen = model[0] if model else None, cast("SettingsName | None", settings)
    cascade = load(weights, name, chosen, device, inference)
    side = cascade.shape[-1]
    frame = torch.from_numpy(resize(still[None], side, side))
    plans = plans_of(cascade, asked.steps, asked.guidance, asked.solver, asked.churn)
    files = files_of(asked.out, asked.draws)
    calls = len(files) * cascade.calls(plans)
    with bar("network calls") as progress, _watched(cascade, progress, calls):
        for draw, file in enumerate(files):
            ef = torch.tensor([asked.ef])
            (video,) = cascade.animate(frame, ef, [asked.seed + draw], plans, asked.frames)
            write_video(file, video.numpy(), cascade.fps)
    return files


def plans_of(
    cascade: Cascade,
    steps: int | None,
    guidance: float | None,
    solver: str | None,
    churn: float | None,
) -> list[SamplingPlan]:
    """The plan of every stage with what is given; `churn` is S_churn, and with 0 there is none."""
    plans = [plan.tuned(steps, guidance, solver) for plan in cascade.plans()]
    return plans if churn is None else [_churned(plan, churn) for plan in plans]


def _churned(plan: SamplingPlan, amount: float) -> SamplingPlan:
    from echoflow.sampling import Churn

    return replace(plan, churn=replace(plan.churn or Churn(), amount=amount) if amount else None)


@contextmanager
def _watched(cascade: Cascade, progress: Progress, calls: int) -> Iterator[None]:
    """Moves a bar with every call of a network; longer videos take more calls than planned."""
    done = 0

    def tick(*_: object) -> None:
        nonlocal done
        done = min(done + 1, calls)
        progress(done, calls)

    hooks = [stage.generator.net.register_forward_hook(tick) for stage in cascade.stages]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def files_of(out: Path, draws: int) -> list[Path]:
    """One file, or one of each draw: clip-1.mp4, clip-2.mp4."""
    numbers = range(1, draws + 1)
    return [out] if draws == 1 else [out.with_stem(f"{out.stem}-{n}") for n in numbers]
