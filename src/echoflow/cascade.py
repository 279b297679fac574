"""Video from one frame and an EF in pixel space, by stages that make more of each other's videos.

EchoDiffusion (Reynaud et al. 2023) after Ho et al. 2022: the first stage makes a small, slow video,
each later one enlarges it in space, in time or in both. A `Cascade` samples as a `Generator` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from einops import repeat
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.pixels import signed, unsigned
from echoflow.lowres import LowRes, resized
from echoflow.networks.inference import device_of
from echoflow.networks.unet3d import check_order
from echoflow.pipeline import Generator
from echoflow.sampling import SamplingPlan, descended, noise_like
from echoflow.types import InputError

LOWRES_NOISE = (
    0  # the key of its seeds; that of stage i is i, and the first keeps those it is given
)
BATCH = 2  # videos at once on a GPU, in pixels of full size

Plans = SamplingPlan | Sequence[SamplingPlan] | None
"""One for all stages, one for each, or those the stages come with."""


@dataclass(frozen=True)
class Stage:
    """A stage of a cascade: how it samples, its frame rate, and what it sees of the one before.

    `lowres` is None in the first stage. `follows` is (frames, pixels a side) of what the stage
    before makes, where that is known: no other video is taken in its place.
    """

    generator: Generator
    plan: SamplingPlan
    fps: float
    lowres: LowRes | None = None
    follows: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(c, t, h, w) of a video as trained."""
        return cast("tuple[int, int, int, int]", self.generator.shape)

    def sample(
        self,
        cond: Condition,
        seeds: Sequence[int],
        before: Tensor | None = None,
        plan: SamplingPlan | None = None,
        start: Tensor | None = None,
        frames: int | None = None,
    ) -> Tensor:
        """Videos (b, c, t, h, w) in [-1, 1]: sample i from seeds[i] and condition i.

        `before` (b, c, t, h, w) is a video of the stage before, made by it or recorded. Guidance
        leads away from what the plan names, here nothing but the EF where it names nothing.
        """
        plan = plan or self.plan
        plan = plan if plan.negative is not None else replace(plan, negative=("ef",))
        c, t, h, w = self.shape
        shape = (c, frames or t, h, w)
        if (before is None) != (self.lowres is None):
            wants = "takes no video of a" if self.lowres is None else "needs the video of the"
            raise InputError(
                f"the stage of {t} frames of {h} x {w} pixels {wants} stage before it; check the "
                "order of the stages."
            )
        if self.lowres is not None and before is not None:
            _check_before(before, (len(seeds), *shape))
            self._check_follows(before, shape)
            device = device_of(self.generator.net)
            noise = noise_like(shape, descended(seeds, LOWRES_NOISE)).to(device)
            cond = self.lowres.given(cond.to(device), before.to(device), shape[1:], noise)
        if start is not None:
            start = resized(start, shape[1:], "trilinear")
        plan = replace(plan, overlap=min(plan.overlap, t // 2))  # windows that share more get stuck
        return self.generator.sample(cond, seeds, plan, start, frames).clamp(-1, 1)

    def _check_follows(self, before: Tensor, made: tuple[int, ...]) -> None:
        """That a video is as the stage before would make it, for a video (c, t, h, w) of this."""
        if self.follows is None:
            return
        frames, size = self.follows
        wanted = (frames * made[1] // self.shape[1], size, size)
        if tuple(before.shape[2:]) != wanted:
            raise InputError(
                f"this stage follows one that makes (t, h, w) = {wanted}; got a video of "
                f"{tuple(before.shape[2:])}. Reduce it first, as `lowres.resized` does."
            )


def _check_before(before: Tensor, made: tuple[int, ...]) -> None:
    """That a video (b, c, t, h, w) can be made more of: it has no more of anything than `made`."""
    given = tuple(before.shape)
    smaller = len(given) == 5 and all(a <= b for a, b in zip(given[2:], made[2:], strict=True))
    if not smaller or given[:2] != made[:2]:
        raise InputError(
            f"the video of the stage before must have shape {made}, or fewer frames and pixels; "
            f"got {given}."
        )


@dataclass(frozen=True)
class Cascade:
    """Stages in order; every one is given what the one before made."""

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("a cascade needs at least one stage; got none.")
        check_order([_config(stage) for stage in self.stages])
        for i, stage in enumerate(self.stages, start=1):
            _check_stage(stage, i)
        _check_rates(self.stages)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(c, t, h, w) of what comes out."""
        return self.stages[-1].shape

    @property
    def fps(self) -> float:
        """Frames per second of what comes out."""
        return self.stages[-1].fps

    def sample(
        self,
        cond: Condition,
        seeds: Sequence[int],
        plan: Plans = None,
        start: Tensor | None = None,
        frames: int | None = None,
    ) -> Tensor:
        """Videos (b, *shape) in [-1, 1]: sample i from seeds[i] and condition i.

        `cond` holds a frame (b, c, h, w) in [-1, 1] and an EF. `start` (b, c, t, h, w) is what
        stages begin from whose plan has a start index; `frames` asks for longer videos.
        """
        video, made = None, None if frames is None else self._whole(frames)
        for i, (stage, own) in enumerate(zip(self.stages, self.plans(plan), strict=True)):
            theirs = seeds if i == 0 else descended(seeds, i)
            first = None if own.start_index == 0 else start
            length = None if made is None else made * stage.shape[1] // self.shape[1]
            video = stage.sample(cond, theirs, video, own, first, length)
        assert video is not None
        return video[:, :, :frames]

    def plans(self, plan: Plans = None) -> tuple[SamplingPlan, ...]:
        """The plan of every stage."""
        if plan is None:
            return tuple(stage.plan for stage in self.stages)
        if isinstance(plan, SamplingPlan):
            return (plan,) * len(self.stages)
        if len(plan) != len(self.stages):
            raise InputError(f"{len(plan)} plans for {len(self.stages)} stages; give one each.")
        return tuple(plan)

    def animate(
        self,
        frames: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: Plans = None,
        length: int | None = None,
    ) -> Tensor:
        """Stills uint8 (b, h, w) and EF (b,) in percent -> videos uint8 (b, t, h, w), grey."""
        frame = repeat(signed(frames), "b h w -> b c h w", c=self.shape[0])
        cond = Condition(ef=ef.float(), frame=frame).checked()
        return unsigned(self.sample(cond, seeds, plan, frames=length).mean(1)).cpu()

    def calls(self, plan: Plans = None) -> int:
        """Calls of the networks for one video, each on one example, or on two with guidance."""
        left = [(one.solver, one.steps - one.start_index) for one in self.plans(plan)]
        return sum(2 * steps - 1 if solver == "heun" else steps for solver, steps in left)

    def _whole(self, frames: int) -> int:
        """The next number of frames that is whole in every stage: none changes the speed."""
        last = self.shape[1]
        if frames < last:
            raise InputError(f"this cascade makes videos of {last} frames or more; got {frames}.")
        unit = math.lcm(*(last // math.gcd(last, stage.shape[1]) for stage in self.stages))
        return math.ceil(frames / unit) * unit


def _config(stage: Stage) -> Any:
    return cast(Any, stage.generator.net).config


def _check_stage(stage: Stage, i: int) -> None:
    """That a stage samples what its network was made for, and is told of the one before."""
    k = _config(stage)
    made = (k.channels, k.frames, k.size, k.size)
    if stage.shape != made:
        raise InputError(
            f"stage {i} is to sample (c, t, h, w) = {stage.shape}, and its network was made for "
            f"{made}; give it the shape of its network."
        )
    if (stage.lowres is None) != (i == 1):
        raise InputError(
            f"stage {i} of a cascade {'needs' if i > 1 else 'takes no'} low-resolution settings; "
            "the first stage has none, and every other one has its own."
        )


def _check_rates(stages: Sequence[Stage]) -> None:
    """That all stages last as long: the same heart at the same times."""
    lasting = [stage.shape[1] / stage.fps for stage in stages]
    for i, seconds in enumerate(lasting[1:], start=2):
        if not math.isclose(seconds, lasting[0], rel_tol=0.01):
            raise InputError(
                f"stage 1 makes {lasting[0]:.3g} s ({stages[0].shape[1]} frames at "
                f"{stages[0].fps:g} Hz) and stage {i} {seconds:.3g} s ({stages[i - 1].shape[1]} at "
                f"{stages[i - 1].fps:g} Hz); stages of one cascade last equally long."
            )
