"""EchoFlow's Table 1: what an A-VAE loses of recordings, before anything is generated."""

from __future__ import annotations

from functools import partial

from echoflow.distances import alike, between, extractor, seen
from echoflow.metrics.lpips import Lpips
from echoflow.metrics.report import Report
from echoflow.pairs import pairs
from echoflow.reproduce.job import Job
from echoflow.reproduce.rebuilt import rebuilt
from echoflow.reproduce.sweeps import named
from echoflow.types import InputError, Split
from echoflow.variety import NETWORKS, classifier, variety

METRICS = ("mse", "mae", "ssim", "psnr", "lpips", "fid", "fvd16", "is", "fd", "kid")
ROW = "A-VAE of the weights"


def losses(job: Job) -> dict[str, Report]:
    """The A-VAE of the weights on the test videos: pixel errors, and the distance of both sets."""
    return {ROW: job.kept(ROW, partial(_row, job))}


def _row(job: Job) -> Report:
    records = job.source.of(Split.TEST)
    if not records:
        raise InputError(f"{job.on} has no TEST videos; an A-VAE is judged on unseen ones.")
    tell = partial(job.tell, "reconstructions")
    made = rebuilt(job.source, records, job.engine.space, job.out / "rebuilt", tell)
    lpips, note = felt(job)
    tell = partial(job.tell, "pairs")
    found = pairs(made, job.real, lpips, Split.TEST, seed=job.seed, tell=tell)
    metrics, settings, notes = dict(found.metrics), dict(found.settings), [*found.notes, *note]
    for name in job.extractors:
        network = extractor(name, job.weights, job.extractor_folder)
        cut = alike(made, network)
        real = seen(job.real, network, cut, Split.TEST)
        apart = between(seen(made, network, cut), real, seed=job.seed)
        metrics |= {named(name, metric): value for metric, value in apart.metrics.items()}
        settings |= {f"{name}: {key}": value for key, value in apart.settings.items()}
        notes += apart.notes
        if name in NETWORKS:
            classes = classifier(name, job.extractor_folder)
            various = variety(made.root, classes, seed=job.seed)
            metrics |= {named(name, metric): value for metric, value in various.metrics.items()}
            settings |= {f"{name}, is: {key}": value for key, value in various.settings.items()}
            notes += various.notes
    prints = {**found.fingerprints, "weights": job.fingerprint}
    return Report(ROW, metrics, found.n, settings, prints, tuple(dict.fromkeys(notes)))


def felt(job: Job) -> tuple[Lpips | None, tuple[str, ...]]:
    """LPIPS where its network is on this machine, else the sentence that says what is missing."""
    try:
        return Lpips("vgg", job.extractor_folder, job.device), ()
    except InputError as error:
        return None, (f"without LPIPS: {error}",)
