"""The trained stages put together: anatomies -> privacy filter -> animation -> pixels.

Their weights come as a bundle, our own layout (`interop.bundle`; the bundle `nano` is part of the
package), or as a published release (`interop.release`), from a folder or from the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from echoflow.beating import beating_start
from echoflow.calibration import EFCalibration
from echoflow.condition import Condition
from echoflow.data.masks import latent_mask
from echoflow.data.pixels import to_float
from echoflow.interop import bundle, hub, release
from echoflow.interop.bundle import Parts
from echoflow.judges import Regressor, Segmenter
from echoflow.latents import LatentSpace, LatentStats
from echoflow.metrics.cavity import Finder, cavity
from echoflow.metrics.report import fingerprint
from echoflow.networks.heads import EFRegressor, LVSegmenter
from echoflow.networks.inference import Inference, device_of, for_inference
from echoflow.networks.trunks import DeepLab, R2Plus1D
from echoflow.privacy import Privacy
from echoflow.process import Process, RectifiedFlow
from echoflow.sampling import SamplingPlan, sample
from echoflow.types import InputError, View

REPORT = "report.json"
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
    batch: int = GPU_BATCH

    def sample(
        self,
        cond: Condition,
        seeds: Sequence[int],
        plan: SamplingPlan,
        start: Tensor | None = None,
        frames: int | None = None,
    ) -> Tensor:
        """x0 (b, *shape): sample i from seeds[i] and condition i; `frames` asks for longer ones."""
        begun = len(seeds) if start is None else len(start)
        for name, n in (("conditions", len(cond)), ("starts", begun)):
            if n != len(seeds):
                raise InputError(f"{len(seeds)} seeds need as many {name}; got {n}.")
        if not seeds:
            raise InputError("nothing to sample: give at least one seed.")
        device = device_of(self.net)
        video = len(self.shape) == 4
        trained = self.shape[1] if video else None
        shape = (self.shape[0], frames or self.shape[1], *self.shape[2:]) if video else self.shape
        size = 1 if device.type == "cpu" else self.batch
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
    """EchoFlow end to end. `anatomy` and `motion` are the sampling plans it was tuned for.

    Published weights may come without an image model; then it only animates what it is given.
    `calibration` belongs to the guidance of `motion`: with any other the network is told the EF
    that was asked for. `untraced` are views that the image model learned without masks.
    """

    image: Generator | None
    video: Generator
    space: LatentSpace
    privacy: Privacy
    regressor: Callable[[Tensor], Tensor]
    fps: float
    anatomy: SamplingPlan = field(default_factory=SamplingPlan)
    motion: SamplingPlan = field(default_factory=SamplingPlan)
    finder: Finder = cavity
    calibration: EFCalibration | None = None
    untraced: tuple[View, ...] = ()

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
        if self.image is None:
            raise InputError("these weights have no image model (lifm); they can only animate.")
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
        *,
        views: Sequence[View] | None = None,
        heart_rate: float | None = None,
    ) -> Tensor:
        """Latent clips (b, c, t, h, w) from anatomies (b, c, h, w) and EF (b,) in percent.

        `views`, where they are known, choose the curve of the EF calibration. A plan that starts
        later than at step 0 starts from `beating_start`, at `heart_rate` (beats per minute) or one
        that the seed draws; from noise alone the heart rate is the model's own.
        """
        plan = plan or self.motion
        cond = Condition(ef=ef.float(), frame=frame).checked()
        if self.calibration is not None and plan.guides_like(self.motion):
            cond = replace(cond, ef=self.calibration.told(ef.float(), views))
        start = None
        if plan.start_index > 0:
            start = self._beating(cond, seeds, frames or self.frames, views, heart_rate)
        elif heart_rate is not None:
            raise InputError(
                "a heart rate can be asked for only where the video starts from a beating anatomy; "
                "choose a start above 0."
            )
        return self.video.sample(cond, seeds, plan, start, frames)

    def _beating(
        self,
        cond: Condition,
        seeds: Sequence[int],
        frames: int,
        views: Sequence[View] | None,
        heart_rate: float | None,
    ) -> Tensor:
        """The anatomies of `cond`, warped so that they beat with its EF."""
        if self.finder is cavity:
            raise InputError(
                "to start from a beating anatomy its ventricle must be found, and these weights "
                "have no segmenter (lv); start at step 0, or add one."
            )
        assert cond.frame is not None
        assert cond.ef is not None
        given = (cond.frame, cond.ef, seeds, frames, self.fps, views, heart_rate)
        return beating_start(self.space, self.finder, *given)

    def decode(self, z: Tensor) -> Tensor:
        """Latents to uint8 pixels: (b, c, h, w) -> (b, H, W), (b, c, t, h, w) -> (b, t, H, W)."""
        return self.space.decode(z)

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 frames (b, H, W) -> normalised latents (b, c, h, w), the posterior means."""
        return self.space.draw(self.space.encode(to_float(frames)))


