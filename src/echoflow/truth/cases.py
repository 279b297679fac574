"""Hearts, what is asked of them, what is true, and the answers that are set beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.patient import EF_RANGE
from echoflow.data.phantom.population import Population
from echoflow.data.pixels import to_float
from echoflow.latents import Moments
from echoflow.sampling import SamplingPlan
from echoflow.synthesis import UNSEEN, sample_seed
from echoflow.synthesis import Engine as Synthesiser
from echoflow.types import InputError, View, check_ef

Video = NDArray[np.uint8]

HEARTS = UNSEEN + 3  # a phantom population that nothing else is trained or measured on
MOTION = 7  # a stream of seeds of its own


class Space(Protocol):
    """What is needed of a `LatentSpace`."""

    def encode(self, x: Tensor) -> Moments: ...

    def draw(self, moments: Moments) -> Tensor: ...

    def decode(self, z: Tensor) -> Tensor: ...


class Engine(Synthesiser, Protocol):
    """A pipeline that can also encode pictures."""

    @property
    def space(self) -> Space: ...

    @property
    def frames(self) -> int: ...


@dataclass(frozen=True)
class TruthPlan:
    """`hearts` patients in every view, each at its own EF and at all of `efs` (percent).

    A heart's own EF is uniform in `own`. `quality` is the phantom's, 1 (clean) to 4 (poor).
    """

    hearts: int = 3
    views: tuple[View, ...] = tuple(View)
    efs: tuple[float, ...] = (20.0, 45.0, 70.0)
    own: tuple[float, float] = (15.0, 75.0)
    seed: int = 0
    quality: int = 1
    motion: SamplingPlan | None = None

    def __post_init__(self) -> None:
        if self.hearts < 2:
            raise InputError(
                f"hearts must be at least 2, so that one can be another's stranger; "
                f"got {self.hearts}."
            )
        if not self.efs or not self.views:
            raise InputError("a plan needs at least one view and one EF to ask for.")
        low, high = EF_RANGE
        for ef in (*self.efs, *self.own):
            if not low <= check_ef(ef) <= high:
                raise InputError(f"a phantom heart beats with an ef in [{low:g}, {high:g}]: {ef}.")

    def __len__(self) -> int:
        """Number of cases."""
        return self.hearts * len(self.views) * (1 + len(self.efs))

    def population(self, frames: int, fps: float) -> Population:
        """Clips from the R wave, one frame longer than generated ones: frame 0 is the anatomy."""
        views = self.views
        return Population(
            self.hearts, HEARTS, ("adult",), views, frames + 1, fps, self.quality, 0.0, self.own
        )

    def settings(self) -> dict[str, Any]:
        """The plan as plain values for a report."""
        return {
            "hearts": self.hearts,
            "population": HEARTS,
            "views": [view.name for view in self.views],
            "efs": list(self.efs),
            "own_ef": list(self.own),
            "quality": self.quality,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Case:
    """One question: how does `heart` look at `asked` %? `truth` is the answer.

    `before` is the same heart at its own EF, `stranger` another heart at `asked`. All clips begin
    at end-diastole with a frame that is the same in `truth` and `before`: what a model is given.
    """

    heart: int
    view: View
    asked: float
    own: float
    seed: int
    truth: PhantomClip
    before: PhantomClip
    stranger: PhantomClip

    @property
    def factual(self) -> bool:
        """Whether the EF asked for is the heart's own."""
        return self.asked == self.own

    @property
    def anatomy(self) -> Video:
        """The frame (h, w) that a model is given."""
        return self.truth.clip.video[0]

    @property
    def video(self) -> Video:
        """The true answer (t, h, w), without that frame."""
        return self.truth.clip.video[1:]


def cases(plan: TruthPlan, frames: int, fps: float, start: int = 0) -> Iterator[Case]:
    """All cases from number `start`: hearts, then views, then the own EF and those asked for."""
    population = plan.population(frames, fps)

    def clip(heart: int, view: View, ef: float) -> PhantomClip:
        patient = population.member(heart % plan.hearts).with_ef(ef)
        return patient.render(view, frames + 1, fps, quality=plan.quality, phase=0.0)

    questions = (
        (heart, view, asked)
        for heart in range(plan.hearts)
        for view in plan.views
        for asked in (population.member(heart).ef, *plan.efs)
    )
    for heart, view, asked in islice(questions, start, None):
        own = population.member(heart).ef
        seed = sample_seed(plan.seed, MOTION, heart, int(view))
        truth, other = clip(heart, view, asked), clip(heart + 1, view, asked)
        yield Case(heart, view, asked, own, seed, truth, clip(heart, view, own), other)


# ---- answers ------------------------------------------------------------------------------------


def _generated(engine: Engine, case: Case, plan: TruthPlan) -> Video:
    """The model's: one seed per heart and view, so that only the EF differs along a sweep."""
    frame = torch.from_numpy(case.anatomy[None].copy())
    z = engine.space.draw(engine.space.encode(to_float(frame)))
    asked, views = torch.tensor([case.asked]).float(), [case.view]
    made = engine.animate(z, asked, [case.seed], plan.motion, views=views)
    return engine.decode(made)[0].cpu().numpy()


def _reconstructed(engine: Engine, case: Case, plan: TruthPlan) -> Video:
    """The truth through the A-VAE: no model that paints with it can come closer on average."""
    frames = to_float(torch.from_numpy(case.video.copy()))
    return engine.space.decode(engine.space.draw(engine.space.encode(frames))).cpu().numpy()


def _ignored(engine: Engine, case: Case, plan: TruthPlan) -> Video:
    """The heart as it was: a perfect picture that does not listen."""
    return case.before.clip.video[1:]


def _frozen(engine: Engine, case: Case, plan: TruthPlan) -> Video:
    """The given frame, held."""
    return np.broadcast_to(case.anatomy, case.video.shape).copy()


def _stranger(engine: Engine, case: Case, plan: TruthPlan) -> Video:
    """Another heart at the EF asked for: a perfect picture of the wrong patient."""
    return case.stranger.clip.video[1:]


def _truth(engine: Engine, case: Case, plan: TruthPlan) -> Video:
    """The truth itself: what the instruments say of it is their own error."""
    return case.video


RUNGS: Mapping[str, Callable[[Engine, Case, TruthPlan], Video]] = {
    "generated": _generated,
    "reconstructed": _reconstructed,
    "ignored": _ignored,
    "frozen": _frozen,
    "stranger": _stranger,
    "truth": _truth,
}
"""The answers that are compared with the truth, the model's first."""
