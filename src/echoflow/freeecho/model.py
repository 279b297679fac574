"""Free-Echo in pixels: videos from a segmentation by a network that was trained without any.

The pseudo-video of a label map, partly noised, is where sampling begins (Nguyen et al. 2024,
algorithm 1); the network takes it from there to an echocardiogram. `begun` names the baselines of
the paper's Table 1 beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
from einops import repeat
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.beat import beating, contraction
from echoflow.data.labels import Label, checked, known, planes
from echoflow.data.pixels import unsigned
from echoflow.freeecho.made import FromLabels
from echoflow.freeecho.pseudo import coloured, pseudo_video
from echoflow.freeecho.transfer import RELEASED, Transfer
from echoflow.interop import freeecho as published
from echoflow.networks import zoo
from echoflow.networks.inference import device_of
from echoflow.networks.unet3d_labels import LabelUNet3D
from echoflow.process import EDM
from echoflow.sampling import Churn, Noise, SamplingPlan, from_noise, noise_like
from echoflow.training import folder, recipes
from echoflow.training.options import Told
from echoflow.types import InputError, View, check_ef, choose

Insertion = Literal["paper", "released"]
"""How the pseudo-video enters at step k. `paper`: with noise of that step's level. `released`:
without it, so that only churn noises it, by sigma_k where the network is told 1.41 sigma_k, and not
at all where there is no churn."""
Method = Literal["free-echo", "sdedit", "labels"]

PAPER = SamplingPlan(steps=64, solver="heun", churn=Churn(), start_index=15)
GUIDED = SamplingPlan(steps=64, solver="heun", churn=Churn(), scale=7.0, negative=("mask",))
PROCESS = EDM(sigma_data=0.5)
FPS = 24.0  # of a video whose model does not say; the papers' datasets have rates of their own
BATCH = 8  # videos at once on a GPU


@dataclass(frozen=True)
class FreeEcho:
    """A trained network, what it was told of labels in training, and the frame rate it makes."""

    net: LabelUNet3D
    told: Told = "sector"
    fps: float = FPS
    process: EDM = PROCESS

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.net.config.size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(c, t, h, w) of a video."""
        k = self.net.config
        return (k.channels, k.frames, k.size, k.size)

    def videos(
        self,
        labels: np.ndarray,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        start: np.ndarray | None = None,
        insertion: Insertion = "paper",
    ) -> Tensor:
        """Label maps (h, w) or (t, h, w), five labels -> uint8 (b, t, h, w), one for each seed.

        `start` (3, t, h, w) or (t, h, w) in 0..255 is what sampling begins from, see `begun`; none:
        noise, at step 0. `plan` is by default the paper's. The network is told of the first map as
        it was in training. `InputError`: maps or a start of another size, maps without a left
        ventricle, no seeds, and a plan that begins later than at step 0 without a start.
        """
        choose(insertion, get_args(Insertion), "insertion")
        if not len(seeds):
            raise InputError("nothing to sample: give at least one seed.")
        labels = self.fitting(labels)
        plan = _from(start is not None, plan)
        mask = planes(told_of(labels[0], self.told))
        device, made = device_of(self.net), []
        size = 1 if device.type == "cpu" else BATCH
        for first in range(0, len(seeds), size):
            part = list(seeds[first : first + size])
            cond = Condition(mask=repeat(mask, "k h w -> b k h w", b=len(part))).to(device)
            x0 = None if start is None else self.entering(start, len(part)).to(device)
            noise = inserted(part, self.shape, device, insertion if start is not None else "paper")
            made.append(from_noise(self.net, self.process, cond, noise, plan, x0))
        return torch.cat([unsigned(x.mean(1)).cpu() for x in made])

    def from_labels(
        self,
        labels: np.ndarray,
        ef: float | None = None,
        view: View = View.A4C,
        seed: int = 0,
        plan: SamplingPlan | None = None,
        transfer: Transfer = RELEASED,
        reference: np.ndarray | None = None,
        heart_rate: float = 60.0,
        insertion: Insertion = "paper",
        method: Method = "free-echo",
    ) -> FromLabels:
        """A label map (h, w) at end-diastole -> a video that follows it; see `begun` for the rest.

        With `ef` in percent the walls of the pseudo-video move; without it stands still, as
        published. `plan` is by default the method's, see `planned`.
        """
        if method == "labels" and self.told != "labels":
            raise InputError(
                f"the method labels needs a network that was told of labels in training; this one "
                f"was told of {self.told}. Choose the method free-echo."
            )
        still, *more = self.fitting(labels)
        if more:
            raise InputError(f"give one label map, at end-diastole; got {1 + len(more)}.")
        frames = self.shape[1]
        sigma = contraction(frames, self.fps, heart_rate)
        maps = beating(still, 0.0 if ef is None else check_ef(ef), sigma, view)
        start = begun(method, maps, self.size, transfer, reference)
        plan = plan or planned(method=method)
        (video,) = self.videos(still, [seed], plan, start, insertion).numpy()
        pseudo = np.zeros_like(video) if start is None else start.round().astype(np.uint8)
        pseudo = pseudo.mean(0).astype(np.uint8) if pseudo.ndim == 4 else pseudo
        return FromLabels(video, maps, pseudo, self.fps)

    def fitting(self, labels: np.ndarray) -> np.ndarray:
        """Label maps (t, h, w) of the size of the videos, as many as frames or one."""
        maps = labels if labels.ndim == 3 else labels[None]
        frames = self.shape[1]
        if maps.shape[1:] != (self.size, self.size) or len(maps) not in (1, frames):
            raise InputError(
                f"this model needs 1 or {frames} label maps of {self.size}x{self.size} pixels; got "
                f"{len(maps)} of {'x'.join(map(str, maps.shape[1:]))}. Resize them without "
                "smoothing."
            )
        checked(maps[0])
        return known(maps)

    def entering(self, start: np.ndarray, n: int) -> Tensor:
        """Greys or colours 0..255 as a video (n, c, t, h, w) in [-1, 1]; a model of one channel
        sees the mean of the colours."""
        channels, frames, h, w = self.shape
        shapes = [(*c, t, h, w) for c in ((), (3,)) for t in (1, frames)]
        if start.shape not in shapes:
            raise InputError(
                f"the start has shape {start.shape}; it must be greys ({frames}, {h}, {w}) or "
                f"colours (3, {frames}, {h}, {w}), of all frames or of one."
            )
        x = torch.from_numpy(np.ascontiguousarray(start, np.float32))
        x = x if x.ndim == 4 and channels > 1 else (x.mean(0) if x.ndim == 4 else x)
        if x.ndim == 3:
            x = repeat(x, "t h w -> c t h w", c=channels)
        if x.shape[1] == 1:
            x = repeat(x, "c 1 h w -> c t h w", t=frames)
        return repeat(x / 127.5 - 1, "c t h w -> b c t h w", b=n)


