"""One video beside the true one: pixels, cavity, volume curve, beats, identity.

Nobody told the model the heart rate, so its beats drift away from the truth's and a comparison
frame by frame punishes that more than anything else. Every such score is therefore taken twice: as
the videos run, and in phase, where each true frame meets the frame of the same phase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from echoflow.data.pixels import to_float
from echoflow.data.volumes import mask_volume
from echoflow.interop.bundle import filters_of
from echoflow.metrics.cavity import Mask
from echoflow.metrics.clinical import dice, ejection_fraction
from echoflow.metrics.image import mae, mse, ssim
from echoflow.metrics.rhythm import Rhythm, rhythm
from echoflow.privacy import PrivacyByView, PrivacyFilter, correlations, features_of
from echoflow.truth.cases import Case, Engine, Video
from echoflow.types import InputError, View

Values = NDArray[np.float64]

SHORT_AXIS = 1.22
"""Volume ~ area ** 1.22 where the length is not seen: an axis that loses 15 % of its length while
60 % of the volume leave (the phantom's annulus) has ln 0.4 / ln (0.4 / 0.845) = 1.22."""
FRAMES = 3  # compared by the re-identification network: the first, end-systole, the next end-diast.


@dataclass(frozen=True)
class Score:
    """`psnr` dB, `ssim`, `mae` [0, 1]; Dice of the cavity found and the exact one; see the module.

    PSNR is that of the clip's mean squared error, since single frames can be equal to the truth's.
    `dice_es` compares the smallest cavities, `curve` is the RMS difference of the volume curves in
    percent of EDV, in phase. `ef_*` are measured, in percent; `rate` per minute, `systole` (ED to
    ES) and `start` (frame 0 after ED) in ms. `identity` is the correlation with the patient's own
    frame, `recognised` 1 if no training patient correlates more. nan: cannot be told.
    """

    psnr: float
    ssim: float
    mae: float
    dice: float
    psnr_phase: float
    ssim_phase: float
    dice_phase: float
    dice_es: float
    curve: float
    ef_mask: float
    ef_regressor: float
    rate: float
    systole: float
    start: float
    identity: float
    recognised: float


@dataclass(frozen=True)
class Beating:
    """The cavity of a video (t, h, w), its volume relative to the largest (t,), and its rhythm.

    Frames in which no cavity was found have the volume nan.
    """

    masks: Mask
    volumes: Values
    rhythm: Rhythm | None

    @classmethod
    def of(cls, masks: Mask, view: View, fps: float) -> Beating:
        """From the cavity in every frame."""
        volumes = relative_volumes(masks, view)
        try:
            return cls(masks, volumes, rhythm(volumes, fps))
        except InputError:  # nothing moves, or nothing was found
            return cls(masks, volumes, None)

    @property
    def ef(self) -> float:
        """Percent, from the largest and the smallest volume found."""
        known = self.volumes[np.isfinite(self.volumes)]
        return ejection_fraction(known) if len(known) else float("nan")


def relative_volumes(masks: Mask, view: View) -> Values:
    """Volumes (t,) in units of the largest: Simpson's along an axis, the area's power across it."""
    areas = masks.sum(axis=(1, 2)).astype(np.float64)
    volumes = (
        areas**SHORT_AXIS
        if view is View.PSAX
        else np.array([mask_volume(mask) if mask.any() else 0.0 for mask in masks])
    )
    if not volumes.max() > 0:
        return np.full(len(masks), np.nan)
    return np.where(areas > 0, volumes / volumes.max(), np.nan)


def aligned(found: Beating, true: Beating, fps: float) -> NDArray[np.intp] | None:
    """For every true frame the index of the frame in the same phase; None without two rhythms.

    Of frames equally near in phase the one nearest in time is taken.
    """
    if found.rhythm is None or true.rhythm is None:
        return None
    time = np.arange(len(true.volumes)) / fps
    apart = found.rhythm.phase(time)[None, :] - true.rhythm.phase(time)[:, None]
    circular = np.abs(apart - np.round(apart))
    late = np.abs(time[None, :] - time[:, None]) / time[-1]
    return np.argmin(circular + 0.01 * late, axis=1)


def score(engine: Engine, case: Case, video: Video, found: Beating, true: Beating) -> Score:
    """`video` (t, h, w) beside the truth of `case`."""
    truth, exact = case.video, case.truth.truth.mask[1:]
    phase = aligned(found, true, engine.fps)
    beat, nan = found.rhythm, float("nan")

    def match(metric: Callable[[Video, Video], float]) -> float:
        return nan if phase is None else metric(video[phase], truth)

    identity, recognised = _identity(engine, case, video, found)
    measured = engine.regressor(torch.from_numpy(np.ascontiguousarray(video))[None])
    return Score(
        psnr=_psnr(video, truth),
        ssim=float(ssim(video, truth).mean()),
        mae=float(mae(video, truth).mean()),
        dice=float(dice(found.masks, exact).mean()),
        psnr_phase=match(_psnr),
        ssim_phase=match(lambda a, b: float(ssim(a, b).mean())),
        dice_phase=nan if phase is None else float(dice(found.masks[phase], exact).mean()),
        dice_es=_smallest(found, true, exact),
        curve=nan if phase is None else _curve(found.volumes[phase], true.volumes),
        ef_mask=found.ef,
        ef_regressor=float(measured[0].clamp(0, 100)),
        rate=nan if beat is None else beat.rate,
        systole=nan if beat is None else 1000 * beat.systole,
        start=nan if beat is None else -1000 * beat.ed,
        identity=identity,
        recognised=recognised,
    )


def _psnr(video: Video, truth: Video) -> float:
    with np.errstate(divide="ignore"):
        return float(-10 * np.log10(mse(video, truth).mean()))


def _smallest(found: Beating, true: Beating, exact: Mask) -> float:
    """Dice at end-systole, each video at its own."""
    if not np.isfinite(found.volumes).any():
        return 0.0
    own, es = int(np.nanargmin(found.volumes)), int(np.nanargmin(true.volumes))
    return float(dice(found.masks[own], exact[es]))


def _curve(found: Values, true: Values) -> float:
    """RMS difference in percent of EDV, over the frames where both are known."""
    return float(100 * np.sqrt(np.nanmean((found - true) ** 2)))


def _identity(engine: Engine, case: Case, video: Video, found: Beating) -> tuple[float, float]:
    """Mean correlation with the patient's frame, and whether it beats every training patient's."""
    privacy = engine.privacy
    if not isinstance(privacy, PrivacyFilter | PrivacyByView):
        return float("nan"), float("nan")
    judge = filters_of(privacy).get(case.view)
    if judge is None:
        return float("nan"), float("nan")
    frames = np.concatenate([case.anatomy[None], video[_landmarks(found)]])
    z = engine.space.draw(engine.space.encode(to_float(torch.from_numpy(frames))))
    seen = features_of(judge.embed, z).cpu()
    own = correlations(seen[1:], seen[:1])[:, 0]
    others = correlations(seen[1:], judge.gallery.features).amax(dim=1)
    return float(own.mean()), float((own > others).double().mean())


def _landmarks(found: Beating) -> list[int]:
    """Frames (FRAMES,): the first, the smallest cavity, and the largest one after it."""
    if not np.isfinite(found.volumes).any():
        return [0] * FRAMES
    smallest = int(np.nanargmin(found.volumes))
    rest = found.volumes[smallest:]
    return [0, smallest, smallest + int(np.nanargmax(rest))]