def unmeasured(video: Tensor) -> Tensor:
    """The regressor of weights without one: uint8 (b, t, h, w) -> nan (b,), an EF nobody knows."""
    return torch.full((len(video),), torch.nan)


def load(
    weights: str | Path = NANO,
    device: torch.device | str = "cpu",
    models: Sequence[str] = (),
    inference: Inference = "exact",
) -> Pipeline:
    """The pipeline of `nano`, a folder, or a hub id: a bundle or a published release.

    Where a release has several models of one kind, `models` names those to take, such as
    `lvfm/FMvT-S2-4f4`. Everything is checked before it is used. `inference` says how the generative
    networks compute; see `networks.inference`.
    """
    folder = weights_folder(weights)
    if (folder / bundle.CARD).is_file() or not release.is_release(folder):
        if models:
            raise InputError(f"{weights} is no release with models to choose from.")
        return assembled(bundle.read(folder), device, inference)
    return assembled(release.read(release.scan(folder, weights), models), device, inference)


def weights_folder(weights: str | Path) -> Path:
    """Where weights lie: `nano` is inside the package, anything else is a folder or a hub id."""
    if weights == NANO:
        return Path(__file__).parent / "weights" / NANO
    if not Path(weights).expanduser().exists() and "/" not in str(weights):
        raise InputError(
            f"there are no weights {weights}; give {NANO}, the folder of a bundle or of a "
            "release, or a hub id of the form owner/name."
        )
    return hub.find(weights)


def weights_print(weights: str | Path) -> str:
    """The fingerprint of weights; the report of what they measured is none of their files."""
    return fingerprint(weights_folder(weights), but=REPORT)


def assembled(
    parts: Parts, device: torch.device | str = "cpu", inference: Inference = "exact"
) -> Pipeline:
    """The parts put together, on a device. What judges (filter, regressor) is always exact."""
    nets = {stage: net.to(device) for stage, net in parts.nets.items()}
    for one in bundle.filters_of(parts.privacy).values():
        bundle.network_of(one).to(device)
    card, avae = parts.card, cast(Any, nets["avae"])
    channels, side, frames = avae.config["latent_channels"], int(card["size"]), int(card["frames"])
    image, video = (channels, side, side), (channels, frames, side, side)
    flows = {stage: RectifiedFlow(float(card["shift"][stage])) for stage in ("lifm", "lvfm")}
    players = {s: for_inference(nets[s], inference) for s in ("lifm", "lvfm") if s in nets}
    stats = LatentStats(torch.tensor(card["mean"]), torch.tensor(card["std"]))
    space = LatentSpace(avae, stats)
    return Pipeline(
        image=Generator(players["lifm"], flows["lifm"], image) if "lifm" in nets else None,
        video=Generator(players["lvfm"], flows["lvfm"], video),
        space=space if inference == "exact" else space.fast(torch.bfloat16, _chunk(device)),
        privacy=parts.privacy,
        regressor=_regressor(nets.get("ef")),
        fps=float(card["fps"]),
        anatomy=bundle.plan_of(card["anatomy"]),
        motion=bundle.plan_of(card["motion"]),
        finder=_finder(nets.get("lv")),
        calibration=None
        if (curves := card.get("calibration")) is None
        else EFCalibration.of(curves),
        untraced=tuple(View[name] for name in card.get("untraced", ())),
    )


def _chunk(device: torch.device | str) -> int:
    """Frames to decode at once: few save memory on a CPU, which is as fast with any number."""
    return 4 if torch.device(device).type == "cpu" else 64


def _regressor(net: nn.Module | None) -> Callable[[Tensor], Tensor]:
    """The network `ef`; nothing stands in for it, since nano's knows phantoms only."""
    if net is None:
        return unmeasured
    if not isinstance(net, EFRegressor | R2Plus1D):
        raise InputError(f"the model under ef is a {type(net).__name__}, not an EF regressor.")
    return Regressor(net)


def _finder(net: nn.Module | None) -> Finder:
    if net is None:
        return cavity
    if not isinstance(net, LVSegmenter | DeepLab):
        raise InputError(f"the model under lv is a {type(net).__name__}, not an LV segmenter.")
    return Segmenter(net)
