"""Cascades from disk: published ones, and stages trained here; `cascade_files` finds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from echoflow.cascade import BATCH, Cascade, Stage
from echoflow.cascade_files import find
from echoflow.interop import echodiffusion
from echoflow.lowres import LOWRES, LowRes
from echoflow.networks import zoo
from echoflow.networks.inference import for_inference
from echoflow.networks.unet3d import UNet3D
from echoflow.pipeline import Generator
from echoflow.process import EDM
from echoflow.sampling import Churn, SamplingPlan
from echoflow.training import recipes
from echoflow.training.folder import RECIPE
from echoflow.types import Inference, InputError, choose

SettingsName = Literal["ours", "code", "paper"]
SCALE, THRESHOLD = 5.0, 0.95  # of guidance and of dynamic thresholds, as released


@dataclass(frozen=True)
class Settings:
    """Where the paper of EchoDiffusion and its released code sample differently.

    `lowres` names what a stage is told of the noise on its input (`LOWRES`), `variance` has S_noise
    scale the variance of fresh noise instead of its std, and `zero_ef_is_null` lets an EF of
    exactly 0 mean none.
    """

    lowres: str
    variance: bool
    zero_ef_is_null: bool


SETTINGS: Mapping[SettingsName, Settings] = {
    "ours": Settings("published", False, False),
    "code": Settings("published", False, True),
    "paper": Settings("consistent", True, False),
}
"""`code` is what published figures were made with, `ours` the same but for an EF of 0; the paper
has S_noise as a variance and does not say that a stage is told another level than in training."""


def load(
    weights: str | Path,
    name: str | None = None,
    settings: SettingsName | None = None,
    device: torch.device | str = "cpu",
    inference: Inference = "exact",
) -> Cascade:
    """A cascade from a folder or a hub id; `name` chooses among several, such as 2SCM.

    `settings` is for published weights, "ours" where none is given; a run says itself how its stage
    was trained, so that for runs they are refused. `inference` says how the networks compute; see
    `networks.inference`.
    """
    if settings is not None:
        choose(settings, SETTINGS, "settings of a cascade")
    place = find(weights, name)
    if place.published is not None:
        return _computing(released(place.published, settings or "ours"), device, inference)
    if settings is not None:
        raise InputError(
            f"the settings {settings} are for published cascades; the runs in {weights} are "
            "sampled as their recipes say. Leave --settings out."
        )
    cascade = trained(place.runs)
    _check_last(cascade, place.runs[-1])
    return _computing(cascade, device, inference)


def released(
    folder: Path,
    settings: SettingsName = "ours",
    kind: Literal["averaged", "raw"] = "averaged",
) -> Cascade:
    """The published cascade in a folder, sampled as its config says."""
    chosen = SETTINGS[settings]
    nets = echodiffusion.load(folder, kind=kind, zero_ef_is_null=chosen.zero_ef_is_null)
    told = echodiffusion.read_stages(folder / echodiffusion.CONFIG)
    stages: list[Stage] = []
    for i, (net, one) in enumerate(zip(nets, told, strict=True)):
        lowres = replace(LOWRES[chosen.lowres], resize=one.resize) if i else None
        follows = (stages[-1].shape[1], stages[-1].shape[2]) if i else None
        factor = math.sqrt(one.churn.inflation) if chosen.variance else one.churn.inflation
        plan = _plan(one.steps, SCALE, replace(one.churn, inflation=factor))
        stages.append(_stage(net, one.process, plan, one.fps, lowres, follows))
    return Cascade(tuple(stages))


def trained(runs: Sequence[Path]) -> Cascade:
    """The cascade of finished runs, first stage first."""
    stages: list[Stage] = []
    for run in runs:
        stages.append(_of_run(run, stages[-1] if stages else None))
    return Cascade(tuple(stages))


def _of_run(run: Path, before: Stage | None) -> Stage:
    recipe = recipes.read(run / RECIPE)
    if recipe.stage != "cascade":
        raise InputError(f"{run} trained stage {recipe.stage}, which is none of a cascade.")
    if not (run / "net" / zoo.WEIGHTS).is_file():
        raise InputError(f"{run} has not finished; go on with `echoflow train ... --resume`.")
    net, k = zoo.load(run / "net"), recipe.cascade
    if not isinstance(net, UNet3D):
        raise InputError(f"{run / 'net'} holds a {type(net).__name__}; a cascade is of UNet3D.")
    made = None if before is None else (before.shape[1], before.shape[2])
    if before is not None and k.before is not None and k.before != made:
        raise InputError(
            f"{run} was trained to follow a stage of {k.before[0]} frames of {k.before[1]} pixels; "
            f"the one before it makes {before.shape[1]} of {before.shape[2]}."
        )
    lowres = None
    if k.before is not None:
        lowres = replace(LOWRES["consistent"], resize=k.resize, level=k.lowres_level)
    plan = _plan(k.steps, k.scale, Churn(k.churn))
    fps = k.fps * net.config.frames / k.frames
    return _stage(net, k.process, plan, fps, lowres, k.before)


def _plan(steps: int, scale: float, churn: Churn) -> SamplingPlan:
    fresh = churn if churn.amount else None
    return SamplingPlan(steps, "heun", scale, ("ef",), churn=fresh, threshold=THRESHOLD)


def _stage(
    net: UNet3D,
    process: EDM,
    plan: SamplingPlan,
    fps: float,
    lowres: LowRes | None,
    follows: tuple[int, int] | None,
) -> Stage:
    k = net.config
    shape = (k.channels, k.frames, k.size, k.size)
    return Stage(Generator(net, process, shape, BATCH), plan, fps, lowres, follows)


def _computing(cascade: Cascade, device: torch.device | str, inference: Inference) -> Cascade:
    """The same on a device, by one of the ways to compute."""

    def moved(stage: Stage) -> Stage:
        net = for_inference(stage.generator.net.to(device), inference)
        return replace(stage, generator=replace(stage.generator, net=net))

    return Cascade(tuple(moved(stage) for stage in cascade.stages))


def _check_last(cascade: Cascade, run: Path) -> None:
    """That the last run there is makes the clips whole: the stages after it are not missing."""
    k = recipes.read(run / RECIPE).cascade
    _, frames, size, _ = cascade.shape
    if (frames, size) != (k.frames, k.size):
        raise InputError(
            f"{run} makes {frames} frames of {size} pixels of clips of {k.frames} frames of "
            f"{k.size}; the run of stage {len(cascade.stages) + 1} is missing: train it, and put "
            "it beside."
        )
