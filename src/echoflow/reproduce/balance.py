"""EchoDiffusion's Table 4: do synthetic videos make up for EFs that few patients have?

EFs from 10 to 90 % fall into bins of one point. A balanced training set has the same number of
videos in every bin: real ones as far as there are, synthetic ones of that EF for the rest. Beside
it stand as many real videos drawn at random. Labels of synthetic videos are the EFs asked for, and
the test set has at most ten videos of a bin, both as in the paper. Synthetic videos are those of
latent weights, hearts included, or with a model those of a cascade, from frames of training videos
as in the paper; where it draws from a full bin
with replacement, we draw without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from echoflow.data.manifest import FILE_LIST, Manifest
from echoflow.data.sources import open_source
from echoflow.data.subset import Part, gathered
from echoflow.distances import fingerprint_of
from echoflow.evaluation import ASKED
from echoflow.metrics.report import Report
from echoflow.reproduce.downstream import training_settings
from echoflow.reproduce.filled import PASSED, filled
from echoflow.reproduce.job import Job
from echoflow.reproduce.trainings import METRICS as SCORES
from echoflow.reproduce.trainings import predictions, recipe_of, scored
from echoflow.synthesis import DatasetPlan, Origin, synthesise
from echoflow.types import InputError, Record, Split

METRICS = (*SCORES, "videos", "synthetic_percent")
SIZES = (10, 20, 50)
BINS = range(10, 89)  # the published totals are those of 79 bins
TESTED = 10  # videos of a bin in the test set
NOTES = (
    "synthetic videos are labelled with the EF that they were asked for, which a generator meets "
    "only more or less; the test set has at most 10 videos for each point of EF",
)


def balance(job: Job) -> dict[str, Report]:
    """A balanced and a real row for each size of bin."""
    if recipe_of(job).engine.keep == "best":  # refused at once, before a long run
        raise InputError(
            "this study tests on VAL and TEST together, so its trainings must not choose their "
            "weights on VAL; add the setting engine.keep=last."
        )
    if job.model is not None:
        _ = job.cascade  # what cannot be opened is refused at once, too
    _test(job)
    found: dict[str, Report] = {}
    for size in job.sizes or SIZES:
        for balanced in (True, False):
            row = f"{'balanced' if balanced else 'real'}, {size} per bin"
            found[row] = job.kept(row, partial(_row, job, row, size, balanced))
    return found


def _row(job: Job, row: str, size: int, balanced: bool) -> Report:
    test = _test(job)
    true = np.array([record.ef for record in test.records], np.float64)
    real = job.of(Split.TRAIN)
    if balanced:
        kept, missing = split_up(real, size, job.seed)
    else:
        kept, missing = _some(real, size * len(BINS), job.seed), []
    synthetic = _filled(job, size, missing)
    folders = [
        _gathered(job, f"{'balanced' if balanced else 'real'}-{size}", (job.source, kept)),
        *(_gathered(job, f"filled-{size}", part) for part in synthetic),
    ]
    found = predictions(job, row, folders, test, False)
    videos = len(kept) + len(missing)
    metrics = scored(true, found, job.seed)
    metrics |= {"videos": float(videos), "synthetic_percent": 100 * len(missing) / videos}
    settings = {**training_settings(job, test), "split": "VAL and TEST", "per_bin": size}
    settings |= {} if job.model is None else {"model": job.model}
    prints = {"dataset": fingerprint_of(open_source(folders[0])), "weights": job.fingerprint}
    notes = (*NOTES, *_short(row, size * len(BINS), videos), *_passed_over(row, synthetic))
    return Report(row, metrics, len(true), settings, prints, notes)


def _short(row: str, wanted: int, videos: int) -> tuple[str, ...]:
    short = wanted - videos
    note = f"{row}: {short} of {wanted} videos short, as there are no more real ones."
    return (note,) if short else ()


def _passed_over(row: str, parts: Sequence[Part]) -> tuple[str, ...]:
    cells = [made.extras[record.uid].get(PASSED, "0") for made, some in parts for record in some]
    over = sum(map(int, cells))
    note = f"{row}: {over} times a training video drawn for its frame was passed over, unreadable."
    return (note,) if over else ()


def _gathered(job: Job, name: str, part: Part) -> Path:
    """A folder of its own for one kind of videos, since real and synthetic ones differ in shape."""
    folder, records = job.out / name, list(part[1])
    if not (folder / FILE_LIST).is_file():
        tell = partial(_told, job, name, len(records))
        gathered([(part[0], records)], folder, tell)
    return folder


def _told(job: Job, name: str, total: int, done: int) -> None:
    job.tell(name, done, total)


def split_up(records: Sequence[Record], size: int, seed: int) -> tuple[list[Record], list[float]]:
    """At most `size` records of every bin, and the EFs that are then missing, percent."""
    rng = np.random.default_rng([seed, size])
    kept: list[Record] = []
    missing: list[float] = []
    for low, inside in _bins(records).items():
        chosen = rng.permutation(len(inside))[:size].tolist()
        kept += [inside[i] for i in chosen]
        missing += [round(float(low + rng.uniform()), 2) for _ in range(size - len(chosen))]
    return kept, missing


def _bins(records: Sequence[Record]) -> dict[int, list[Record]]:
    """The records of every bin, by its lower end."""
    found: dict[int, list[Record]] = {low: [] for low in BINS}
    for record in records:
        if record.ef is not None and int(record.ef) in found:
            found[int(record.ef)].append(record)
    return found


def _some(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    order = np.random.default_rng([seed, count]).permutation(len(records))[:count]
    return [records[i] for i in order.tolist()]


def _test(job: Job) -> Manifest:
    """VAL and TEST, at most `TESTED` of a bin."""
    there = [*job.source.of(Split.VAL), *job.source.of(Split.TEST)]
    chosen, _ = split_up(there, TESTED, job.seed)
    if len(chosen) < 2 or not any(_bins(job.of(Split.TRAIN)).values()):
        raise InputError(
            f"{job.on} has {len(chosen)} VAL and TEST videos of EF 10 to 89 %; this study needs "
            "at least 2, and one to train on."
        )
    return replace(job.source, records=tuple(chosen))


def _filled(job: Job, size: int, missing: Sequence[float]) -> list[Part]:
    """Synthetic videos of the EFs that are missing, all for training, labelled as asked."""
    if not missing:
        return []
    folder = job.out / f"filling-{size}"
    if job.model is not None:
        frame, tell = "first" if job.gated else "video", partial(job.tell, folder.name)
        given = (job.cascade, job.source, job.of(Split.TRAIN), missing, folder, job.seed)
        made = filled(*given, frame, tell)
    elif (folder / FILE_LIST).is_file():
        made = open_source(folder)
    else:
        efs = tuple(missing) if len(missing) > 2 else tuple(missing) * 3
        plan = DatasetPlan(n=len(missing), views=job.views, ef=efs, seed=job.seed)
        tell = partial(job.tell, folder.name)
        made = synthesise(job.engine, plan, folder, progress=tell, origin=Origin.of(job.weights))
    records = [
        replace(r, split=Split.TRAIN, ef=float(made.extras[r.uid][ASKED])) for r in made.records
    ]
    return [(made, records)]
