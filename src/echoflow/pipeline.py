"""The trained stages put together: anatomies -> privacy filter -> animation -> pixels.

A bundle is a folder with one sub-folder per network (`avae`, `lifm`, `lvfm`, `reid`, `ef`),
`privacy.safetensors` (gallery and thresholds) and `bundle.json`. The bundle `nano` comes with the
package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.data.masks import latent_mask
from echoflow.data.pixels import to_float
from echoflow.judges import Regressor, Segmenter
from echoflow.latents import LatentSpace, LatentStats
from echoflow.metrics.cavity import Finder, cavity
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressor, LVSegmenter
from echoflow.privacy import PrivacyFilter
from echoflow.process import Process, RectifiedFlow
from echoflow.sampling import SamplingPlan, sample
from echoflow.types import InputError, View

NANO = "nano"
GPU_BATCH = 32


@dataclass(frozen=True)
class Generator:
    """One trained generative stage. `shape` is that of a sample without b: (c, h, w), (c, t, h, w).

    On a CPU samples are made one at a time, so that a seed gives the same bits alone and in any
    batch; nothing is lost, since one sample fills the processor. On a GPU they go in batches.
    """

    net: nn.Module
    process: Process
    shape: tuple[int, ...]

    def sample(
        self,
        cond: Condition,
        seeds: Sequence[int],
        plan: SamplingPlan,
        start: Tensor | None = None,
        frames: int | None = None,
    ) -> Tensor:
        """x0 (b, *shape): sample i from seeds[i] and condition i; `frames` asks for longer ones."""
        device = next(self.net.parameters()).device
        video = len(self.shape) == 4
        trained = self.shape[1] if video else None
        shape = (self.shape[0], frames or self.shape[1], *self.shape[2:]) if video else self.shape
        size = 1 if device.type == "cpu" else GPU_BATCH
        parts = []
        for first in range(0, len(seeds), size):
            part = slice(first, first + size)
            parts.append(
                sample(
                    self.net,
                    self.process,
                    cond.select(part).to(device),
                    shape,
                    seeds[part],
                    plan,
                    None if start is None else start[part].to(device),
                    trained,
                    device,
                )
            )
        return torch.cat(parts)


@dataclass(frozen=True)
class Pipeline:
    """EchoFlow end to end. `anatomy` and `motion` are the sampling plans it was tuned for."""

    image: Generator
    video: Generator
    space: LatentSpace
    privacy: PrivacyFilter
    regressor: Regressor
    fps: float
    anatomy: SamplingPlan = field(default_factory=SamplingPlan)
    motion: SamplingPlan = field(default_factory=SamplingPlan)
    finder: Finder = cavity

    @property
    def frames(self) -> int:
        """Frames of a clip as trained."""
        return self.video.shape[1]

    def anatomies(
        self,
        views: Sequence[View],
        masks: Tensor | None,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
    ) -> Tensor:
        """Latent anatomies (b, c, h, w) from views and LV masks (b, 1, H, W) in {0, 1}, or none."""
        index = torch.tensor([int(view) for view in views])
        side = self.image.shape[-1]
        small = torch.zeros(len(index), 1, side, side)
        if masks is not None:
            Condition(mask=masks).checked()
            small = latent_mask(masks, side, side)
        return self.image.sample(Condition(view=index, mask=small), seeds, plan or self.anatomy)

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        frames: int | None = None,
    ) -> Tensor:
        """Latent clips (b, c, t, h, w) from anatomies (b, c, h, w) and EF (b,) in percent."""
        cond = Condition(ef=ef.float(), frame=frame).checked()
        return self.video.sample(cond, seeds, plan or self.motion, frames=frames)

    def decode(self, z: Tensor) -> Tensor:
        """Latents to uint8 pixels: (b, c, h, w) -> (b, H, W), (b, c, t, h, w) -> (b, t, H, W)."""
        return self.space.decode(z)

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 frames (b, H, W) -> normalised latents (b, c, h, w), the posterior means."""
        return self.space.draw(self.space.encode(to_float(frames)))


def load(weights: str | Path = NANO, device: torch.device | str = "cpu") -> Pipeline:
    """The pipeline of a bundle: its name or its folder. Everything is checked before it is used."""
    folder = bundle_folder(weights)
    card = _card(folder)
    nets = {stage: zoo.load(folder / stage).to(device) for stage in zoo.STAGES}
    lv = nets["lv"]
    reid, ef = nets["reid"], nets["ef"]
    if not isinstance(ef, EFRegressor):
        raise InputError(f"{folder}/ef is not an EF regressor.")
    if not isinstance(lv, LVSegmenter):
        raise InputError(f"{folder}/lv is not an LV segmenter.")
    stats = LatentStats(torch.tensor(card["mean"]), torch.tensor(card["std"]))
    avae = cast(Any, nets["avae"])
    channels, side = avae.config["latent_channels"], int(card["size"])
    frames = int(card["frames"])
    privacy = PrivacyFilter.load(folder / "privacy.safetensors", reid)
    return Pipeline(
        image=Generator(nets["lifm"], RectifiedFlow(card["shift"]["lifm"]), (channels, side, side)),
        video=Generator(
            nets["lvfm"], RectifiedFlow(card["shift"]["lvfm"]), (channels, frames, side, side)
        ),
        space=LatentSpace(avae, stats),
        privacy=privacy,
        regressor=Regressor(ef),
        fps=float(card["fps"]),
        anatomy=_plan(card["anatomy"]),
        motion=_plan(card["motion"]),
        finder=Segmenter(lv),
    )


def bundle_folder(weights: str | Path) -> Path:
    """Where a bundle lies: `nano` is inside the package, anything else is a folder."""
    folder = Path(__file__).parent / "weights" / NANO if weights == NANO else Path(weights)
    if not folder.is_dir():
        raise InputError(f"there are no weights {weights}; give {NANO}, or the folder of a bundle.")
    return folder


def _card(folder: Path) -> Mapping[str, Any]:
    path = folder / zoo.BUNDLE
    needed = {"mean", "std", "size", "frames", "fps", "shift", "anatomy", "motion"}
    try:
        card = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{folder} is not a bundle: {zoo.BUNDLE} is missing.") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); copy the bundle again.") from error
    missing = sorted(needed - set(card))
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; the bundle is of another kind.")
    return card


def _plan(values: Mapping[str, Any]) -> SamplingPlan:
    negative = values.get("negative")
    return SamplingPlan(
        steps=int(values["steps"]),
        solver=str(values["solver"]),
        scale=float(values["scale"]),
        negative=None if negative is None else tuple(negative),
    )
