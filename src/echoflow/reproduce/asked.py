"""EchoDiffusion's Table 1, by a cascade or by latent weights: EF asked for against EF measured.

Rec asks for a video's own EF, Gen for one drawn between 15 and 85 %. The published rule takes the
best of three draws, and each score the draw that is best for it; beside it stands a single draw.
The published rule of a cascade has the name of the paper's row, so that both are one row.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from echoflow.cascade_files import RELEASED
from echoflow.data.prepare import Window
from echoflow.distances import fingerprint_of
from echoflow.draws import (
    EF_RANGE,
    FRAMES,
    Subject,
    Task,
    frame_of,
    measured_by,
    score,
    some,
    unread,
)
from echoflow.judges import Regressor, sha256_of
from echoflow.metrics.report import Report
from echoflow.metrics.scores import METRICS as SCORES
from echoflow.metrics.scores import report
from echoflow.reproduce.job import Job
from echoflow.reproduce.losses import felt
from echoflow.rulers import caveats, regressor_of, ruler
from echoflow.training.options import FrameFrom
from echoflow.types import InputError, Record, Split

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
        (name := _name(job, task, rule)): job.kept(name, partial(_row, job, task, rule, name))
        for task in TASKS
        for rule in RULES
        if (task, rule) != ("Gen", "real")
    }


def _name(job: Job, task: str, rule: str) -> str:
    """Of a row: that of the paper's for what it prints, also by runs called 2SCM-code."""
    if job.model is None:
        return f"ours {task}, {RULES[rule]}"
    short = re.split("[_-]", job.model)[0]
    whole = f"{short if short in RELEASED else job.model} {task}"
    return whole if rule == "published" else f"{whole}, {RULES[rule]}"


def _row(job: Job, task: str, rule: str, name: str) -> Report:
    """One rule's row of the score file of a task."""
    file = job.out / f"scores-{task.lower()}.csv"
    lpips, note = felt(job)
    records = some(job.of(Split.VAL, 2), job.n, job.seed)
    judge, regressor = _ruler(job, records)
    subject, frame = _subject(job), _frame(job)
    prints = {"weights": job.fingerprint, "regressor": sha256_of(regressor.net)[:16]}
    if not file.is_file():
        wanted = Task(DRAWS, TASKS[task], frame, job.seed)
        measure = measured_by(regressor)
        tell = partial(job.tell, f"draws, {task}")
        follows = {**prints, "lpips": str(lpips is not None)}
        given = (subject, job.source, records, wanted, measure, lpips, file, tell, follows)
        for uid, reason in score(*given).items():
            warnings.warn(f"{uid} is left out: {reason}", stacklevel=2)
    whole, _ = report(file, seed=job.seed)
    start = f"{rule}_"
    metrics = {k.removeprefix(start): v for k, v in whole.metrics.items() if k.startswith(start)}
    settings = {
        **whole.settings,
        **({} if job.model is None else {"model": job.model}),
        "split": Split.VAL.value,
        "frames": subject.window.frames,
        "fps": subject.fps,
        "size": [subject.window.size, subject.window.size],
        "frame": FRAMES[frame],
        "sampling": str(job.engine.motion if job.model is None else job.cascade.plans()),
        "lpips_sha256": lpips and lpips.sha256,
        "seed": job.seed,
    }
    prints = {**whole.fingerprints, "data": fingerprint_of(job.source), **prints}
    gone = unread(len(records), whole.n)
    notes = (*NOTES, *note, *caveats(judge, records), *whole.notes, *gone)
    return Report(name, metrics, whole.n, settings, prints, notes)


def _frame(job: Job) -> FrameFrom:
    """Where the frame is from: in latent weights the clip, in cascades as they were trained."""
    if job.gated:
        return "first"
    return "clip" if job.model is None else frame_of(job.weights, job.model)


def _subject(job: Job) -> Subject:
    """What animates a frame: the cascade, or the video model of the weights by way of a latent."""
    if job.model is not None:
        return Subject.of(job.cascade)
    engine = job.engine
    view = job.views[0] if len(job.views) == 1 else None  # a calibration has a curve for each

    def animate(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        views = None if view is None else [view] * len(seeds)
        z = engine.animate(engine.encode(stills), ef, seeds, views=views)
        return engine.decode(z).cpu()

    return Subject(animate, Window(engine.frames, engine.fps, short="black"), engine.fps)


def _ruler(job: Job, records: Sequence[Record]) -> tuple[str, Regressor]:
    """What measures the EF, and its name: what is named for it, else that of latent weights.

    `InputError`: there is none, or none that can know these videos.
    """
    if job.model is not None or job.judge is not None:
        judge = ruler(job.judge, records)
        return judge, regressor_of(judge)
    found = job.engine.regressor
    if not isinstance(found, Regressor):
        raise InputError(
            f"{job.weights} have no EF regressor to measure with; name others by --judge, or the "
            "folder of an EF network or of its training."
        )
    return job.weights, found
