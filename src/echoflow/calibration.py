"""What a video model has to be told so that the EF that was asked for comes out.

Guidance makes a model follow its condition more closely, and overdo it: at a scale of 4.5 the EF of
nano's hearts moves 1.6 points for each that it is told, least at the ends, and not alike in all
views. Told that much less, it keeps the closeness and loses the excess; docs/decisions.md has the
figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from echoflow.types import InputError, View, choose

EVERY = "all"  # the curve of hearts whose view nobody has told
PIECES = 5  # straight pieces of a curve
FEWEST = 24  # videos of a view that a curve is fitted to
FLATTEST = 0.2  # points measured per point told: below, the EF told is not what decides


class Curve(NamedTuple):
    """EF told and what comes out of it, in percent, both rising; straight between the points."""

    told: tuple[float, ...]
    measured: tuple[float, ...]

    def expected(self, told: np.ndarray) -> np.ndarray:
        """The EF that comes out."""
        return np.interp(told, self.told, self.measured)

    def inverse(self, asked: np.ndarray) -> np.ndarray:
        """The EF to tell; the nearest end where what was asked never came out."""
        return np.interp(asked, self.measured, self.told)


@dataclass(frozen=True)
class EFCalibration:
    """Curves by the name of a view, and `all`; they belong to one network and its guidance."""

    curves: Mapping[str, Curve]

    def __post_init__(self) -> None:
        if EVERY not in self.curves:
            raise InputError(f"an EF calibration needs the curve {EVERY!r}; calibrate again.")
        for name, (told, measured) in self.curves.items():
            choose(name, [EVERY, *(view.name for view in View)], "view of an EF calibration")
            rising = all((np.diff(points) > 0).all() for points in (told, measured))
            if len(told) != len(measured) or len(told) < 2 or not rising:
                raise InputError(
                    f"the EF calibration of {name} must be two rising rows of numbers of one "
                    f"length; got {told} and {measured}. Calibrate the weights again."
                )

    def told(self, asked: Tensor, views: Sequence[View] | None = None) -> Tensor:
        """The EF (b,) to condition on, from the one asked for, both in percent; nan stays nan."""
        names = [EVERY] * len(asked) if views is None else [view.name for view in views]
        curves = [self.curves.get(name, self.curves[EVERY]) for name in names]
        pairs = zip(curves, asked.tolist(), strict=True)
        return torch.tensor([float(curve.inverse(np.array(ef))) for curve, ef in pairs]).to(asked)

    @classmethod
    def fitted(cls, views: Sequence[View], told: np.ndarray, measured: np.ndarray) -> EFCalibration:
        """Least squares over all videos, and over those of each view that has enough of them."""
        known = np.isfinite(measured)
        if known.sum() < max(FEWEST, len(known)) or np.ptp(told) == 0:
            raise InputError(
                f"an EF calibration needs {FEWEST} videos of different EFs or more, each with an "
                f"EF that the regressor can tell; got {len(known)} videos, {known.sum()} of them "
                "measured."
            )
        names = np.array([view.name for view in views])
        parts = {view.name: names == view.name for view in View}
        parts = {name: part for name, part in parts.items() if part.sum() >= FEWEST}
        parts[EVERY] = known
        return cls({name: _fit(name, told[part], measured[part]) for name, part in parts.items()})

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: [list(row) for row in curve] for name, curve in self.curves.items()}

    @classmethod
    def of(cls, curves: Mapping[str, Sequence[Sequence[float]]]) -> EFCalibration:
        """The inverse of `plain`."""
        try:
            read = {
                name: Curve(tuple(map(float, told)), tuple(map(float, measured)))
                for name, (told, measured) in curves.items()
            }
        except (AttributeError, TypeError, ValueError):
            raise InputError(
                "an EF calibration has two rows of numbers by the name of a view; got "
                f"{str(curves)[:80]}. Calibrate the weights again."
            ) from None
        return cls(read)


def _fit(name: str, told: np.ndarray, measured: np.ndarray) -> Curve:
    """Pieces of equal width, none flatter than `FLATTEST`."""
    from scipy.optimize import lsq_linear

    slope = np.polyfit(told, measured, 1)[0]
    if not slope > FLATTEST:
        raise InputError(
            f"the EF measured in {name} moves {slope:.2f} points for each one told to the video "
            f"model; a calibration needs more than {FLATTEST}. Train the model longer, or sample "
            "with more guidance."
        )
    knots = np.linspace(told.min(), told.max(), PIECES + 1)
    ramps = [np.clip(told, a, b) - a for a, b in pairwise(knots)]
    lowest = [-np.inf] + [FLATTEST] * PIECES
    fit = lsq_linear(np.stack([np.ones_like(told), *ramps], 1), measured, (lowest, np.inf))
    start, slopes = fit.x[0], fit.x[1:]
    heights = start + np.concatenate([[0.0], np.cumsum(slopes * np.diff(knots))])
    return Curve(tuple(knots.round(3).tolist()), tuple(heights.round(3).tolist()))
