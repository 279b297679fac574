"""The cavity finder on phantom hearts, whose cavity is known in every frame."""

import numpy as np
import pytest

from echoflow.data.phantom import PhantomPatient
from echoflow.metrics.cavity import cavity, end_systole
from echoflow.metrics.clinical import dice
from echoflow.types import InputError, View


@pytest.mark.parametrize(("view", "least"), [(View.A4C, 0.8), (View.PSAX, 0.87), (View.PLAX, 0.75)])
def test_the_cavity_is_found_through_the_beat(view: View, least: float) -> None:
    scores, lags = [], []
    for patient in range(5):
        made = PhantomPatient.sample(3, patient).render(view, 20, 16.0, phase=0.0)
        found = cavity(made.clip.video, made.truth.mask[0])
        scores.append(dice(found, made.truth.mask).mean())
        areas = made.truth.mask.sum(axis=(1, 2))
        lags.append(areas[end_systole(found)] / areas.min())
    assert np.mean(scores) > least
    assert np.median(lags) < 1.25  # the frame found is nearly the smallest one


def test_a_picture_without_a_cavity_gives_an_empty_or_small_mask() -> None:
    prior = np.zeros((64, 64), bool)
    prior[20:44, 20:44] = True
    found = cavity(np.full((4, 64, 64), 120, np.uint8), prior)
    assert dice(found, np.broadcast_to(prior, found.shape)).max() < 0.7
    assert end_systole(np.zeros((4, 8, 8), bool)) == 0


def test_an_empty_or_misshapen_mask_is_refused() -> None:
    video = np.zeros((4, 64, 64), np.uint8)
    with pytest.raises(InputError, match="non-empty mask"):
        cavity(video, np.zeros((64, 64), bool))
    with pytest.raises(InputError, match=r"\(64, 32\)"):
        cavity(video, np.ones((64, 32), bool))
