"""The EF to tell a video model: laws of the lines, and engines that need one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny_engine import TinyEngine, disc_mask, engine
from torch import Tensor

from echoflow.calibration import EFCalibration, Line
from echoflow.sampling import SamplingPlan
from echoflow.synthesis.calibrate import calibrate
from echoflow.types import InputError, View

LINES = {"all": Line(0.0, 1.0), "A4C": Line(-10.0, 1.25), "PSAX": Line(5.0, 1.5)}


def test_told_is_what_comes_out_as_asked():
    views, asked = [View.A4C, View.PSAX, View.PLAX], torch.tensor([40.0, 65.0, 30.0])
    told = EFCalibration(LINES).told(asked, views)
    lines = [LINES["A4C"], LINES["PSAX"], LINES["all"]]
    got = [line.at_zero + line.slope * one for line, one in zip(lines, told.tolist(), strict=True)]
    assert got == pytest.approx(asked.tolist())


def test_without_views_the_line_of_all():
    asked = torch.tensor([40.0, 65.0])
    assert torch.equal(EFCalibration(LINES).told(asked), asked)


def test_what_is_told_is_an_ef_and_an_absent_one_stays_absent():
    told = EFCalibration({"all": Line(10.0, 0.5)}).told(torch.tensor([2.0, 90.0, math.nan]))
    assert told[:2].tolist() == [0.0, 100.0]
    assert told[2].isnan()


def test_the_line_of_a_view_is_fitted_to_its_videos():
    views = [View.A4C] * 10 + [View.PSAX] * 10 + [View.PLAX] * 3
    told = np.linspace(10, 75, 23)
    measured = np.where([v is View.A4C for v in views], 1.25 * told - 10, 1.5 * told + 5)
    lines = EFCalibration.fitted(views, told, measured).lines
    assert lines["A4C"] == pytest.approx(LINES["A4C"])
    assert lines["PSAX"] == pytest.approx(LINES["PSAX"])
    assert set(lines) == {"A4C", "PSAX", "all"}


def test_a_card_gives_it_back():
    calibration = EFCalibration(LINES)
    assert EFCalibration.of(calibration.plain()) == calibration


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"A4C": [0, 1]}, "needs the line 'all'"),
        ({"all": [0, 1], "A5C": [0, 1]}, "unknown view of an EF calibration 'A5C'"),
        ({"all": [0, 0.1]}, "moves 0.10 points for each one told"),
        ({"all": [math.nan, 1]}, "a calibration needs 0.2 or more"),
        ({"all": [0]}, "is a table of two numbers"),
        ([1, 2], "is a table of two numbers"),
    ],
)
def test_lines_that_are_none(lines, message):
    with pytest.raises(InputError, match=message):
        EFCalibration.of(lines)


def test_too_little_to_fit():
    with pytest.raises(InputError, match="needs 8 videos"):
        EFCalibration.fitted([View.A4C] * 4, np.arange(4.0), np.arange(4.0))
    with pytest.raises(InputError, match="8 videos, 7 of them measured"):
        EFCalibration.fitted([View.A4C] * 8, np.arange(8.0), np.array([*range(7), math.nan]))


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
        Overdone(plain.privacy), 36, disc_mask, progress=lambda done, n: told.append((done, n))
    )
    straight = calibrate(plain, 36, disc_mask).lines.lines
    assert told[-1] == (36, 36)
    for view in View:
        ratio = found.lines.lines[view.name].slope / straight[view.name].slope
        assert ratio == pytest.approx(0.8 + 0.1 * int(view), abs=0.03)
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
        calibrate(Deaf(engine().privacy), 12, disc_mask)
