"""Which EF to tell a video model: measured on hearts that it makes itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoflow.calibration import EVERY, EFCalibration
from echoflow.interop.tuning import retune
from echoflow.pipeline import load, unmeasured, weights_folder
from echoflow.synthesis.masks import MaskSource, phantom_masks
from echoflow.synthesis.plan import DatasetPlan
from echoflow.synthesis.samples import Engine, generate
from echoflow.types import InputError, View

SEED = 900_000  # of hearts that no dataset with a seed of a person's choice is likely to have
VIDEOS = 192
RANGE = (15.0, 82.0)  # the EF that the network is told, in percent: what comes out may be less


@dataclass(frozen=True)
class Calibrated:
    """A calibration and what it was fitted to: views, EF told and EF measured (n,), in percent."""

    curves: EFCalibration
    views: tuple[View, ...]
    told: np.ndarray
    measured: np.ndarray

    def scatter(self, view: View | None = None) -> float:
        """How far what came out lies from its curve: an RMSE in points."""
        part = np.array([view in (None, one) for one in self.views])
        name = EVERY if view is None else view.name
        curve = self.curves.curves.get(name, self.curves.curves[EVERY])
        rest = self.measured[part] - curve.expected(self.told[part])
        return float(np.sqrt(np.mean(rest**2)))


def calibrate(
    engine: Engine,
    n: int,
    masks: MaskSource,
    seed: int = SEED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibrated:
    """Makes n videos with the network told an EF in `RANGE`, and measures each with the regressor.

    The engine must not be calibrated already. Nothing real is needed; what the regressor is wrong
    about, the calibration is wrong about too. `InputError` where EF told and measured have little
    to do with each other.
    """
    plan = DatasetPlan(n=n, seed=seed, ef=RANGE)
    views, pairs = [], []
    for done, sample in enumerate(generate(engine, plan, masks), 1):
        views.append(sample.item.view)
        pairs.append((sample.item.ef, sample.ef))
        progress(done, n)
    told, measured = np.array(pairs).T
    return Calibrated(EFCalibration.fitted(views, told, measured), tuple(views), told, measured)


def calibrate_weights(
    weights: str | Path,
    n: int = VIDEOS,
    guidance: float | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
    start: int | None = None,
) -> Calibrated:
    """Calibrates weights on disk as they sample, or with other `guidance` or `start` from now on.

    Guidance is then away from the video of no EF, which is what makes a model follow its EF more
    closely; away from that of a chosen EF it only moves further.
    """
    if not Path(weights).is_dir():
        raise InputError(
            f"{weights} is no folder; a calibration changes the card in the folder of weights. "
            "Those in the package stay as they are: copy their folder first."
        )
    pipeline = replace(load(weights, device), calibration=None)
    if pipeline.regressor is unmeasured:
        raise InputError(f"{weights} has no EF regressor (ef) to measure with; add one.")
    if guidance is not None:
        motion = replace(pipeline.motion, scale=guidance, negative=("ef",), negative_ef=None)
        pipeline = replace(pipeline, motion=motion)
    if start is not None:
        pipeline = replace(pipeline, motion=pipeline.motion.tuned(start=start))
    masks = phantom_masks(untraced=pipeline.untraced)
    found = calibrate(pipeline, n, masks, progress=progress)
    retune(weights_folder(weights), pipeline.motion, found.curves)
    return found
