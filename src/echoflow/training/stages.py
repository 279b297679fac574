"""From a recipe to a task and its source: which network learns what from which data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from echoflow.data.clips import AnatomySource, ClipSource, FrameSource, PairSource, Source
from echoflow.data.manifest import Manifest
from echoflow.data.shards import Latents
from echoflow.latents import LatentSpace
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.networks.trunks import DeepLabConfig, R2Plus1DConfig, ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.networks.unet3d_labels import LabelUNet3DConfig
from echoflow.training import checkpoint
from echoflow.training.autoencoder import AutoencoderTask
from echoflow.training.cascaded import cascade_stage
from echoflow.training.downstream import ReIdTask, begin_similarity
from echoflow.training.fit import Progress, fit
from echoflow.training.folder import clear
from echoflow.training.generation import FlowTask
from echoflow.training.judges import regression, segmentation
from echoflow.training.labelled import label_conditioned
from echoflow.training.pictures import space_of
from echoflow.training.recipes import Recipe, Stage
from echoflow.training.recordings import every_frame
from echoflow.training.sources import fingerprint, fixed, joined, latents, load_videos, videos
from echoflow.training.start import network
from echoflow.training.task import Task
from echoflow.types import InputError, Record, Split

Assembled = tuple[Task, Source]

MODELS: dict[Stage, tuple[type, ...]] = {
    "avae": (AVAEConfig,),
    "lifm": (FMiTConfig, FMiTv1Config, UNetConfig),
    "lvfm": (FMvTConfig, FMvTv1Config, STUNetConfig),
    "reid": (ReIdConfig, ReId18Config),
    "ef": (EFRegressorConfig, R2Plus1DConfig),
    "lv": (LVSegmenterConfig, DeepLabConfig),
    "freeecho": (LabelUNet3DConfig,),
    "cascade": (UNet3DConfig,),
}
NETWORKS = {**dict.fromkeys(MODELS, "net"), "avae": "avae"}
"""The folder in a finished run that holds the network of a stage."""


def train(
    recipe: Recipe,
    run: str | Path,
    resume: bool = False,
    progress: Progress = lambda step, logs: None,
) -> Path:
    """Train what the recipe says; see `fit` for what the run folder gets."""
    torch.manual_seed(recipe.engine.seed)
    task, source = assemble(recipe)
    return fit(task, source, recipe, run, resume, progress, fingerprint(recipe))


def trained(recipe: Recipe, run: str | Path, progress: Progress = lambda step, logs: None) -> Path:
    """The folder of the averaged network of a run, which is trained, or trained on, if need be.

    Whatever stopped it, the same call goes on; what there was before the first checkpoint goes.
    """
    run = Path(run)
    net = run / NETWORKS[recipe.stage]
    if not (net / zoo.WEIGHTS).is_file():
        resume = bool(checkpoint.checkpoints(run))
        if run.exists() and not resume:
            clear(run)  # nothing to keep
        train(recipe, run, resume, progress)
    return net


def assemble(recipe: Recipe) -> Assembled:
    """The untrained task and the training source of a recipe."""
    config = zoo.config_of(recipe.model)
    if not isinstance(config, MODELS[recipe.stage]):
        raise InputError(
            f"stage {recipe.stage} cannot train {recipe.model}, a {type(config).__name__[:-6]}."
        )
    if recipe.engine.keep == "best" and recipe.stage in ("avae", "reid"):
        raise InputError(f"stage {recipe.stage} has no validation loss; set engine.keep=last.")
    engine = recipe.engine
    if recipe.stage == "reid" and engine.micro is not None and engine.micro < engine.batch:
        raise InputError(
            "stage reid tells partners from the rest of the batch, which engine.micro would cut "
            "up; leave engine.micro out, and make engine.batch smaller if it does not fit."
        )
    builders: dict[Stage, Callable[[Recipe], Assembled]] = {
        "avae": _avae,
        "lifm": _lifm,
        "lvfm": _lvfm,
        "reid": _reid,
        "ef": regression,
        "lv": segmentation,
        "freeecho": label_conditioned,
        "cascade": cascade_stage,
    }
    return builders[recipe.stage](recipe)


def _avae(recipe: Recipe) -> Assembled:
    every, workers = recipe.avae.every, recipe.engine.workers

    def frames(manifest: Manifest, records: tuple[Record, ...]) -> Source:
        if every is not None:
            return every_frame(manifest, records, every, workers)
        return FrameSource(load_videos(manifest, records), tuple(r.uid for r in records))

    held = fixed(videos(recipe, Split.VAL, frames, few=every is not None))[0].x
    train = videos(recipe, Split.TRAIN, frames)
    return AutoencoderTask(network(recipe), recipe.avae, held), train


def _lifm(recipe: Recipe) -> Assembled:
    train, held = _latents(recipe, AnatomySource)
    return FlowTask(network(recipe), recipe.flow, fixed(held, 64), _space(recipe)), train


def _lvfm(recipe: Recipe) -> Assembled:
    frames, anatomy = recipe.flow.frames, recipe.flow.anatomy
    train, held = _latents(recipe, lambda z, drawn: ClipSource(z, frames, anatomy, drawn))
    return FlowTask(network(recipe), recipe.flow, fixed(held, 16)[:6], _space(recipe)), train


def _reid(recipe: Recipe) -> Assembled:
    train, held = _latents(recipe, PairSource)
    net = network(recipe)
    if recipe.reid.head == "similarity" and recipe.start is None:
        begin_similarity(net)
    return ReIdTask(net, recipe.reid, fixed(held)), train


def _space(recipe: Recipe) -> LatentSpace | None:
    """What decodes the latents for pictures, if the recipe names it."""
    if recipe.decoder is None:
        return None
    return space_of(recipe.decoder, latents(recipe, Split.TRAIN)[0].stats)


def _latents(recipe: Recipe, source: Callable[[Latents, bool], Source]) -> tuple[Source, Source]:
    """Training and validation latents, drawn from the posterior or its means."""
    drawn = recipe.posterior == "draw"
    train, held = (
        joined([source(z, drawn) for z in latents(recipe, split)])
        for split in (Split.TRAIN, Split.VAL)
    )
    return train, held
