"""Where the masks come from that anatomies are asked to follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from echoflow.types import InputError, View

MaskSource = Callable[[View, int], np.ndarray]
"""(view, seed) -> LV cavity at end-diastole, bool (h, w)."""


UNSEEN = 1001  # the phantom population that no shipped model was trained on


def phantom_masks(cohort: str = "adult", seed: int = UNSEEN) -> MaskSource:
    """Masks of phantom patients that nobody trained on: the candidate's seed is the patient."""
    from echoflow.data.phantom import PhantomPatient

    def source(view: View, candidate: int) -> np.ndarray:
        patient = PhantomPatient.sample(seed, candidate, cohort)
        return patient.render(view, frames=1, phase=0.0).truth.mask[0]

    return source


def given_masks(masks: np.ndarray) -> MaskSource:
    """Masks (n, h, w) of 0 and 1; the candidate's seed chooses one."""
    masks = np.asarray(masks)
    if masks.ndim != 3 or not len(masks) or not np.isin(masks, (0, 1)).all():
        raise InputError(
            "masks must have axes (n, h, w), at least one mask and only the values 0 and 1; got "
            f"shape {masks.shape}. Threshold them first, for example masks > 127."
        )
    chosen = masks.astype(bool)
    return lambda view, seed: chosen[seed % len(chosen)]
