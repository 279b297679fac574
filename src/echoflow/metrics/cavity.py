"""A left-ventricular cavity finder without weights: a threshold inside a known neighbourhood.

It answers two questions about a generated heart: does the cavity lie where the mask asked for it
(at end-diastole), and how does its area run through the beat. It needs the asked mask as a prior,
so it is a check for synthetic data, not a segmenter for unknown ones. Where a bundle brings a
trained segmenter, that is the finder; this one serves where there are no weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echoflow.types import InputError

Mask = NDArray[np.bool_]

Finder = Callable[[NDArray[np.uint8], Mask], Mask]
"""(video (t, h, w), the mask asked for at frame 0 (h, w)) -> the cavity in every frame."""

_BLUR = 1.2  # px, below the wall thickness, above the speckle width
_DISC = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)


def cavity(video: NDArray[np.uint8], prior: Mask, margin: int = 7) -> Mask:
    """The dark cavity in every frame: bool (t, h, w) of a video (t, h, w) that starts at ED.

    `prior` (h, w) is the mask asked for at frame 0. A frame's cavity is what is darker than midway
    between the middle of the prior and the wall around it, joined to its core, without holes. At
    frame 0 it may reach `margin` px beyond the prior. In later frames the base moves up and an
    atrium fills the prior from below, so there the cavity ends where it meets what floods in.
    """
    if video.ndim != 3 or prior.shape != video.shape[1:] or not prior.any():
        raise InputError(
            f"need a video (t, h, w) and a non-empty mask (h, w); got {video.shape} and "
            f"{prior.shape} with {int(prior.sum())} pixels set."
        )
    smooth = ndimage.gaussian_filter(video.astype(np.float32), (0.7, _BLUR, _BLUR))
    near, core = _grown(prior, margin // 2), _core(prior)
    level = _level(smooth[0], prior, near)
    first = _blob((smooth[0] < level) & near, core)
    basins = np.where(core, 1, 0) + np.where(_grown(first | prior, 1), 0, 2)
    later = [_blob((frame < level) & _basin(frame, basins), core) for frame in smooth[1:]]
    return np.stack([first, *later])


def end_systole(found: Mask) -> int:
    """Frame of the smallest cavity in `found` (t, h, w) that is not empty; 0 when all are."""
    areas = found.sum(axis=(1, 2))
    return int(np.where(areas > 0, areas, areas.max() + 1).argmin())


def _basin(frame: NDArray[np.float32], basins: NDArray[np.int_]) -> Mask:
    """Where water from the core arrives first: watershed of the grey levels from two sources."""
    levels = np.clip(frame, 0, 255).astype(np.uint8)
    return np.asarray(ndimage.watershed_ift(levels, basins.astype(np.int16))) == 1


def _core(prior: Mask) -> Mask:
    """The inner third of the prior, where every phase of the beat is cavity."""
    depth = np.asarray(ndimage.distance_transform_edt(prior))
    return depth >= 0.66 * depth.max()


def _level(frame: NDArray[np.float32], prior: Mask, near: Mask) -> float:
    """Midway between the grey of the cavity and the grey of the wall."""
    inside = np.asarray(ndimage.binary_erosion(prior, _DISC), bool)
    dark = np.median(frame[inside if inside.any() else prior])
    wall = near & ~_grown(prior, 1)
    bright = np.percentile(frame[wall], 60) if wall.any() else dark
    return float(0.5 * (dark + bright))


def _blob(dark: Mask, core: Mask) -> Mask:
    """The connected dark region with most of the core in it, closed and without holes."""
    opened = np.asarray(ndimage.binary_opening(dark, _DISC), bool) | (dark & core)
    labels = np.zeros(dark.shape, np.int32)
    ndimage.label(opened, output=labels)
    votes = np.bincount(labels[core])
    votes[0] = 0
    if not votes.any():
        return np.zeros_like(dark)
    blob = ndimage.binary_closing(labels == votes.argmax(), _DISC, iterations=2)
    return np.asarray(ndimage.binary_fill_holes(blob), bool)


def _grown(mask: Mask, steps: int) -> Mask:
    """`mask` with 2 px more on every side per step."""
    return np.asarray(ndimage.binary_dilation(mask, _DISC, iterations=max(steps, 1)), bool)
