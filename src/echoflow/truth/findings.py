"""All cases of a plan, their scores, and the reports that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from echoflow.data.phantom.render import SIZE
from echoflow.interop.bundle import filters_of
from echoflow.judges import Regressor, Segmenter, sha256_of
from echoflow.metrics.clinical import mae, r2, slope
from echoflow.metrics.intervals import Indices, bootstrapped
from echoflow.metrics.report import Report
from echoflow.privacy import PrivacyByView, PrivacyFilter
from echoflow.truth.cases import RUNGS, Case, Engine, TruthPlan, cases
from echoflow.truth.kept import Kept, Result, Shown
from echoflow.truth.scores import Beating, score

Values = NDArray[np.float64]
Tell = Callable[[int, int], None]

RESAMPLES = 500
FEW = 10  # hearts, below which an interval is said to be rough
PICTURE = ("psnr", "ssim", "mae", "psnr_phase", "ssim_phase")
HEART = ("dice", "dice_phase", "dice_es", "curve", "identity", "recognised")
ERRORS = ("ef_mask", "ef_regressor", "rate", "systole", "start")


@dataclass(frozen=True)
class Findings:
    """`scores[rung][name]` and `asked` are (hearts, views, 1 + efs), a heart's own EF first.

    `true` has the exact mask's EF, the rate and the systole of the true videos by those names.
    `shown` are the cases of the first heart. `instruments` are the hashes of the networks that
    measure.
    """

    plan: TruthPlan
    fps: float
    asked: Values
    scores: Mapping[str, Mapping[str, Values]]
    true: Mapping[str, Values]
    shown: tuple[Shown, ...]
    settings: Mapping[str, object]
    instruments: Mapping[str, str]

    def measured(self, rung: str, name: str) -> Values:
        """A score of an answer, (hearts, views, 1 + efs)."""
        return self.scores[rung][name]

    def error(self, rung: str, name: str) -> Values:
        """How far one of `ERRORS` is off: EFs from what was asked, beats from the true video's."""
        true = self.asked if name.startswith("ef_") else self.true[name]
        return np.abs(self.measured(rung, name) - true)

    def reports(self) -> list[Report]:
        """Every number with its interval over hearts."""
        own, other, all_ = slice(0, 1), slice(1, None), slice(None)
        return [
            self._report("obedience", self._obedience(), all_),
            self._report("counterfactual", self._ladder(other, tuple(RUNGS)), other),
            self._report("factual", self._ladder(own, ("generated", "stranger")), own),
            self._report("timing", self._timing(), all_),
        ]

    def _ladder(self, part: slice, rungs: tuple[str, ...]) -> dict[str, float]:
        """Means of scores and of errors, for every answer, over a part of the EFs."""
        metrics: dict[str, float] = {}
        for rung in rungs:
            names = HEART if rung == "truth" else (*PICTURE, *HEART)
            values = {name: self.measured(rung, name) for name in names}
            values |= {f"{name}_error": self.error(rung, name) for name in ERRORS}
            for name, value in values.items():
                metrics |= _mean(f"{rung}_{name}", value[:, :, part])
        return metrics

    def _obedience(self) -> dict[str, float]:
        """EF measured on EF asked for, by cavity and by regressor, model and true videos."""
        exact = {"exact_mask": self.true["ef_mask"]}
        sides = {
            f"{rung}_{ruler}": self.measured(rung, f"ef_{ruler}")
            for rung in ("generated", "truth")
            for ruler in ("mask", "regressor")
        }
        metrics: dict[str, float] = {}
        for name, values in (sides | exact).items():
            metrics |= _followed(name, self.asked, values)
        return metrics

    def _timing(self) -> dict[str, float]:
        """Rate per minute and timing in ms: mean, spread, and error against the patient's own."""
        metrics: dict[str, float] = {}
        for rung in ("generated", "truth", "stranger"):
            for name in ("rate", "systole", "start"):
                values = self.measured(rung, name)
                metrics |= _mean(f"{rung}_{name}", values)
                metrics[f"{rung}_{name}_sd"] = _spread(values)
                metrics |= _mean(f"{rung}_{name}_error", self.error(rung, name))
            metrics[f"{rung}_without_rhythm"] = float(np.isnan(self.measured(rung, "rate")).mean())
        metrics["exact_rate"] = _mean_of(self.true["rate"])
        return metrics

    def _report(self, name: str, metrics: dict[str, float], part: slice) -> Report:
        n = int(self.asked[:, :, part].size)
        notes = tuple(self._notes(part))
        return Report(name, metrics, n, self.settings, self.instruments, notes)

    def _notes(self, part: slice) -> Iterator[str]:
        if len(self.asked) < FEW:
            yield (
                f"{self.plan.hearts} hearts: the intervals resample hearts and are too narrow for "
                f"fewer than {FEW}."
            )
        rates = self.measured("generated", "rate")[:, :, part]
        silent = int(np.isnan(rates).sum())
        if silent:
            yield (
                f"no rhythm is found in {silent} of {rates.size} generated videos: they are left "
                "out of timing, of the volume curve and of what is compared in phase."
            )


