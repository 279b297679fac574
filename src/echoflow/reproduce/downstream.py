"""EchoFlow's Table 8: is a regressor that saw synthetic videos only as good as one of real ones?

Four training sets of equal size: the real videos, the same through the A-VAE, and videos of
generated hearts, with and without the privacy filter. The test set is real in every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from echoflow.data.manifest import FILE_LIST, Manifest
from echoflow.data.sources import open_source
from echoflow.distances import fingerprint_of
from echoflow.latents import LatentSpace
from echoflow.metrics.report import Report
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.rows import ROWS
from echoflow.pipeline import unmeasured
from echoflow.privacy import Privacy, Verdict
from echoflow.reproduce.job import Job
from echoflow.reproduce.rebuilt import rebuilt
from echoflow.reproduce.trainings import METRICS as SCORES
from echoflow.reproduce.trainings import gaps, predictions, recipe_of, scored, tested
from echoflow.synthesis import DatasetPlan, Origin, synthesise
from echoflow.types import InputError, Split, View

METRICS = (*SCORES, *(f"gap_{name}" for name in SCORES))
REAL = "Real"
UNFILTERED, FILTERED = "EchoFlow, unfiltered", "EchoFlow, filtered"
CAVEATS = (
    "synthetic videos are not independent of real ones: their EF labels come from a regressor that "
    "was trained on real videos, and trainings are watched on the real VAL split (which chooses "
    "the weights where engine.keep is best)",
    "gap_ is a row less the real one, on the same test videos; an interval that holds zero leaves "
    "the question open, parity is one within a margin named beforehand",
)


@dataclass(frozen=True)
class Unfiltered:
    """The verdicts of a filter, with every anatomy let through: a comparison, never a release."""

    privacy: Privacy

    @property
    def gallery(self):
        """That of the filter."""
        return self.privacy.gallery

    def thresholds(self):
        """Those of the filter."""
        return self.privacy.thresholds()

    def verdicts(self, z: Tensor, views: Sequence[View] | None = None) -> list[Verdict]:
        """Similarity and nearest patient as the filter finds them, all accepted."""
        return [replace(one, accepted=True) for one in self.privacy.verdicts(z, views)]


def downstream(job: Job) -> dict[str, Report]:
    """R2, MAE and RMSE on the real test set by training set, and the gap to the real row."""
    recipe_of(job)  # refuses at once what would end a long run
    tested(job)
    if job.engine.regressor is unmeasured:
        raise InputError(f"{job.weights} have no EF regressor to label synthetic videos with.")
    sets: dict[str, Callable[[Job], Manifest]] = {
        REAL: lambda job: job.real,
        rebuilt_row(job.engine.space): _rebuilt,
        UNFILTERED: partial(_synthetic, filtered=False),
        FILTERED: partial(_synthetic, filtered=True),
    }
    return {row: job.kept(row, partial(_row, job, row, make)) for row, make in sets.items()}


def rebuilt_row(space: LatentSpace) -> str:
    """The row of reconstructions, by the A-VAE of the weights."""
    fields = space.avae.config
    own = fields["latent_channels"], tuple(fields["block_out_channels"])
    known = {(c.channels, c.widths): n for n, c in ROWS.items() if isinstance(c, AVAEConfig)}
    return f"Reconstructed, {known.get(own, 'A-VAE of the weights')}"


def _row(job: Job, row: str, make: Callable[[Job], Manifest]) -> Report:
    test, true = tested(job)
    data = make(job)
    synthetic = row in (UNFILTERED, FILTERED)
    found = predictions(job, row, [data.root], test, synthetic)
    metrics = scored(true, found, job.seed)
    if row != REAL:
        real = predictions(job, REAL, [job.real.root], test, False)
        metrics |= gaps(true, found, real, job.seed)
    train = data.of(Split.TRAIN)
    settings = {
        **training_settings(job, test),
        "training_videos": len(train),
        "frames": sorted({record.frames for record in train}),
        "fps": sorted({round(record.fps, 2) for record in train}),
    }
    prints = {"dataset": fingerprint_of(data), "weights": job.fingerprint}
    return Report(row, metrics, len(true), settings, prints, CAVEATS)


def training_settings(job: Job, test: Manifest) -> dict[str, object]:
    """What all rows of a training study share."""
    return {
        "recipe": job.recipe,
        "changed": list(job.settings),
        "trainings": job.seeds,
        "seed": job.seed,
        "split": Split.TEST.value,
        "test": fingerprint_of(test),
        "interval": {"level": 90, "of": "trainings and test videos"},
        "views": [view.name for view in job.views],
    }


def _rebuilt(job: Job) -> Manifest:
    """The real training videos through the A-VAE of the weights."""
    tell = partial(job.tell, "reconstructions")
    return rebuilt(job.real, job.real.of(Split.TRAIN), job.engine.space, job.out / "rebuilt", tell)


def _synthetic(job: Job, filtered: bool) -> Manifest:
    """As many training videos as there are real ones, with EFs as those have."""
    folder: Path = job.out / ("filtered" if filtered else "unfiltered")
    if (folder / FILE_LIST).is_file():
        return open_source(folder)
    engine = job.engine if filtered else replace(job.engine, privacy=Unfiltered(job.engine.privacy))
    n = job.n or len(job.of(Split.TRAIN))
    training = ((Split.TRAIN, 1.0),)
    plan = DatasetPlan(n=n, views=job.views, ef=job.efs, seed=job.seed, splits=training)
    tell = partial(job.tell, folder.name)
    with torch.no_grad():
        return synthesise(engine, plan, folder, progress=tell, origin=Origin.of(job.weights))
