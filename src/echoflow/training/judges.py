"""The networks that judge, from a recipe: EF regression and LV segmentation with their sources."""

from __future__ import annotations

import dataclasses
from functools import partial
from statistics import median

import numpy as np

from echoflow.data.clips import MaskedSource, Source, VideoSource
from echoflow.data.manifest import Manifest
from echoflow.data.shards import labelled
from echoflow.data.sources import open_source
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig
from echoflow.networks.trunks import DeepLabConfig, R2Plus1DConfig
from echoflow.training.downstream import RegressionTask, SegmentationTask
from echoflow.training.recipes import Recipe
from echoflow.training.recordings import Clips, Drawn, grey_statistics, hearts
from echoflow.training.sources import fixed, folders, load_videos, videos
from echoflow.training.start import network
from echoflow.types import InputError, Record, Split


def regression(recipe: Recipe) -> tuple[RegressionTask, Source]:
    """EF from clips."""
    config = regressor_config(recipe)
    train, held = (
        videos(recipe, split, partial(_clips, recipe, config, training))
        for split, training in ((Split.TRAIN, True), (Split.VAL, False))
    )
    return RegressionTask(network(recipe, config), recipe.ef, fixed(held, 16)), train


def _clips(
    recipe: Recipe,
    config: EFRegressorConfig | R2Plus1DConfig,
    training: bool,
    manifest: Manifest,
    records: tuple[Record, ...],
) -> Source:
    """Clips of one dataset: from memory, or read when they are needed."""
    options = recipe.ef
    if options.augment == "grain":
        return VideoSource(load_videos(manifest, records), records, config.frames, training)
    found = hearts(manifest, records, options.by_anatomy and training)
    pad = options.pad if training and options.augment == "crop" else 0
    return Clips(manifest, found, config.frames, config.fps, pad, grey_of(config))


def regressor_config(recipe: Recipe) -> EFRegressorConfig | R2Plus1DConfig:
    """The network's config with what the options say of it, and the rate of the clips it sees."""
    config, options = zoo.config_of(recipe.model), recipe.ef
    assert isinstance(config, EFRegressorConfig | R2Plus1DConfig)
    names = ("frames", "mean", "std", "bias")
    asked = {n: v for n in names if (v := getattr(options, n)) is not None}
    known = {field.name for field in dataclasses.fields(config)}
    if foreign := sorted(asked.keys() - known):
        raise InputError(f"{recipe.model} has no {foreign[0]}; leave out ef.{foreign[0]}.")
    if options.augment != "grain":
        asked["fps"] = (rate_of(recipe) or config.fps) / options.period
    return dataclasses.replace(config, **asked)


def rate_of(recipe: Recipe) -> float | None:
    """The median rate of a recipe's training videos in Hz; None if there are none."""
    opened = [open_source(folder, splits=recipe.splits) for folder in folders(recipe.data)]
    rates = [record.fps for manifest in opened for record in manifest.of(Split.TRAIN)]
    return median(rates) if rates else None


def grey_of(config: EFRegressorConfig | R2Plus1DConfig) -> float:
    """The mean grey of a network's clips in [-1, 1]; black if it does not know one."""
    return -1.0 if isinstance(config, EFRegressorConfig) else float(np.mean(config.mean)) / 128 - 1


def segmentation(recipe: Recipe) -> tuple[SegmentationTask, Source]:
    """The left ventricle of frames."""
    train, held = (
        videos(recipe, split, partial(_frames, recipe, training))
        for split, training in ((Split.TRAIN, True), (Split.VAL, False))
    )
    return SegmentationTask(
        network(recipe, segmenter_config(recipe)), recipe.lv, fixed(held, 32)
    ), train


def _frames(
    recipe: Recipe, training: bool, manifest: Manifest, records: tuple[Record, ...]
) -> Source:
    if recipe.lv.frames == "ed-es":
        return Drawn.of(manifest, records)
    return _masked(manifest, records, training)


def segmenter_config(recipe: Recipe) -> LVSegmenterConfig | DeepLabConfig:
    """The network's config with the grey levels of training videos, where they are asked for."""
    config, videos = zoo.config_of(recipe.model), recipe.lv.statistics
    assert isinstance(config, LVSegmenterConfig | DeepLabConfig)
    if not videos:
        return config
    if not isinstance(config, DeepLabConfig):
        raise InputError(f"{recipe.model} has no mean; leave out lv.statistics.")
    manifest = open_source(folders(recipe.data)[0], splits=recipe.splits)
    known = grey_statistics(manifest, manifest.of(Split.TRAIN), videos, recipe.engine.workers)
    return DeepLabConfig(*known)


def _masked(manifest: Manifest, records: tuple[Record, ...], augment: bool) -> MaskedSource:
    videos, masks = [], []
    for clip, mask in labelled(manifest, records):
        if mask is None:
            raise InputError(
                f"{clip.uid} is not drawn in every frame, as phantoms are; set lv.frames=ed-es."
            )
        videos.append(clip.video)
        masks.append(mask)
    return MaskedSource(np.stack(videos), np.stack(masks), tuple(r.uid for r in records), augment)