def _from(start: bool, plan: SamplingPlan | None) -> SamplingPlan:
    """A plan, by default the paper's, for a sample with a start or without."""
    plan = plan or (PAPER if start else replace(PAPER, start_index=0))
    if plan.start_index and not start:
        raise InputError(
            f"start_index {plan.start_index} needs a start, the video to begin from; give one, or "
            "begin from noise with start_index 0."
        )
    return plan


def told_of(labels: np.ndarray, told: Told) -> np.ndarray:
    """What a network is told of a label map: all, the sector, or nothing."""
    if told == "labels":
        return labels
    return np.where(labels > Label.OUTSIDE, Label.SECTOR, 0) if told == "sector" else 0 * labels


def inserted(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device, insertion: Insertion
) -> Noise:
    """The noise of a run: as released, none at its beginning."""

    def noise(k: int) -> Tensor:
        drawn = noise_like(shape, seeds, k).to(device)
        return torch.zeros_like(drawn) if k == 0 and insertion == "released" else drawn

    return noise


def begun(
    method: Method,
    labels: np.ndarray,
    size: int,
    transfer: Transfer = RELEASED,
    reference: np.ndarray | None = None,
) -> np.ndarray | None:
    """What each method of Table 1 begins from, given label maps (t, h, w): the pseudo-video, the
    labels in colours (SDEdit), or nothing but noise (classifier-free, which is told of them)."""
    choose(method, get_args(Method), "method")
    if method == "labels":
        return None
    if method == "sdedit":
        return coloured(labels, size)
    return pseudo_video(labels, size, transfer, reference)


def is_freeecho(path: str | Path) -> bool:
    """Whether these are weights of Free-Echo: a file, or a folder or run with its network."""
    path = Path(path)
    configs = [place / "config.json" for place in (path, path / "net")]
    return path.is_file() or any(
        one.is_file() and LabelUNet3D.__name__.encode() in one.read_bytes() for one in configs
    )


def planned(
    steps: int | None = None, start: int | None = None, method: Method = "free-echo"
) -> SamplingPlan:
    """The paper's plan of a method with other steps, begun at `start`, by default at the paper's
    share of them; the classifier-free baseline begins from noise."""
    usual = GUIDED if choose(method, get_args(Method), "method") == "labels" else PAPER
    steps = steps or usual.steps
    first = round(usual.start_index / usual.steps * steps) if start is None else start
    if method == "labels" and first:
        raise InputError(f"the method labels begins from noise, at step 0; got start {first}.")
    return replace(usual, steps=steps, start_index=first)


def load(
    path: str | Path, told: Told | None = None, device: str = "cpu", frames: int | None = None
) -> FreeEcho:
    """A published checkpoint (a file), a run folder of ours, or the folder of a network.

    A run knows what its network was told and its frame rate; `told` is for the others, "sector" if
    not given, as the weights for CAMUS were. So is `frames`, how many it makes: a checkpoint does
    not say how many it was trained on, which are 24 in the paper, the default, and 16 in the code.
    """
    path = Path(path)
    if told is not None:
        choose(told, get_args(Told), "kind of labels told")
    if path.is_file():
        return FreeEcho(_making(published.load(path), frames).to(device), told or "sector")
    inside = path / "net" if (path / "net").is_dir() else path
    net = zoo.load(inside)
    if not isinstance(net, LabelUNet3D):
        raise InputError(f"{inside} holds a {type(net).__name__}; give a network of Free-Echo.")
    recipe = inside.parent / folder.RECIPE
    if not recipe.is_file():
        return FreeEcho(_making(net, frames).to(device), told or "sector")
    trained = recipes.read(recipe)
    if trained.stage != "freeecho":
        raise InputError(
            f"{recipe} trained stage {trained.stage}, and the network is one of Free-Echo."
        )
    options = trained.freeecho
    if told not in (None, options.told):
        raise InputError(
            f"the network in {inside} was told of {options.told} in training; got {told}."
        )
    if frames is not None:
        raise InputError(
            f"the network in {inside} was trained on {net.config.frames} frames, as its recipe "
            f"says; got {frames}. Leave the number of frames out."
        )
    process = EDM(sigma_data=options.sigma_data)
    return FreeEcho(cast(LabelUNet3D, net.to(device)), options.told, options.fps or FPS, process)


def _making(net: LabelUNet3D, frames: int | None) -> LabelUNet3D:
    """The network set to make so many frames, which changes no weight; none: as many as it says."""
    if frames is not None:
        net.config = replace(net.config, frames=frames)
    return net
