"""Cascades on disk: published ones, and stages trained here.

FOLDER/config.yaml, merged.pt       one published cascade
FOLDER/2SCM_v6/...                  a release of several; the name says which: 2SCM
FOLDER/NAME-1/, FOLDER/NAME-2/ ...  the finished runs of its stages (recipe.yaml, net/)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from echoflow.cascade import BATCH, Cascade, Stage
from echoflow.interop import echodiffusion, hub
from echoflow.lowres import LOWRES, LowRes
from echoflow.metrics.report import fingerprint
from echoflow.networks import zoo
from echoflow.networks.inference import for_inference
from echoflow.networks.unet3d import UNet3D
from echoflow.pipeline import NANO, Generator
from echoflow.process import EDM
from echoflow.sampling import Churn, SamplingPlan
from echoflow.training import recipes
from echoflow.training.folder import RECIPE
from echoflow.types import Inference, InputError, choose

SettingsName = Literal["ours", "code", "paper"]
RELEASED: Mapping[str, str] = {"1SCM": "1SCM_v2", "2SCM": "2SCM_v6", "4SCM": "4SCM_v2"}
"""The folders of the release by the names of the paper."""
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
    if weights == NANO:
        raise InputError(
            f"the weights {NANO} hold no cascade{f' {name}' if name else ''}; give the folder of a "
            "published one, or of runs of its stages."
        )
    root = _root(weights, name)
    folder = _published(root, name)
    if folder is not None:
        return _computing(released(folder, settings or "ours"), device, inference)
    runs = _runs(root, name)
    if settings is not None:
        raise InputError(
            f"the settings {settings} are for published cascades; the runs in {root} are sampled "
            "as their recipes say. Leave --settings out."
        )
    cascade = trained(runs)
    _check_last(cascade, runs[-1])
    return _computing(cascade, device, inference)


def fingerprint_of(weights: str | Path, name: str | None = None) -> str:
    """Of the files that `load` reads, whatever else lies beside them."""
    root = _root(weights, name)
    folder = _published(root, name)
    if folder is not None:
        files = [folder / echodiffusion.CONFIG, folder / echodiffusion.WEIGHTS]
    else:
        runs = _runs(root, name)
        files = [path for run in runs for path in (run / RECIPE, run / "net" / zoo.WEIGHTS)]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} does not exist; the cascade is not finished.")
    return " ".join(fingerprint(path) for path in files)


def holds_one(root: Path) -> bool:
    """Whether a folder holds a cascade, published or as runs, or several."""
    there = [root, *(path.parent for path in root.glob(f"*/{echodiffusion.CONFIG}"))]
    files = (echodiffusion.CONFIG, echodiffusion.WEIGHTS)
    return bool(_named(root)) or any(all((p / f).is_file() for f in files) for p in there)


def released(
    folder: Path,
    settings: SettingsName = "ours",
    kind: Literal["averaged", "raw"] = "averaged",
) -> Cascade:
    """The published cascade in a folder, sampled as its config says."""
    chosen = SETTINGS[settings]
    nets = echodiffusion.load(folder, kind=kind, zero_ef_is_null=chosen.zero_ef_is_null)
    told = echodiffusion.read_stages(folder / echodiffusion.CONFIG)
    stages = []
    for i, (net, one) in enumerate(zip(nets, told, strict=True)):
        lowres = replace(LOWRES[chosen.lowres], resize=one.resize) if i else None
        factor = math.sqrt(one.churn.inflation) if chosen.variance else one.churn.inflation
        plan = _plan(one.steps, SCALE, replace(one.churn, inflation=factor))
        stages.append(_stage(net, one.process, plan, one.fps, lowres))
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
    assert isinstance(net, UNet3D)
    made = None if before is None else (before.shape[1], before.shape[2])
    if before is not None and k.before is not None and k.before != made:
        raise InputError(
            f"{run} was trained to follow a stage of {k.before[0]} frames of {k.before[1]} pixels; "
            f"the one before it makes {before.shape[1]} of {before.shape[2]}."
        )
    lowres = None if k.before is None else replace(LOWRES["consistent"], resize=k.resize)
    plan = _plan(k.steps, k.scale, Churn(k.churn))
    fps = k.fps * net.config.frames / k.frames
    return _stage(net, EDM(sigma_data=k.sigma_data), plan, fps, lowres)


def _plan(steps: int, scale: float, churn: Churn) -> SamplingPlan:
    fresh = churn if churn.amount else None
    return SamplingPlan(steps, "heun", scale, ("ef",), churn=fresh, threshold=THRESHOLD)


def _stage(
    net: UNet3D, process: EDM, plan: SamplingPlan, fps: float, lowres: LowRes | None
) -> Stage:
    k = net.config
    shape = (k.channels, k.frames, k.size, k.size)
    return Stage(Generator(net, process, shape, BATCH), plan, fps, lowres)


def _computing(cascade: Cascade, device: torch.device | str, inference: Inference) -> Cascade:
    """The same on a device, by one of the ways to compute."""

    def moved(stage: Stage) -> Stage:
        net = for_inference(stage.generator.net.to(device), inference)
        return replace(stage, generator=replace(stage.generator, net=net))

    return Cascade(tuple(moved(stage) for stage in cascade.stages))


# ---- where it is --------------------------------------------------------------------------------


def _root(weights: str | Path, name: str | None) -> Path:
    """The local folder; of a hub id the part that holds the cascade."""
    if Path(weights).expanduser().exists():
        return hub.find(weights)
    return hub.find(weights, None if name is None else RELEASED.get(name, name))


def _published(root: Path, name: str | None) -> Path | None:
    """The folder with a config of a cascade: this one, or the one of that name in it."""
    if (root / echodiffusion.CONFIG).is_file():
        _check_name(root, name)
        return root
    there = sorted(path.parent for path in root.glob(f"*/{echodiffusion.CONFIG}"))
    of_name = [f for f in there if name in (None, f.name, f.name.partition("_")[0])]
    if len(of_name) > 1:
        found = ", ".join(folder.name for folder in of_name)
        raise InputError(f"{root} holds several cascades: {found}; choose one by --model.")
    if not of_name:
        return None
    _check_name(of_name[0], name)
    return of_name[0]


def _check_name(folder: Path, name: str | None) -> None:
    """That a folder which is said to be 2SCM has two stages."""
    found = len(echodiffusion.read_stages(folder / echodiffusion.CONFIG))
    if name is not None and name in RELEASED and found != int(name[0]):
        raise InputError(f"{folder} holds a cascade of {found} stages, not {name}.")


def _runs(root: Path, name: str | None) -> list[Path]:
    """The runs NAME-1, NAME-2, ... of a folder."""
    names = _named(root)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        asked = "a cascade" if name is None else f"the cascade {name}"
        there = f"; it has {', '.join(names)}" if names else ""
        raise InputError(
            f"there is not {asked} in {root}{there}. Give a folder with config.yaml and merged.pt, "
            "or with runs called NAME-1, NAME-2 and so on, and --model NAME."
        )
    runs = [root / f"{name}-1"]
    while (later := root / f"{name}-{len(runs) + 1}").is_dir():
        runs.append(later)
    return runs


def _named(root: Path) -> list[str]:
    """Every NAME of a run NAME-1 that trained the first stage of a cascade."""
    firsts = sorted(p.parent.name[:-2] for p in root.glob(f"*-1/{RECIPE}"))
    return [one for one in firsts if recipes.read(root / f"{one}-1" / RECIPE).stage == "cascade"]


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
