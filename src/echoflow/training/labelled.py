"""Training Free-Echo's network: pixel clips and, as far as it is told of them, labels.

The method itself needs no labels in training: as published the network is told of the sector alone
(CAMUS) or of nothing (EchoNet-Dynamic), and a segmentation enters when it samples. Told of all
labels, and of none in a share of the examples, it is the classifier-free baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.data.clips import Source
from echoflow.data.feed import known_masks
from echoflow.data.labels import Layout, in_free_echo, planes, resized, sector_of
from echoflow.data.manifest import Manifest
from echoflow.data.pixels import signed, unsigned
from echoflow.data.prepare import Window, load_clip
from echoflow.data.resample import square
from echoflow.data.truths import label_maps
from echoflow.networks import zoo
from echoflow.networks.unet3d_labels import LabelUNet3DConfig
from echoflow.process import EDM
from echoflow.sampling import SamplingPlan, sample
from echoflow.training.draws import Draws
from echoflow.training.options import FreeEchoOptions, Told
from echoflow.training.recipes import Recipe
from echoflow.training.sources import fixed, videos
from echoflow.training.start import network
from echoflow.training.task import Logs, Loss
from echoflow.types import Batch, InputError, Record, Split

SHOWN = 4  # clips on a picture


@dataclass(frozen=True)
class LabelledClips:
    """Clips (n, t, h, w) uint8 in memory and their label maps (n, h, w): x (b, c, t, h, w), mask
    (b, 4, h, w)."""

    videos: np.ndarray
    labels: np.ndarray
    uids: tuple[str, ...]
    channels: int

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        records: Sequence[Record],
        window: Window,
        told: Told,
        channels: int,
    ) -> LabelledClips:
        """The clips of `records`, cut from their first frame, or with all labels from the first
        frame that is drawn; those without one are passed over."""
        found = [one for one in (_labelled(manifest, r, window, told) for r in records) if one]
        if not found:
            raise InputError(
                f"{manifest.root}: no video of this split is drawn; set freeecho.told=sector, or "
                "use a dataset with label maps or tracings."
            )
        clips, maps, uids = zip(*found, strict=True)
        return cls(np.stack(clips), np.stack(maps), uids, channels)

    def __len__(self) -> int:
        return len(self.videos)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        x = signed(torch.from_numpy(self.videos[index]))
        x = repeat(x, "b t h w -> b c t h w", c=self.channels)
        mask = planes(self.labels[index])
        return Batch(x, Condition(mask=mask), tuple(self.uids[i] for i in index.tolist()))


def _labelled(
    manifest: Manifest, record: Record, window: Window, told: Told
) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Clip, label map and name of a video; None if all labels are wanted and it has none."""
    if told != "labels":
        video = load_clip(manifest, record, window).video
        sector = sector_of(video) if told == "sector" else np.zeros(video.shape[1:], bool)
        return video, sector.astype(np.uint8), record.uid
    drawn = label_maps(manifest, record)
    if drawn:
        first = min(drawn)
        window = replace(window, start=first / record.fps)
        video = load_clip(manifest, record, window).video
        (camus,) = square(drawn[first][None])
        return video, _five(resized(camus, window.size, window.size), "camus", video), record.uid
    return _drawn(manifest, record, window)


def _drawn(
    manifest: Manifest, record: Record, window: Window
) -> tuple[np.ndarray, np.ndarray, str] | None:
    """The same of a video of which the left ventricle alone is drawn."""
    whole = load_clip(manifest, record, replace(window, frames=None))
    traced, masks = known_masks(manifest, record, replace(window, frames=None), whole)
    if not len(traced):
        return None
    start = replace(window, start=int(traced[0]) / whole.fps)
    video = load_clip(manifest, record, start).video
    return video, _five(masks[0].astype(np.uint8), "cavity", video), record.uid


def _five(labels: np.ndarray, layout: Layout, video: np.ndarray) -> np.ndarray:
    sector = sector_of(video) | (labels > 0)  # what was drawn was seen
    return in_free_echo(labels, layout, sector)


class LabelTask:
    """One player, `net`, that takes noise off clips, told of their labels or of none."""

    rates: Mapping[str, float] = {}

    def __init__(self, net: nn.Module, options: FreeEchoOptions, held_out: Sequence[Batch]) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.process = EDM(sigma_data=options.sigma_data)
        self.options = options
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        cond = batch.cond.dropped({"mask": self.options.drop}, rng.generators(len(batch.x)))
        noise, t = rng.normal(batch.x), self.process.times(rng.even()).to(batch.x.device)
        loss = self.process.loss(self.nets[player], batch.x, noise, t, cond)
        return Loss(loss.mean(), {})

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Mean loss on fixed batches, noise and times; `val/mask` is how much worse it is without
        the labels: zero means that they are ignored."""
        net = averaged["net"]
        device = next(net.parameters()).device
        sums = {"val/loss": 0.0, "val/mask": 0.0}
        for number, batch in enumerate(self.held_out):
            rng = Draws(0, number, range(len(batch.x)), len(batch.x))
            x, cond = batch.x.to(device), batch.cond.to(device)
            noise, t = rng.normal(x), self.process.times(rng.even()).to(device)
            right = float(self.process.loss(net, x, noise, t, cond).mean())
            without = float(self.process.loss(net, x, noise, t, cond.without("mask")).mean())
            sums["val/loss"] += right / len(self.held_out)
            sums["val/mask"] += (without - right) / len(self.held_out)
        return sums

    @torch.no_grad()
    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray:
        """Labels, recorded first frames, and first, middle and last frames of new clips."""
        net, batch = averaged["net"], self.held_out[0]
        device, some = next(net.parameters()).device, slice(min(SHOWN, len(batch.x)))
        cond, x = batch.cond.select(some), batch.x[some]
        plan = SamplingPlan(steps=12, solver="heun")
        seeds = range(len(x))
        made = sample(
            net, self.process, cond.to(device), x.shape[1:], seeds, plan, device=device
        ).cpu()
        rows = [_greys(cond), *_frames(x, [0]), *_frames(made, [0, x.shape[2] // 2, -1])]
        return rearrange(torch.stack(rows), "r n h w -> (r h) (n w)").numpy()


def _greys(cond: Condition) -> Tensor:
    assert cond.mask is not None
    label = torch.arange(1, 1 + cond.mask.shape[1]).reshape(1, -1, 1, 1)
    return (60 * (cond.mask * label).sum(1)).byte()


def _frames(x: Tensor, numbers: Sequence[int]) -> list[Tensor]:
    return [unsigned(x[:, :, number].mean(1)) for number in numbers]


def label_conditioned(recipe: Recipe) -> tuple[LabelTask, Source]:
    """Task and training source of a recipe."""
    options, config = recipe.freeecho, zoo.config_of(recipe.model)
    assert isinstance(config, LabelUNet3DConfig)
    config = replace(config, frames=options.frames)
    window = Window(options.frames, options.fps, config.size, short="black")

    def clips(manifest: Manifest, records: tuple[Record, ...]) -> Source:
        return LabelledClips.of(manifest, records, window, options.told, config.channels)

    train, held = (videos(recipe, split, clips) for split in (Split.TRAIN, Split.VAL))
    return LabelTask(network(recipe, config), options, fixed(held, 16)[:4]), train
