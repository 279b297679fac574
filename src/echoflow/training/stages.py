"""From a recipe to a task and its source: which network learns what from which data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from echoflow.data.clips import (
    AnatomySource,
    ClipSource,
    FrameSource,
    MaskedSource,
    PairSource,
    Source,
    VideoSource,
)
from echoflow.data.manifest import Manifest
from echoflow.data.shards import Latents, labelled
from echoflow.data.sources import open_source
from echoflow.data.video import read_gray
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.networks.trunks import DeepLabConfig, R2Plus1DConfig, ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.training.autoencoder import AutoencoderTask
from echoflow.training.downstream import RegressionTask, ReIdTask, SegmentationTask
from echoflow.training.fit import Progress, fit
from echoflow.training.folder import fingerprint_of
from echoflow.training.generation import FlowTask
from echoflow.training.recipes import Recipe, Stage
from echoflow.training.task import Task
from echoflow.types import Batch, InputError, Record, Split

HELD_OUT = 256  # examples in a fixed validation set

Assembled = tuple[Task, Source]

MODELS: dict[Stage, tuple[type, ...]] = {
    "avae": (AVAEConfig,),
    "lifm": (FMiTConfig, FMiTv1Config, UNetConfig),
    "lvfm": (FMvTConfig, FMvTv1Config, STUNetConfig),
    "reid": (ReIdConfig, ReId18Config),
    "ef": (EFRegressorConfig, R2Plus1DConfig),
    "lv": (LVSegmenterConfig, DeepLabConfig),
}


def train(
    recipe: Recipe,
    run: str | Path,
    resume: bool = False,
    progress: Progress = lambda step, logs: None,
) -> Path:
    """Train what the recipe says; see `fit` for what the run folder gets."""
    torch.manual_seed(recipe.engine.seed)
    task, source = assemble(recipe)
    return fit(task, source, recipe, run, resume, progress, fingerprint_of(recipe.data))


def assemble(recipe: Recipe) -> Assembled:
    """The untrained task and the training source of a recipe."""
    config = zoo.config_of(recipe.model)
    if not isinstance(config, MODELS[recipe.stage]):
        raise InputError(
            f"stage {recipe.stage} cannot train {recipe.model}, a {type(config).__name__[:-6]}."
        )
    builders: dict[Stage, Callable[[Recipe], Assembled]] = {
        "avae": _avae,
        "lifm": _lifm,
        "lvfm": _lvfm,
        "reid": _reid,
        "ef": _ef,
        "lv": _lv,
    }
    return builders[recipe.stage](recipe)


def load_videos(manifest: Manifest, records: tuple[Record, ...]) -> np.ndarray:
    """Every video of `records` in memory, (n, t, h, w) uint8; all must have one shape."""
    shapes = {(r.frames, r.height, r.width) for r in records}
    if len(shapes) != 1:
        found = ", ".join("x".join(map(str, s)) for s in sorted(shapes)[:3]) or "no videos"
        raise InputError(
            f"{manifest.root}: training in memory needs videos of one shape; found {found}."
        )
    videos = np.empty((len(records), *shapes.pop()), np.uint8)
    for row, record in enumerate(records):
        videos[row] = read_gray(manifest.video(record))[0]
    return videos


def _avae(recipe: Recipe) -> Assembled:
    manifest = open_source(recipe.data)
    train, val = manifest.of(Split.TRAIN), manifest.of(Split.VAL)
    source = FrameSource(load_videos(manifest, train), tuple(r.uid for r in train))
    held = FrameSource(load_videos(manifest, val), tuple(r.uid for r in val))
    frames = _fixed(held)[0].x
    return AutoencoderTask(_network(recipe), recipe.avae, frames), source


def _lifm(recipe: Recipe) -> Assembled:
    train, held = (AnatomySource(*latents) for latents in _latents(recipe))
    return FlowTask(_network(recipe), recipe.flow, _fixed(held, 64)), train


def _lvfm(recipe: Recipe) -> Assembled:
    frames, anatomy = recipe.flow.frames, recipe.flow.anatomy
    train, held = (ClipSource(z, frames, anatomy, sampled) for z, sampled in _latents(recipe))
    return FlowTask(_network(recipe), recipe.flow, _fixed(held, 16)[:6]), train


def _reid(recipe: Recipe) -> Assembled:
    train, held = (PairSource(*latents) for latents in _latents(recipe))
    return ReIdTask(_network(recipe), recipe.reid, _fixed(held)), train


def _ef(recipe: Recipe) -> Assembled:
    manifest = open_source(recipe.data)
    train, val = manifest.of(Split.TRAIN), manifest.of(Split.VAL)
    config = zoo.config_of(recipe.model)
    assert isinstance(config, EFRegressorConfig | R2Plus1DConfig)
    source = VideoSource(load_videos(manifest, train), train, config.frames, augment=True)
    held = VideoSource(load_videos(manifest, val), val, config.frames)
    return RegressionTask(_network(recipe), _fixed(held, 16)), source


def _lv(recipe: Recipe) -> Assembled:
    manifest = open_source(recipe.data)
    train = _masked(manifest, manifest.of(Split.TRAIN), augment=True)
    held = _masked(manifest, manifest.of(Split.VAL), augment=False)
    return SegmentationTask(_network(recipe), _fixed(held, 32)), train


def _masked(manifest: Manifest, records: tuple[Record, ...], augment: bool) -> MaskedSource:
    videos, masks = [], []
    for clip, mask in labelled(manifest, records):
        if mask is None:
            raise InputError(f"{clip.uid}: no LV masks; segmentation is trained on phantoms.")
        videos.append(clip.video)
        masks.append(mask)
    return MaskedSource(np.stack(videos), np.stack(masks), tuple(r.uid for r in records), augment)


def _network(recipe: Recipe) -> nn.Module:
    """The recipe's network, untrained or from the weights it starts from."""
    net = zoo.build(recipe.model)
    if recipe.start is not None:
        zoo.load_weights(net, Path(recipe.start) / zoo.WEIGHTS)
    return net


def _latents(recipe: Recipe) -> list[tuple[Latents, bool]]:
    """Training and validation latents, and whether they are drawn from the posterior."""
    sampled = recipe.posterior == "draw"
    return [(Latents.read(recipe.data, split), sampled) for split in (Split.TRAIN, Split.VAL)]


def _fixed(source: Source, batch: int = HELD_OUT) -> list[Batch]:
    """The first `HELD_OUT` examples of a source, always the same, in batches."""
    rng = np.random.default_rng(0)
    index = np.random.default_rng(1).permutation(len(source))[:HELD_OUT]
    return [source.batch(part, rng) for part in np.array_split(index, max(1, len(index) // batch))]
