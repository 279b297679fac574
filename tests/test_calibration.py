"""The EF to tell a video model: laws of the curves, and engines that need one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny_engine import TinyEngine, disc_mask, engine
from torch import Tensor

from echoflow.calibration import Curve, EFCalibration
from echoflow.sampling import SamplingPlan
from echoflow.synthesis.calibrate import calibrate
from echoflow.types import InputError, View

CURVES = {
    "all": Curve((0.0, 100.0), (0.0, 100.0)),
    "A4C": Curve((10.0, 40.0, 70.0), (5.0, 40.0, 80.0)),
    "PSAX": Curve((20.0, 60.0), (10.0, 70.0)),
}


KINKS = (8.0, 12.0, 30.0, 52.0, 70.0, 80.0)


def test_told_is_what_comes_out_as_asked():
    views, asked = [View.A4C, View.PSAX, View.PLAX], torch.tensor([60.0, 65.0, 30.0])
    told = EFCalibration(CURVES).told(asked, views)
    assert told[0] == pytest.approx(55.0)
    curves = [CURVES["A4C"], CURVES["PSAX"], CURVES["all"]]
    got = [curve.expected(np.array(one)) for curve, one in zip(curves, told.tolist(), strict=True)]
    assert got == pytest.approx(asked.tolist())


def test_without_views_the_curve_of_all():
    asked = torch.tensor([40.0, 65.0])
    assert torch.equal(EFCalibration(CURVES).told(asked), asked)


def test_what_never_came_out_gets_the_nearest_end_and_an_absent_ef_stays_absent():
    told = EFCalibration({"all": CURVES["A4C"]}).told(torch.tensor([2.0, 90.0, math.nan]))
    assert told[:2].tolist() == [10.0, 70.0]
    assert told[2].isnan()


def test_the_curve_of_a_view_is_fitted_to_its_videos():
    views = [View.A4C] * 30 + [View.PSAX] * 30 + [View.PLAX] * 3
    told = np.concatenate([np.linspace(10, 70, 30), np.linspace(10, 70, 30), [20, 40, 60]])
    bent = np.interp(told, (10, 22, 34, 46, 58, 70), KINKS)
    measured = np.where([v is View.A4C for v in views], bent, 1.5 * told - 20)
    curves = EFCalibration.fitted(views, told, measured).curves
    assert set(curves) == {"A4C", "PSAX", "all"}
    assert curves["A4C"].measured == pytest.approx(KINKS, abs=1e-3)
    assert curves["PSAX"].measured == pytest.approx((-5, 13, 31, 49, 67, 85), abs=1e-3)


def test_a_curve_never_falls():
    told = np.linspace(10, 70, 30)
    curve = EFCalibration.fitted([View.A4C] * 30, told, (told - 30) ** 2 / 20).curves["A4C"]
    assert (np.diff(curve.measured) / np.diff(curve.told)).min() == pytest.approx(0.2, abs=1e-3)


def test_a_card_gives_it_back():
    calibration = EFCalibration(CURVES)
    assert EFCalibration.of(calibration.plain()) == calibration


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({"A4C": [[0, 1], [0, 1]]}, "needs the curve 'all'"),
        ({"all": [[0, 1], [0, 1]], "A5C": [[0, 1], [0, 1]]}, "EF calibration 'A5C'"),
        ({"all": [[0, 1], [2, 1]]}, "two rising rows"),
        ({"all": [[0, 1, 2], [0, 1]]}, "two rising rows"),
        ({"all": [[0, math.nan], [0, 1]]}, "two rising rows"),
        ({"all": [[0], [0]]}, "two rising rows"),
        ({"all": [0, 1]}, "has two rows of numbers"),
        ([1, 2], "has two rows of numbers"),
    ],
)
def test_curves_that_are_none(curves, message):
    with pytest.raises(InputError, match=message):
        EFCalibration.of(curves)


def test_too_little_to_fit():
    with pytest.raises(InputError, match="needs 24 videos"):
        EFCalibration.fitted([View.A4C] * 4, np.arange(4.0), np.arange(4.0))
    with pytest.raises(InputError, match="30 videos, 29 of them measured"):
        EFCalibration.fitted([View.A4C] * 30, np.arange(30.0), np.array([*range(29), math.nan]))


@dataclass
class Overdone(TinyEngine):
    """Beats harder than it is told, by another factor in each view."""

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor:
        assert views is not None
        factors = torch.tensor([0.8 + 0.1 * int(view) for view in views])
        return super().animate(frame, factors * ef, seeds, plan)


def test_an_engine_that_overdoes_it_is_found_out():
    plain = engine()
    told: list[tuple[int, int]] = []
    found = calibrate(
        Overdone(plain.privacy), 72, disc_mask, progress=lambda done, n: told.append((done, n))
    )
    straight = calibrate(plain, 72, disc_mask).curves.curves
    assert told[-1] == (72, 72)
    for view in View:
        factor = 0.8 + 0.1 * int(view)
        for one in (20.0, 40.0, 60.0):
            want = straight[view.name].expected(np.array(factor * one))
            assert found.curves.curves[view.name].expected(np.array(one)) == pytest.approx(
                want, 0.1
            )
        assert found.scatter(view) < 2


class Deaf(TinyEngine):
    """Beats the same whatever it is told."""

    def animate(
        self,
        frame: Tensor,
        ef: Tensor,
        seeds: Sequence[int],
        plan: SamplingPlan | None = None,
        *,
        views: Sequence[View] | None = None,
    ) -> Tensor:
        return super().animate(frame, 0 * ef + 50, seeds, plan)


def test_an_engine_that_does_not_listen_is_refused():
    with pytest.raises(InputError, match="Train the model longer"):
        calibrate(Deaf(engine().privacy), 24, disc_mask)
