"""EF regressors trained on one thing and tested on another, several times, with intervals.

The test set is always real. What a training set is worth is the mean over `seeds` trainings; its
interval resamples trainings and test videos together, so it covers both kinds of chance. A gap
pairs them: training k begins with the same weights in every row. Few trainings show less spread
than there is, and their share is stretched to what Student's t allows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from echoflow.data.manifest import Manifest
from echoflow.data.prepare import Window, load_clip
from echoflow.files import atomic_file
from echoflow.judges import Regressor
from echoflow.metrics.clinical import mae, r2, rmse
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressorConfig
from echoflow.networks.trunks import R2Plus1DConfig
from echoflow.reproduce.job import Job, slug
from echoflow.training.abreast import train_all
from echoflow.training.judges import grey_of, rate_of
from echoflow.training.recipes import Recipe
from echoflow.training.recordings import period
from echoflow.training.stages import trained
from echoflow.training.table import named
from echoflow.types import InputError, Split

Values = NDArray[np.float64]

METRICS = ("r2", "mae", "rmse")
STATISTICS: Mapping[str, Callable[[Values, Values], float]] = {"r2": r2, "mae": mae, "rmse": rmse}
BOUNDS = {"r2": (None, 1.0), "mae": (0.0, None), "rmse": (0.0, None)}
RESAMPLES = 2000
ANSWERS = "test.json"
WHOLE = Window()


def predictions(
    job: Job, row: str, data: Sequence[Path], test: Manifest, synthetic: bool
) -> Values:
    """EF in percent (seeds, n) of the test videos by the regressors trained on the folders `data`.

    Runs are kept in `runs/<row>-<seed>` and gone on with; the answers lie in them, too. Those of a
    row are trained `job.at_once` at a time.
    """
    runs = [job.out / "runs" / f"{slug(row)}-{seed}" for seed in range(job.seeds)]
    unasked = [
        (recipe_on(job, data, seed, synthetic), run)
        for seed, run in enumerate(runs)
        if not (run / ANSWERS).is_file()
    ]
    train_all(unasked, job.at_once, job.tell)
    for recipe, run in unasked:
        answered = _asked(trained(recipe, run), test, job)
        with atomic_file(run / ANSWERS) as work:
            work.write_text(json.dumps(answered) + "\n")
    found = []
    for run in runs:
        answers = run / ANSWERS
        answered = json.loads(answers.read_text())
        if list(answered) != [record.uid for record in test.records]:
            raise InputError(f"{answers} is about other test videos; choose another folder.")
        found.append(list(answered.values()))
    return np.array(found, np.float64)


def recipe_of(job: Job) -> Recipe:
    """The job's recipe with its settings; `InputError` unless it trains an EF regressor."""
    recipe = named(job.recipe).changed(list(job.settings))
    if recipe.stage != "ef":
        raise InputError(f"{job.recipe} trains stage {recipe.stage}; give a recipe of stage ef.")
    return recipe


def recipe_on(job: Job, data: Sequence[Path], seed: int, synthetic: bool) -> Recipe:
    """The job's recipe for EF regression on `data`, validated on real videos."""
    recipe = recipe_of(job)
    folders = ",".join(str(folder) for folder in data)
    said = [f"data={folders}", f"held_out={job.real.root}", f"engine.seed={job.seed + seed}"]
    if recipe.ef.augment != "grain":
        said += [f"ef.by_anatomy={str(synthetic).lower()}"]
        config = zoo.config_of(recipe.model)
        assert isinstance(config, EFRegressorConfig | R2Plus1DConfig)
        rate = rate_of(recipe.changed(said)) or config.fps
        said += [f"ef.period={period(rate, config.fps)}"]
    return recipe.changed(said)


def _asked(folder: Path, test: Manifest, job: Job) -> dict[str, float]:
    """uid -> EF in percent of every test video at the network's rate: the mean over its windows."""
    net: Any = zoo.load(folder).to(job.device)
    regressor, answers = Regressor(net), {}
    for done, record in enumerate(test.records, 1):
        video = load_clip(test, record, WHOLE).video[:: period(record.fps, net.config.fps)]
        clip = torch.from_numpy(lengthened(video, net.config.frames, grey_of(net.config)))[None]
        answers[record.uid] = float(regressor(clip)[0])
        job.tell("test", done, len(test.records))
    return answers


def lengthened(video: NDArray[np.uint8], frames: int, grey: float) -> NDArray[np.uint8]:
    """A video (t, h, w) of at least `frames` frames; what is missing is `grey` in [-1, 1].

    As in training, where a recording that is too short ends so.
    """
    missing = ((0, max(0, frames - len(video))), (0, 0), (0, 0))
    level = round((grey + 1) * 127.5)
    return np.ascontiguousarray(np.pad(video, missing, constant_values=level))


def scored(true: Values, found: Values, seed: int) -> dict[str, float]:
    """`METRICS` of EFs (n,) and predictions (seeds, n): means over seeds, spread, intervals."""
    metrics: dict[str, float] = {}
    for name, statistic in STATISTICS.items():
        each = [statistic(true, one) for one in found]
        metrics[name] = float(np.mean(each))
        if len(found) > 1:
            metrics[f"{name}_std"] = float(np.std(each, ddof=1))
    return metrics | _intervals(true, {"": found}, seed)


def gaps(true: Values, found: Values, real: Values, seed: int) -> dict[str, float]:
    """`gap_<metric>`: of predictions (seeds, n), less that of the real row's, same test videos."""
    metrics = {
        f"gap_{name}": float(
            np.mean([s(true, a) for a in found]) - np.mean([s(true, b) for b in real])
        )
        for name, s in STATISTICS.items()
    }
    return metrics | _intervals(true, {"gap_": found, "less": real}, seed)


def _intervals(true: Values, sides: Mapping[str, Values], seed: int) -> dict[str, float]:
    """90 % intervals of a side, or of the first less the second, of resampled runs and videos."""
    rng = np.random.default_rng(seed)
    prefix, n = next(iter(sides)), len(true)
    drawn: dict[str, list[float]] = {name: [] for name in STATISTICS}
    count = min(map(len, sides.values()))
    reach = stretch(count)
    for _ in range(RESAMPLES):
        videos, runs = rng.integers(n, size=n), rng.integers(count, size=count)
        for name, statistic in STATISTICS.items():
            each = [
                np.array([statistic(true[videos], run[videos]) for run in found[:count]])
                for found in sides.values()
            ]
            worth = each[0] - sum(each[1:])
            away = reach * (worth[runs].mean() - worth.mean())
            drawn[name].append(float(worth.mean() + away))
    bounds = BOUNDS if len(sides) == 1 else {}
    ends = {
        name: np.clip(np.nanpercentile(values, [5, 95]), *bounds.get(name, (None, None)))
        for name, values in drawn.items()
    }
    return {
        f"{prefix}{name}{end}": float(value)
        for name, pair in ends.items()
        for end, value in zip(("_low", "_high"), pair, strict=True)
    }


def stretch(count: int, level: float = 0.9) -> float:
    """How much further than resampled means of `count` values Student's interval reaches."""
    if count < 2:
        return 1.0
    tail = (1 + level) / 2
    return float(student.ppf(tail, count - 1) / norm.ppf(tail) * np.sqrt(count / (count - 1)))


def tested(job: Job) -> tuple[Manifest, Values]:
    """The real test videos with a known EF, and those EFs (n,)."""
    records = job.of(Split.TEST, 2)
    return replace(job.source, records=records), np.array([r.ef for r in records], np.float64)
