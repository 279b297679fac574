"""When does the heart beat? Rate and phase of a volume (or area) curve.

A clip of two seconds holds two or three beats, too few for a spectrum. Every beat length is tried
instead, and its first harmonics fitted to the curve. Half the true length leaves out the strongest
of them. Twice the length explains as much as the true one, or more where beats differ, so the
shortest length is taken that is nearly as good as the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.types import InputError

Values = NDArray[np.float64]

HARMONICS = 3
RATES = (35.0, 200.0)  # beats per minute that are tried
BEATS = 1.25  # a clip must hold so many of the longest beat tried
NEARLY = 0.1  # of the variance, that the shortest length may explain less than the best
FINE = 200  # points per beat at which the fitted curve is searched


@dataclass(frozen=True)
class Rhythm:
    """`period` s, first end-diastole `ed` and the end-systole after it, `es`, in s from frame 0.

    Both are extremes of the fitted curve; `ed` lies in [-period / 2, period / 2). `explained` is
    the share of the curve's variance that a strictly periodic heart accounts for.
    """

    period: float
    ed: float
    es: float
    explained: float

    @property
    def rate(self) -> float:
        """Beats per minute."""
        return 60.0 / self.period

    @property
    def systole(self) -> float:
        """Time from end-diastole to end-systole in s."""
        return self.es - self.ed

    def phase(self, time: ArrayLike) -> Values:
        """Beats since the first end-diastole at `time` s: 0 there, 1 at the next."""
        return np.asarray((np.asarray(time, np.float64) - self.ed) / self.period)


def rhythm(curve: ArrayLike, fps: float, rates: tuple[float, float] = RATES) -> Rhythm:
    """The rhythm of a curve (t,) that is large at end-diastole; nan where it is not known.

    `InputError` when it is flat, or so short that even the fastest rate does not fit in.
    """
    y = np.asarray(curve, np.float64)
    time = np.arange(len(y)) / fps
    known = np.isfinite(y)
    time, y = time[known], y[known]
    periods = _tried(time, rates)
    if len(y) < 3 * HARMONICS or not len(periods) or np.ptp(y) <= 1e-9 * np.abs(y).max():
        raise InputError(
            f"a rhythm needs a curve that moves, of {3 * HARMONICS} known values or more and "
            f"longer than {BEATS:g} beats at {rates[1]:g} per minute; got {len(y)} values over "
            f"{np.ptp(time) if len(time) else 0:.2f} s."
        )
    centred = y - y.mean()
    left = np.array([_fit(time, centred, period)[1] for period in periods])
    period = _shortest(periods, left, NEARLY * float(centred @ centred))
    weights, rest = _fit(time, centred, period)
    ed, es = _extremes(weights, period)
    return Rhythm(period, ed, es, 1.0 - rest / float(centred @ centred))


def _tried(time: Values, rates: tuple[float, float]) -> Values:
    """Beat lengths in s, in steps of half a percent, as far as the clip can hold them."""
    longest = min(60.0 / rates[0], (np.ptp(time) if len(time) else 0.0) / BEATS)
    shortest = 60.0 / rates[1]
    if longest < shortest:
        return np.empty(0)
    return np.geomspace(shortest, longest, 2 + int(np.log(longest / shortest) / 0.005))


def _waves(time: Values, period: float) -> Values:
    """Constant, cosines and sines of the harmonics at `time` (t,): (t, 1 + 2 HARMONICS)."""
    angle = 2 * np.pi * np.outer(time, np.arange(1, HARMONICS + 1)) / period
    return np.concatenate([np.ones((len(time), 1)), np.cos(angle), np.sin(angle)], axis=1)


def _fit(time: Values, y: Values, period: float) -> tuple[Values, float]:
    """Least-squares weights of the waves, and the sum of squares that they leave."""
    waves = _waves(time, period)
    weights: Values = np.linalg.lstsq(waves, y, rcond=None)[0].astype(np.float64)
    return weights, float(np.sum((y - waves @ weights) ** 2))


def _shortest(periods: Values, left: Values, slack: float) -> float:
    """The first local minimum within `slack` of the least, refined by a parabola."""
    ends = np.concatenate([[np.inf], left, [np.inf]])
    low = (left <= ends[:-2]) & (left <= ends[2:]) & (left <= left.min() + slack)
    best = int(np.flatnonzero(low)[0])
    if best in (0, len(left) - 1):
        return float(periods[best])
    a, b, c = left[best - 1 : best + 2]
    bend = a - 2 * b + c
    shift = 0.5 * (a - c) / bend if bend > 0 else 0.0
    return float(periods[best] * (periods[best + 1] / periods[best]) ** shift)


def _extremes(weights: Values, period: float) -> tuple[float, float]:
    """First end-diastole, within half a beat of frame 0, and the end-systole after it, in s."""
    time = np.arange(FINE) * period / FINE
    fitted = _waves(time, period) @ weights
    ed, es = float(time[fitted.argmax()]), float(time[fitted.argmin()])
    ed = ed - period if ed >= period / 2 else ed
    return ed, ed + (es - ed) % period
