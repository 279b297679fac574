"""Training one stage of EchoDiffusion's cascades on recorded clips; stages train independently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.data.clips import Source
from echoflow.data.manifest import Manifest
from echoflow.data.pixels import signed, unsigned
from echoflow.data.prepare import Window, load_clip
from echoflow.lowres import log_snr, noised, resized
from echoflow.networks import zoo
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.sampling import SamplingPlan, sample
from echoflow.training.draws import Draws
from echoflow.training.generation import due
from echoflow.training.options import CascadeOptions, FrameFrom
from echoflow.training.recipes import Recipe
from echoflow.training.sources import fixed, videos
from echoflow.training.start import network
from echoflow.training.task import Logs, Loss
from echoflow.types import Batch, InputError, Record, Split

PLAN = SamplingPlan(steps=8, solver="heun")
SHOWN, MOMENTS = 3, 6  # clips on a picture, and frames of each
HELD_OUT, AT_ONCE = 24, 8


@dataclass(frozen=True)
class PixelClips:
    """Recorded clips with their EF and a conditioning frame: x (b, c, t, h, w) in [-1, 1].

    Read from disk when they are needed, from a random place; a video that is too short ends in
    black. `frame` as in `CascadeOptions`.
    """

    manifest: Manifest
    records: tuple[Record, ...]
    window: Window
    frame: FrameFrom
    channels: int

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        chosen = [self.records[i] for i in index.tolist()]
        clips, frames = zip(*(self.example(record, rng) for record in chosen), strict=True)
        x, frame = (signed(torch.from_numpy(np.stack(part))) for part in (clips, frames))
        x = repeat(x, "b t h w -> b c t h w", c=self.channels)
        frame = repeat(frame, "b h w -> b c h w", c=self.channels)
        ef = torch.tensor([record.ef for record in chosen], dtype=torch.float32)
        return Batch(x, Condition(ef=ef, frame=frame), tuple(record.uid for record in chosen))

    def example(self, record: Record, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Clip (t, h, w) and frame (h, w), uint8."""
        whole = load_clip(self.manifest, record, replace(self.window, frames=None)).video
        wanted = self.window.frames or len(whole)
        first = 1 if self.frame == "first" else int(rng.integers(max(len(whole) - wanted, 0) + 1))
        clip = whole[first : first + wanted]
        missing = ((0, wanted - len(clip)), (0, 0), (0, 0))
        clip = np.pad(clip, missing)
        frames = clip if self.frame == "clip" else whole
        return clip, frames[0 if self.frame == "first" else int(rng.integers(len(frames)))]


class StageTask:
    """One player, `net`, a stage that takes noise off clips, given a frame and an EF."""

    rates: Mapping[str, float] = {}

    def __init__(self, net: nn.Module, options: CascadeOptions, held_out: Sequence[Batch]) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.process = options.process
        self.options = options
        self.made: UNet3DConfig = cast(Any, net).config
        self.held_out = held_out
        _check(self.made, options)

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        still = due(step, self.options.still)
        x, cond = self.seen(batch, rng, in_time=not still)
        if self.options.crop is not None:
            x, cond = cropped(x, cond, self.options.crop, self.options.crops, rng)
        cond = cond.dropped({"ef": self.options.drop_ef}, rng.generators(len(x)))
        noise, t = rng.normal(x), self.process.times(rng.even()).to(x.device)
        net = partial(self.nets[player], in_time=not still)
        loss = self.process.loss(net, x, noise, t, cond)
        return Loss(loss.mean(), {"still": float(still)} if self.options.still else {})

    def seen(
        self, batch: Batch, rng: Draws, in_time: bool = True, level: float | None = None
    ) -> tuple[Tensor, Condition]:
        """Target and condition of this stage, from clips of the last one's size.

        Out of time nothing is resized along time either, so a first stage sees all frames. The
        noise on the low-resolution twin has one level for the whole batch, as released: drawn, or
        the one that is given.
        """
        x, k, mode = batch.x, self.made, self.options.resize
        shape = (k.frames if in_time else x.shape[2], k.size, k.size)
        target = resized(x, shape, mode)
        if self.options.before is None:
            return target, batch.cond
        frames, size = self.options.before
        small = resized(x, (frames if in_time else x.shape[2], size, size), mode)
        low = resized(small, shape, mode)
        t = rng.shared() * self.options.lowres_most if level is None else level
        ratio = log_snr(torch.full((len(x),), t, device=x.device))
        noisy = noised(low, rng.normal(low), ratio)
        return target, replace(batch.cond, lowres=noisy, lowres_noise=ratio)

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Mean loss on fixed batches, noise and times; `val/ef` is how much worse it is when every
        clip is told another one's EF: zero means that the EF is ignored."""
        net = averaged["net"]
        sums = {"val/loss": 0.0, "val/ef": 0.0}
        for number, batch in enumerate(self.held_out):
            x, cond, rng = self._held_out(net, batch, number)
            noise, t = rng.normal(x), self.process.times(rng.even()).to(x.device)
            assert cond.ef is not None
            swapped = replace(cond, ef=cond.ef.flip(0))
            right, wrong = (
                float(self.process.loss(net, x, noise, t, one).mean()) for one in (cond, swapped)
            )
            sums["val/loss"] += right / len(self.held_out)
            sums["val/ef"] += (wrong - right) / len(self.held_out)
        return sums

    @torch.no_grad()
    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray:
        """Rows: conditioning frame and recorded clip, its low-resolution twin, a generated clip."""
        net, batch = averaged["net"], self.held_out[0]
        some = slice(min(SHOWN, len(batch.x)))
        few = Batch(batch.x[some], batch.cond.select(some), batch.uid[some])
        x, cond, _ = self._held_out(net, few, 0, self.options.lowres_level)
        device = x.device
        made = sample(net, self.process, cond, x.shape[1:], range(len(x)), PLAN, device=device)
        assert cond.frame is not None
        frame = resized(cond.frame[:, :, None], (1, *x.shape[-2:]), "nearest")
        clips = [x, *([] if cond.lowres is None else [cond.lowres]), made]
        moments = torch.linspace(0, x.shape[2] - 1, MOMENTS).round().long()
        rows = [torch.cat([frame, clip[:, :, moments]], dim=2).mean(1) for clip in clips]
        pixels = unsigned(torch.stack(rows)).cpu()
        return rearrange(pixels, "r n t h w -> (n r h) (t w)").numpy()

    def _held_out(
        self, net: nn.Module, batch: Batch, number: int, level: float | None = None
    ) -> tuple[Tensor, Condition, Draws]:
        device = next(net.parameters()).device
        rng = Draws(0, number, range(len(batch.x)), len(batch.x))
        there = Batch(batch.x.to(device), batch.cond.to(device), batch.uid)
        return *self.seen(there, rng, level=level), rng


