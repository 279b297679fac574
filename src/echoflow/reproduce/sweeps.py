"""EchoFlow's Tables 4 and 6: what steps and guidance do to videos, with the time they cost.

Every setting makes the same dataset with other videos: the same seeds, so the same hearts, EFs and
noises. EFs are those of the real training videos, dealt to the hearts at random.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

import torch

from echoflow.data.manifest import FILE_LIST
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.distances import Seen, alike, between, extractor, seen
from echoflow.evaluation import evaluate
from echoflow.metrics.report import Report
from echoflow.reproduce.job import Job, slug
from echoflow.sampling import SamplingPlan
from echoflow.synthesis import DatasetPlan, Origin, synthesise
from echoflow.types import Split

STEPS = (5, 10, 25, 50, 100, 200, 500)
SCALES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
GUIDED_STEPS = 100
KNOWS: Mapping[str, tuple[str, ...] | None] = {
    "nothing": None,
    "anatomy": ("ef",),
    "EF": ("frame",),
}
"""What the negative branch of guidance still knows -> the fields that are null in it (Table 6)."""

VIDEOS = 48
METRICS = ("fid", "fvd16", "fd", "kid", "ef_r2", "ef_mae", "ef_slope", "flicker", "seconds")
PAPER_NAMES = {"inception": "fid", "inception-fidelity": "fid", "i3d": "fvd16", "ef": "fd"}
"""Extractor -> what a Frechet distance of its features is called."""
TIMED = 5


def by_steps(job: Job) -> dict[str, Report]:
    """Table 4: without guidance, by number of solver steps."""
    plans = {str(steps): _plan(job, steps) for steps in job.steps or STEPS}
    return _swept(job, plans)


def by_guidance(job: Job) -> dict[str, Report]:
    """Table 6: by scale and by what the negative branch still knows; a scale of 1 has no branch."""
    steps = job.steps[0] if job.steps else GUIDED_STEPS
    plans: dict[str, SamplingPlan] = {}
    for scale in job.scales or SCALES:
        if scale == 1:
            plans["1"] = _plan(job, steps)
            continue
        for knows, negative in KNOWS.items():
            plans[f"{scale:g}, {knows}"] = replace(
                _plan(job, steps), scale=scale, negative=negative
            )
    return _swept(job, plans)


def _plan(job: Job, steps: int) -> SamplingPlan:
    return SamplingPlan(steps=steps, solver=job.solver)


def _swept(job: Job, plans: Mapping[str, SamplingPlan]) -> dict[str, Report]:
    """A report for every setting; the real features are taken once."""
    eyes = _Eyes(job)
    return {row: job.kept(row, partial(_row, job, row, plan, eyes)) for row, plan in plans.items()}


class _Eyes:
    """The networks of the distances, and the real training videos as they see them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._real: dict[tuple[str, Window], Seen] = {}
        self.networks = {
            name: extractor(name, job.weights, job.extractor_folder) for name in job.extractors
        }

    def real(self, name: str, cut: Window) -> Seen:
        """The real training videos, cut so, in the eyes of a network."""
        if (name, cut) not in self._real:
            total = len(self.job.source.of(Split.TRAIN))
            self._real[name, cut] = seen(
                self.job.source,
                self.networks[name],
                cut,
                Split.TRAIN,
                lambda done: self.job.tell(f"real, {name}", done, total),
            )
        return self._real[name, cut]


def _row(job: Job, row: str, plan: SamplingPlan, eyes: _Eyes) -> Report:
    """One setting: its dataset, what it looks like, how far it is from the real one."""
    folder, n = job.out / "videos" / slug(row), job.n or VIDEOS
    if not (folder / FILE_LIST).is_file():
        made = DatasetPlan(n=n, views=job.views, ef=job.efs, seed=job.seed, motion=plan)
        tell = partial(job.tell, f"videos, {row}")
        synthesise(job.engine, made, folder, progress=tell, origin=Origin.of(job.weights))
    looks = evaluate(folder, seed=job.seed)
    metrics, settings, notes = dict(looks.metrics), dict(looks.settings), list(looks.notes)
    prints = {**looks.fingerprints, "weights": job.fingerprint}
    videos = open_source(folder)
    for name, network in eyes.networks.items():
        cut = alike(videos, network)
        apart = between(seen(videos, network, cut), eyes.real(name, cut), seed=job.seed)
        for metric, value in apart.metrics.items():
            metrics[named(name, metric)] = value
        settings |= {f"{name}: {key}": value for key, value in apart.settings.items()}
        prints["against"] = apart.fingerprints["against"]
        notes += apart.notes
    metrics |= _seconds(job, plan)
    settings |= {"sampling": asdict(plan), "device": job.device, "inference": job.inference}
    settings |= {"seconds": f"one video, median and range of {TIMED}, decoding included"}
    settings |= {"threads": torch.get_num_threads()} if job.device == "cpu" else {}
    return Report(row, metrics, looks.n, settings, prints, tuple(dict.fromkeys(notes)))


def named(network: str, metric: str) -> str:
    """`fd` and `is` by the names of the papers; all others say whose they are, but the first's."""
    start, _, rest = metric.partition("_")
    whose = PAPER_NAMES.get(network, network)
    if start == "is" and whose == "fid":
        return metric
    if start == "fd":
        return f"{whose}_{rest}" if rest else whose
    return metric if network == "ef" else f"{network} {metric}"


def _seconds(job: Job, plan: SamplingPlan) -> dict[str, float]:
    """Seconds of one video by itself, from anatomy to pixels, after one that is not counted.

    The least and the largest of five hold the median of all in 15 of 16 cases.
    """
    anatomy = job.engine.anatomies(job.views[:1], None, [job.seed])
    times = []
    for seed in range(TIMED + 1):
        start = time.perf_counter()
        z = job.engine.animate(anatomy, torch.tensor(job.efs[:1]), [seed], plan)
        job.engine.decode(z).cpu()
        times.append(time.perf_counter() - start)
    counted = times[1:]
    median, low, high = statistics.median(counted), min(counted), max(counted)
    return {"seconds": median, "seconds_low": low, "seconds_high": high}
