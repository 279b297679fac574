"""Free-Echo's trick on latent flow models: the motion of a segmentation, without any training.

The image model draws a heart into the mask, as it was trained to; the privacy filter looks at it.
The video model knows an anatomy and an EF but no segmentation. It begins from the latents of a
pseudo-video, partly noised, whose walls move as the EF asks: `sampling` has one start for both
processes, so nothing had to be added for rectified flow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from scipy.ndimage import gaussian_filter
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.beat import beating, contraction
from echoflow.data.labels import Label, checked
from echoflow.freeecho.made import FromLabels
from echoflow.freeecho.pseudo import pseudo_video
from echoflow.freeecho.transfer import RELEASED, Transfer
from echoflow.pipeline import Pipeline
from echoflow.privacy import Verdict
from echoflow.sampling import SamplingPlan
from echoflow.synthesis import DatasetPlan, accepted, given_masks
from echoflow.synthesis.plan import MOTION, sample_seed
from echoflow.types import InputError, View, check_ef

SIZE = 112  # pixels a side
SOFT = 2.0  # pixels over which the pseudo-video goes over into the anatomy around it
START = 0.5  # the share of the steps that the default start leaves out


def from_labels(
    pipeline: Pipeline,
    labels: np.ndarray,
    ef: float | None = None,
    view: View = View.A4C,
    seed: int = 0,
    plan: SamplingPlan | None = None,
    transfer: Transfer = RELEASED,
    reference: np.ndarray | None = None,
    heart_rate: float = 60.0,
) -> FromLabels:
    """A label map (112, 112) of the five labels at end-diastole -> a video that follows it.

    `ef` in percent moves the pseudo-video and is asked of the video model; without it the
    pseudo-video stands still, as published, and the motion is the model's own. `plan` is by default
    the pipeline's, started after `START` of its steps; with `start_index` 0 the model sees the
    anatomy and the EF alone. The greys are those of `reference` (h, w) 0..255, or of the anatomy,
    or of phantoms. A rejected anatomy is replaced by that of the next seed.
    """
    if labels.shape != (SIZE, SIZE):
        raise InputError(
            f"this model needs a label map of {SIZE}x{SIZE} pixels; got "
            f"{'x'.join(map(str, labels.shape))}. Resize it without smoothing."
        )
    checked(labels)
    frames, fps = pipeline.frames, pipeline.fps
    sigma = contraction(frames, fps, heart_rate, lead=1 / fps)  # the anatomy comes before frame 0
    maps = beating(labels, 0.0 if ef is None else check_ef(ef), sigma, view)
    anatomy, verdict = _anatomy(pipeline, labels, view, seed)
    still = None if anatomy is None else pipeline.decode(anatomy)[0].cpu().numpy()
    pseudo = pseudo_video(maps, SIZE, transfer, still if reference is None else reference)
    pseudo = (pseudo if still is None else around(pseudo, still, maps)).round().astype(np.uint8)
    z = pipeline.encode(torch.from_numpy(pseudo))
    plan = plan or started(pipeline.motion)
    if ef is None:
        plan = replace(plan, scale=1.0)  # there is no EF to lead to
    cond = Condition(
        ef=torch.tensor([float("nan") if ef is None else ef]),
        frame=z[:1] if anatomy is None else anatomy,
    )
    start = rearrange(z, "t c h w -> 1 c t h w") if plan.start_index else None
    made = pipeline.video.sample(cond, [sample_seed(seed, MOTION, 0, 0)], plan, start)
    return FromLabels(pipeline.decode(made)[0].cpu().numpy(), maps, pseudo, fps, verdict)


def around(pseudo: np.ndarray, still: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """A pseudo-video (t, h, w) within an anatomy (h, w): as labels say where they ever say more
    than sector, and elsewhere, where they know nothing of other chambers, the anatomy at rest."""
    weight = gaussian_filter((maps > Label.SECTOR).any(0).astype(np.float32), SOFT)
    return weight * pseudo + (1 - weight) * still


def started(plan: SamplingPlan, steps: int | None = None, start: int | None = None) -> SamplingPlan:
    """A plan of a pipeline with other steps, begun at step `start`, by default at `START`."""
    steps = steps or plan.steps
    return replace(plan, steps=steps, start_index=round(START * steps) if start is None else start)


def _anatomy(
    pipeline: Pipeline, labels: np.ndarray, view: View, seed: int
) -> tuple[Tensor | None, Verdict | None]:
    """A heart (1, c, h, w) that fills the mask and resembles no patient; none without a model."""
    if pipeline.image is None:
        return None, None
    masks = given_masks((labels == Label.CAVITY)[None].astype(np.uint8), SIZE)
    (one,), _ = accepted(pipeline, DatasetPlan(n=1, views=(view,), seed=seed), [0], masks)
    return one.z[None], one.verdict
