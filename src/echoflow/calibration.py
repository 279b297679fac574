"""What a video model has to be told so that the EF that was asked for comes out.

Guidance makes a model follow its condition more closely, and overdo it: at a scale of 3 the EF of
nano's hearts moves 1.4 points for each that it is told, by another factor in each view. Told that
much less, it keeps the closeness and loses the excess (docs/decisions.md has the figures).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from echoflow.types import InputError, View, choose

EVERY = "all"  # the line of hearts whose view nobody has told
FEWEST = 8  # videos of a view that a line is fitted to
FLATTEST = 0.2  # slope below which the EF told is not what decides


class Line(NamedTuple):
    """measured = at_zero + slope * told, in points of EF."""

    at_zero: float
    slope: float

    def inverse(self, asked: Tensor) -> Tensor:
        return (asked - self.at_zero) / self.slope


@dataclass(frozen=True)
class EFCalibration:
    """Lines by the name of a view, and `all`; they belong to one network and one sampling plan."""

    lines: Mapping[str, Line]

    def __post_init__(self) -> None:
        if EVERY not in self.lines:
            raise InputError(f"an EF calibration needs the line {EVERY!r}; calibrate again.")
        for name, line in self.lines.items():
            choose(name, [EVERY, *(view.name for view in View)], "view of an EF calibration")
            if not (math.isfinite(line.at_zero) and FLATTEST <= line.slope < math.inf):
                raise InputError(
                    f"the EF measured in {name} moves {line.slope:.2f} points for each one told to "
                    f"the video model; a calibration needs {FLATTEST} or more. Train the model "
                    "longer, or sample with more guidance."
                )

    def told(self, asked: Tensor, views: Sequence[View] | None = None) -> Tensor:
        """The EF (b,) to condition on, from the one asked for, both in percent; nan stays nan."""
        names = [EVERY] * len(asked) if views is None else [view.name for view in views]
        lines = [self.lines.get(name, self.lines[EVERY]) for name in names]
        told = [line.inverse(ef) for line, ef in zip(lines, asked, strict=True)]
        return torch.stack(told).clamp(0.0, 100.0) if told else asked

    @classmethod
    def fitted(cls, views: Sequence[View], told: np.ndarray, measured: np.ndarray) -> EFCalibration:
        """Least squares over all videos, and over those of each view that has enough of them."""
        names = np.array([view.name for view in views])
        parts = {view.name: names == view.name for view in View}
        parts = {name: part for name, part in parts.items() if part.sum() >= FEWEST}
        parts[EVERY] = np.ones(len(names), bool)
        if len(names) < FEWEST or np.ptp(told) == 0 or not np.isfinite(measured).all():
            raise InputError(
                f"an EF calibration needs {FEWEST} videos of different EFs or more, each with an "
                f"EF that the regressor can tell; got {len(names)} videos, "
                f"{int(np.isfinite(measured).sum())} of them measured."
            )
        return cls({name: _fit(told[part], measured[part]) for name, part in parts.items()})

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: list(line) for name, line in self.lines.items()}

    @classmethod
    def of(cls, lines: Mapping[str, Sequence[float]]) -> EFCalibration:
        """The inverse of `plain`."""
        try:
            read = {name: Line(float(a), float(b)) for name, (a, b) in lines.items()}
        except (AttributeError, TypeError, ValueError):
            raise InputError(
                "an EF calibration is a table of two numbers by the name of a view; got "
                f"{str(lines)[:80]}. Calibrate the weights again."
            ) from None
        return cls(read)


def _fit(told: np.ndarray, measured: np.ndarray) -> Line:
    slope, at_zero = np.polyfit(told, measured, 1)
    return Line(float(at_zero), float(slope))
