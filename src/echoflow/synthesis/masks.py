"""Where the masks come from that anatomies are asked to follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from echoflow.data.masks import check_mask
from echoflow.types import InputError, View

MaskSource = Callable[[View, int], np.ndarray]
"""(view, seed) -> LV cavity at end-diastole, bool (h, w)."""


UNSEEN = 1001  # the phantom population that no shipped model was trained on


@dataclass(frozen=True)
class PhantomMasks:
    """Masks of a phantom population: the candidate's seed is the patient."""

    cohort: str
    seed: int
    untraced: tuple[View, ...] = ()

    def __call__(self, view: View, candidate: int) -> np.ndarray:
        from echoflow.data.phantom import PhantomPatient

        patient = PhantomPatient.sample(self.seed, candidate, self.cohort)
        mask = patient.render(view, frames=1, phase=0.0).truth.mask[0]
        return np.zeros_like(mask) if view in self.untraced else mask


@dataclass(frozen=True, eq=False)
class GivenMasks:
    """Masks (n, h, w) that somebody drew: the candidate's seed chooses one."""

    masks: np.ndarray

    def __call__(self, view: View, candidate: int) -> np.ndarray:
        return self.masks[candidate % len(self.masks)]


def phantom_masks(
    cohort: str = "adult", seed: int = UNSEEN, untraced: tuple[View, ...] = ()
) -> MaskSource:
    """Masks of phantom patients that nobody trained on: the candidate's seed is the patient.

    Those of `untraced` views, which the image model learned without masks, are empty.
    """
    return PhantomMasks(cohort, seed, untraced)


def given_masks(masks: np.ndarray, side: int = 112) -> MaskSource:
    """Masks (n, side, side) of 0 and 1, or 0 and 255; the candidate's seed chooses one.

    `InputError` for other shapes or values, and for a mask without a ventricle in it.
    """
    if np.ndim(masks) != 3 or not len(masks):
        raise InputError(
            f"masks must have axes (n, h, w) and be at least one; got shape {np.shape(masks)}."
        )
    chosen = np.stack([check_mask(mask, side, side) for mask in masks])
    empty = np.flatnonzero(~chosen.any(axis=(1, 2)))
    if len(empty):
        raise InputError(f"mask number {empty[0]} is empty; draw the left-ventricular cavity.")
    return GivenMasks(chosen)