def cropped(
    x: Tensor, cond: Condition, side: int, crops: Literal["clip", "frame"], rng: Draws
) -> tuple[Tensor, Condition]:
    """A random square of each clip, of its low-resolution twin and of its frame.

    With "frame" a place of its own for every moment, which clip and twin share, and for the frame.
    """
    assert cond.frame is not None
    b, _, t, h, _ = x.shape
    own = crops == "frame"
    places = rng.integers(0, h - side + 1, 2 * (t + 1) if own else 2).reshape(b, -1, 2).tolist()

    def cut(clip: Tensor, of: Sequence[Sequence[int]]) -> Tensor:
        """(c, t, h, w) at one place for each moment, or at one for all."""
        if not own:
            top, left = of[0]
            return clip[..., top : top + side, left : left + side]
        parts = zip(clip.unbind(1), of, strict=False)
        return torch.stack([p[:, i : i + side, j : j + side] for p, (i, j) in parts], dim=1)

    def all_of(clips: Tensor) -> Tensor:
        return torch.stack([cut(clip, of) for clip, of in zip(clips, places, strict=True)])

    last = [of[-1:] for of in places]
    frame = torch.stack([cut(f[:, None], of) for f, of in zip(cond.frame, last, strict=True)])
    low = None if cond.lowres is None else all_of(cond.lowres)
    return all_of(x), replace(cond, frame=frame[:, :, 0], lowres=low)


def cascade_stage(recipe: Recipe) -> tuple[StageTask, Source]:
    """Task and training source of a recipe."""
    options, config = recipe.cascade, zoo.config_of(recipe.model)
    assert isinstance(config, UNet3DConfig)
    window = Window(options.frames, options.fps, options.size, short="black", time="zoom")

    def clips(manifest: Manifest, records: tuple[Record, ...]) -> Source:
        without = [record.uid for record in records if record.ef is None]
        if without:
            raise InputError(
                f"{manifest.root}: a cascade needs the EF of every video; {len(without)} have "
                f"none, such as {without[0]}."
            )
        return PixelClips(manifest, records, window, options.frame, config.channels)

    train, held = (videos(recipe, split, clips) for split in (Split.TRAIN, Split.VAL))
    return StageTask(network(recipe), options, fixed(held, AT_ONCE, HELD_OUT)), train


def _check(made: UNet3DConfig, options: CascadeOptions) -> None:
    """That clips are at least what the stage makes, and the stage before makes no more than it."""
    if made.size > options.size or made.frames > options.frames:
        raise InputError(
            f"this stage makes {made.frames} frames of {made.size} pixels out of clips of "
            f"{options.frames} frames of {options.size}; raise cascade.frames or cascade.size."
        )
    if made.lowres != (options.before is not None):
        says = (
            "needs cascade.before, the frames and" if made.lowres else "is a first one and has no"
        )
        raise InputError(f"this stage {says} size of the stage before it.")
    if options.before is not None and (
        options.before[0] > made.frames or options.before[1] > made.size
    ):
        raise InputError(
            f"the stage before makes {options.before[0]} frames of {options.before[1]} pixels and "
            f"this one {made.frames} of {made.size}; a stage makes no less than the one before."
        )
    if options.crop is not None and (
        made.size != options.size or options.crop > made.size or options.crop % made.step
    ):
        raise InputError(
            f"cascade.crop={options.crop} must be at most {made.size}, a multiple of {made.step}, "
            f"and of a stage that makes the {options.size} pixels of the clips."
        )
