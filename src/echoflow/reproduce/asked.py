"""EchoDiffusion's Table 1 for latent weights: the EF asked for against the EF measured.

Rec asks for a video's own EF, Gen for one drawn between 15 and 85 %. The published rule takes the
best of three draws, and each score the draw that is best for it; beside it stands a single draw.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from echoflow.data.prepare import Window
from echoflow.distances import fingerprint_of
from echoflow.draws import EF_RANGE, Subject, Task, measured_by, score, some, unread
from echoflow.judges import Regressor, sha256_of
from echoflow.metrics.report import Report
from echoflow.metrics.scores import METRICS as SCORES
from echoflow.metrics.scores import report
from echoflow.reproduce.job import Job
from echoflow.reproduce.losses import felt
from echoflow.rulers import caveats
from echoflow.types import InputError, Split

METRICS = SCORES
DRAWS = 3
TASKS = {"Gen": EF_RANGE, "Rec": None}
RULES = {"published": f"best of {DRAWS}", "single": "single draw", "real": "the real clips"}
NOTES = (
    f"best of {DRAWS}: R2, MAE and RMSE of the draw whose EF is nearest to the one asked for, SSIM "
    "the highest and LPIPS the lowest of its draws, as the paper has it; no clip has these scores",
)


def asked(job: Job) -> dict[str, Report]:
    """A row for each task and rule; the VAL split is asked, as in the paper."""
    return {
        f"ours {task}, {what}": job.kept(
            f"ours {task}, {what}", partial(_row, job, task, rule, what)
        )
        for task in TASKS
        for rule, what in RULES.items()
        if (task, rule) != ("Gen", "real")
    }


def _row(job: Job, task: str, rule: str, what: str) -> Report:
    """One rule's row of the score file of a task."""
    file = job.out / f"scores-{task.lower()}.csv"
    lpips, note = felt(job)
    regressor = _regressor(job)
    records = some(job.of(Split.VAL, 2), job.n, job.seed)
    if not file.is_file():
        frame = "first" if job.gated else "clip"
        wanted = Task(DRAWS, TASKS[task], frame, job.seed)
        measure = measured_by(regressor)
        tell = partial(job.tell, f"draws, {task}")
        follows = {"weights": job.fingerprint, "lpips": str(lpips is not None)}
        given = (_subject(job), job.source, records, wanted, measure, lpips, file, tell, follows)
        for uid, reason in score(*given).items():
            warnings.warn(f"{uid} is left out: {reason}", stacklevel=2)
    whole, _ = report(file, seed=job.seed)
    start = f"{rule}_"
    metrics = {k.removeprefix(start): v for k, v in whole.metrics.items() if k.startswith(start)}
    clips = job.engine.frames, job.engine.fps
    settings = {
        **whole.settings,
        "split": Split.VAL.value,
        "frames": clips[0],
        "fps": clips[1],
        "size": [112, 112],
        "frame": "first, before the clip" if job.gated else "a random one of the clip",
        "sampling": str(job.engine.motion),
        "lpips_sha256": lpips and lpips.sha256,
        "seed": job.seed,
    }
    prints = {**whole.fingerprints, "data": fingerprint_of(job.source), "weights": job.fingerprint}
    prints |= {"regressor": sha256_of(regressor.net)[:16]}
    gone = unread(len(records), whole.n)
    notes = (*NOTES, *note, *caveats(job.weights, records), *whole.notes, *gone)
    return Report(f"ours {task}, {what}", metrics, whole.n, settings, prints, notes)


def _subject(job: Job) -> Subject:
    """The video model of the weights: a frame to a latent, animated, decoded."""
    engine = job.engine
    view = job.views[0] if len(job.views) == 1 else None  # a calibration has a curve for each

    def animate(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        views = None if view is None else [view] * len(seeds)
        z = engine.animate(engine.encode(stills), ef, seeds, views=views)
        return engine.decode(z).cpu()

    return Subject(animate, Window(engine.frames, engine.fps, short="black"), engine.fps)


def _regressor(job: Job) -> Regressor:
    found = job.engine.regressor
    if not isinstance(found, Regressor):
        raise InputError(f"{job.weights} have no EF regressor to measure with.")
    return found
