"""Clinical metrics: does the heart beat as asked, and is it where the mask says?

EF is a percentage, areas are pixels or mm2, volumes mL. All statistics are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.metrics.intervals import Interval, bootstrapped
from echoflow.types import InputError

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Of pairs (asked, measured)."""


@dataclass(frozen=True)
class Regression:
    """How `measured` follows `asked`; those named `_ci` are bootstrap intervals."""

    n: int
    r2: float
    mae: float
    rmse: float
    slope: float
    bias: float
    r2_ci: Interval
    mae_ci: Interval
    rmse_ci: Interval
    slope_ci: Interval
    bias_ci: Interval

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """The scalars by name, intervals as `_low` and `_high`, each after `prefix`."""
        fields = asdict(self)
        values = {k: v for k, v in fields.items() if k != "n" and not k.endswith("_ci")}
        for name in tuple(values):
            values[f"{name}_low"], values[f"{name}_high"] = fields[f"{name}_ci"]
        return {f"{prefix}{name}": float(value) for name, value in values.items()}


def r2(asked: ArrayLike, measured: ArrayLike) -> float:
    """1 - SS_res / SS_tot, as scikit-learn defines it; nan when all asked values are equal."""
    y, y_hat = np.asarray(asked, np.float64), np.asarray(measured, np.float64)
    total = float(np.sum((y - y.mean()) ** 2))
    return 1.0 - float(np.sum((y - y_hat) ** 2)) / total if total > 0 else float("nan")


def mae(asked: ArrayLike, measured: ArrayLike) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(np.asarray(asked, np.float64) - np.asarray(measured, np.float64))))


def rmse(asked: ArrayLike, measured: ArrayLike) -> float:
    """Root mean squared error."""
    error = np.asarray(measured, np.float64) - np.asarray(asked, np.float64)
    return float(np.sqrt(np.mean(error**2)))


def bias(asked: ArrayLike, measured: ArrayLike) -> float:
    """Mean of measured minus asked."""
    return float(np.mean(np.asarray(measured, np.float64) - np.asarray(asked, np.float64)))


def slope(asked: ArrayLike, measured: ArrayLike) -> float:
    """Least-squares slope of measured on asked: 1 obeys, 0 ignores; nan for constant asked."""
    y, y_hat = np.asarray(asked, np.float64), np.asarray(measured, np.float64)
    centred = y - y.mean()
    spread = float(np.sum(centred**2))
    return float(np.sum(centred * y_hat)) / spread if spread > 0 else float("nan")


def regression(
    asked: ArrayLike, measured: ArrayLike, resamples: int = 2000, seed: int = 0
) -> Regression:
    """All regression metrics of two equally long lists, with 90 % bootstrap intervals.

    5th to 95th percentile over resampled pairs, as echonet/dynamic prints its test scores.
    """
    y, y_hat = _pairs(asked, measured)

    def interval(statistic: Statistic) -> Interval:
        return bootstrap(statistic, y, y_hat, resamples, seed)

    return Regression(
        n=len(y),
        r2=r2(y, y_hat),
        mae=mae(y, y_hat),
        rmse=rmse(y, y_hat),
        slope=slope(y, y_hat),
        bias=bias(y, y_hat),
        r2_ci=interval(r2),
        mae_ci=interval(mae),
        rmse_ci=interval(rmse),
        slope_ci=interval(slope),
        bias_ci=interval(bias),
    )


def bootstrap(
    statistic: Statistic,
    asked: NDArray[np.float64],
    measured: NDArray[np.float64],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 90.0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of pairs, `level` in percent."""
    return bootstrapped(
        lambda index: statistic(asked[index], measured[index]), len(asked), resamples, seed, level
    )


def _pairs(asked: ArrayLike, measured: ArrayLike) -> tuple[NDArray, NDArray]:
    y, y_hat = np.asarray(asked, np.float64).ravel(), np.asarray(measured, np.float64).ravel()
    if len(y) != len(y_hat) or not len(y):
        raise InputError(
            f"need as many measured as asked values, at least one; got {len(y_hat)} and {len(y)}."
        )
    if not (np.isfinite(y).all() and np.isfinite(y_hat).all()):
        raise InputError("asked and measured values must be finite; drop the rows without a value.")
    return y, y_hat


def dice(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """2 |a and b| / (|a| + |b|) over the last two axes of boolean masks; two empty masks give 1."""
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    both = (first & second).sum(axis=(-2, -1), dtype=np.float64)
    size = first.sum(axis=(-2, -1), dtype=np.float64) + second.sum(axis=(-2, -1))
    return np.where(size > 0, 2.0 * both / np.maximum(size, 1.0), 1.0)


def ejection_fraction(volumes: ArrayLike) -> float:
    """EF in percent of one volume curve (t,): 100 (max - min) / max."""
    curve = np.asarray(volumes, np.float64)
    if curve.size == 0 or not np.isfinite(curve).all() or curve.max() <= 0:
        raise InputError("an EF needs a finite volume curve with a positive maximum.")
    return float(100.0 * (curve.max() - curve.min()) / curve.max())


def curve_roughness(curve: ArrayLike) -> float:
    """Second over first difference of a curve (t,), as mean squares: 0 for smooth, 3 for noise.

    Frames where it is not known (nan) are passed over; nan where it does not move.
    """
    y = np.asarray(curve, np.float64)
    first, second = np.diff(y), np.diff(y, 2)
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    power = float(np.mean(first**2)) if len(first) else 0.0
    return float(np.mean(second**2)) / power if power > 0 and len(second) else float("nan")


def area_length_volume(area: ArrayLike, length: ArrayLike) -> NDArray[np.float64]:
    """Single-plane area-length volume 8 A^2 / (3 pi L), in the cube of the unit of `length`."""
    return 8.0 * np.asarray(area, np.float64) ** 2 / (3.0 * np.pi * np.asarray(length, np.float64))


def area_ejection_fraction(areas: ArrayLike) -> float:
    """EF in percent of an area curve when nothing but the area is known: volume ~ area^(3/2).

    Exact for a cavity that shrinks by the same factor in every direction.
    """
    return ejection_fraction(np.asarray(areas, np.float64) ** 1.5)
