"""EchoFlow's Table 7, what is in a dataset, and Table 5, what the privacy filter throws away."""

from __future__ import annotations

from functools import partial

import numpy as np

from echoflow.distances import fingerprint_of
from echoflow.metrics.intervals import bootstrapped
from echoflow.metrics.report import Report
from echoflow.reproduce.job import Job
from echoflow.synthesis import DatasetPlan, accepted, phantom_masks
from echoflow.types import Split, View

COUNTED = ("train", "val", "test", "frames")
FILTERED = ("tau", "rejection_percent")
HEARTS = 96


def counted(job: Job) -> dict[str, Report]:
    """Videos by split and their mean number of frames."""
    records = job.source.records
    metrics = {split.value.lower(): float(len(job.source.of(split))) for split in Split}
    metrics["frames"] = float(np.mean([record.frames for record in records]))
    rates = sorted({round(record.fps, 2) for record in records})
    settings = {"views": [view.name for view in job.views], "fps": rates}
    prints = {"dataset": fingerprint_of(job.source)}
    return {"videos": Report("videos", metrics, len(records), settings, prints)}


def filtered(job: Job) -> dict[str, Report]:
    """The threshold of every view, and the share of generated hearts that it rejects.

    The paper's row is that of the job's view; with several views each has its own.
    """
    return {
        _row(job, view): job.kept(_row(job, view), partial(_rate, job, view)) for view in job.views
    }


def _row(job: Job, view: View) -> str:
    return "filter" if len(job.views) == 1 else f"filter, {view.name}"


def _rate(job: Job, view: View) -> Report:
    """Candidates that a dataset of `n` hearts needs; none of them is animated."""
    n, rejected = job.n or HEARTS, 0
    plan = DatasetPlan(n=n, views=(view,), seed=job.seed, anatomy=job.engine.anatomy)
    masks = phantom_masks(untraced=job.engine.untraced)
    for part in plan.parts():
        rejected += len(accepted(job.engine, plan, part, masks)[1])
        job.tell(f"hearts, {view.name}", part.stop, n)
    verdicts = np.repeat([100.0, 0.0], [rejected, n])
    low, high = bootstrapped(lambda i: float(verdicts[i].mean()), len(verdicts), seed=job.seed)
    taus = job.engine.privacy.thresholds()
    metrics = {
        "tau": float(taus.get(view.name, next(iter(taus.values())))),
        "rejection_percent": float(verdicts.mean()),
        "rejection_percent_low": low,
        "rejection_percent_high": high,
    }
    settings = {"view": view.name, "hearts": n, "rejected": rejected, "seed": job.seed}
    settings["gallery"] = len(job.engine.privacy.gallery)
    return Report(_row(job, view), metrics, len(verdicts), settings, {"weights": job.fingerprint})