def examine(
    engine: Engine,
    plan: TruthPlan,
    tell: Tell = lambda done, total: None,
    kept: Kept | None = None,
) -> Findings:
    """Asks every question of the plan and scores every answer, behind those that are `kept`."""
    results = kept.read() if kept else []
    for case in cases(plan, engine.frames, engine.fps, len(results)):
        tell(len(results), len(plan))
        result = _result(engine, case, plan)
        if kept:
            kept.add(len(results), result)
        results.append(result)
    tell(len(results), len(plan))
    shape = (plan.hearts, len(plan.views), 1 + len(plan.efs))
    return Findings(
        plan=plan,
        fps=engine.fps,
        asked=np.reshape([result.asked for result in results], shape),
        scores={rung: _table([result.scores[rung] for result in results], shape) for rung in RUNGS},
        true=_table([result.true for result in results], shape),
        shown=tuple(result.shown for result in results if result.shown),
        settings=settings(engine, plan),
        instruments=instruments(engine),
    )


def _result(engine: Engine, case: Case, plan: TruthPlan) -> Result:
    """Every answer to one question."""
    true = Beating.of(case.truth.truth.mask[1:], case.view, engine.fps)
    scores, shown = {}, None
    for rung, answer in RUNGS.items():
        video = answer(engine, case, plan)
        found = Beating.of(engine.finder(video, case.truth.truth.mask[0]), case.view, engine.fps)
        scores[rung] = asdict(score(engine, case, video, found, true))
        if rung == "generated" and case.heart == 0:
            curves = found.volumes, true.volumes
            shown = Shown(case.heart, case.view, case.asked, case.own, video, case.video, *curves)
    return Result(case.asked, scores, _exact(true), shown)


def _exact(true: Beating) -> dict[str, float]:
    """What the exact masks say of the true video."""
    beat, nan = true.rhythm, float("nan")
    return {
        "ef_mask": true.ef,
        "rate": beat.rate if beat else nan,
        "systole": 1000 * beat.systole if beat else nan,
        "start": -1000 * beat.ed if beat else nan,
    }


def _table(rows: Sequence[Mapping[str, float]], shape: tuple[int, ...]) -> dict[str, Values]:
    """Rows of numbers by name -> arrays of a shape by name."""
    return {name: np.reshape([row[name] for row in rows], shape) for name in rows[0]}


def settings(engine: Engine, plan: TruthPlan) -> dict[str, object]:
    """What the numbers depend on besides the weights."""
    motion = {f"motion_{k}": v for k, v in asdict(plan.motion or engine.motion).items()}
    interval = {"level": 90, "of": "hearts"}
    clip = {"frames": engine.frames, "fps": engine.fps, "size": [SIZE, SIZE]}
    return {**plan.settings(), **clip, **motion, "interval": interval}


def instruments(engine: Engine) -> dict[str, str]:
    """The first digits of the hashes of the networks that measure: EF, cavity, identity."""
    nets: dict[str, object] = {}
    if isinstance(engine.regressor, Regressor):
        nets["regressor"] = engine.regressor.net
    if isinstance(engine.finder, Segmenter):
        nets["finder"] = engine.finder.net
    if isinstance(engine.privacy, PrivacyFilter | PrivacyByView):
        for view, judge in filters_of(engine.privacy).items():
            nets[f"reid, {view.name}"] = getattr(judge.embed, "__self__", judge.embed)
    modules = {name: net for name, net in nets.items() if isinstance(net, nn.Module)}
    return {name: sha256_of(net)[:16] for name, net in modules.items()}


def _mean(name: str, values: Values) -> dict[str, float]:
    """The mean of what is known of (hearts, ...), with its interval from resampled hearts."""
    return _with_interval(name, len(values), lambda index: _mean_of(values[index]))


def _mean_of(values: Values) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _spread(values: Values) -> float:
    known = values[np.isfinite(values)]
    return float(known.std()) if known.size else float("nan")


def _followed(name: str, asked: Values, measured: Values) -> dict[str, float]:
    """R2, MAE, slope and bias of what is known, with intervals from resampled hearts."""
    statistics: Mapping[str, Callable[[Values, Values], float]] = {
        "r2": r2,
        "mae": mae,
        "slope": slope,
        "bias": lambda y, y_hat: float(np.mean(y_hat - y)),
    }
    metrics: dict[str, float] = {}
    for key, statistic in statistics.items():

        def value(index: Indices, statistic: Callable = statistic) -> float:
            y, y_hat = asked[index], measured[index]
            known = np.isfinite(y_hat)
            return statistic(y[known], y_hat[known]) if known.any() else float("nan")

        metrics |= _with_interval(f"{name}_{key}", len(asked), value)
    return metrics


def _with_interval(name: str, hearts: int, value: Callable[[Indices], float]) -> dict[str, float]:
    low, high = bootstrapped(value, hearts, RESAMPLES)
    return {name: value(np.arange(hearts)), f"{name}_low": low, f"{name}_high": high}
