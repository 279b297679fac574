"""The quickstart itself: make, measure, tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from echoflow.evaluation import Sweep, sweep
from echoflow.files import new_folder
from echoflow.metrics.page import to_html, to_markdown
from echoflow.quickstart.evidence import Made, Studio, measure
from echoflow.quickstart.story import Run, page, pictures
from echoflow.synthesis import (
    Anatomy,
    DatasetPlan,
    Origin,
    Progress,
    accepted,
    phantom_masks,
    sample_seed,
    synthesise,
)
from echoflow.types import InputError

Say = Callable[[str], None]

EFS = (15.0, 30.0, 45.0, 60.0, 75.0)
SWEEP = 3  # a stream of seeds that the dataset does not use


def quickstart(
    out: str | Path,
    say: Say = lambda line: None,
    progress: Progress = lambda done, total: None,
    weights: str = "nano",
    plan: DatasetPlan | None = None,
) -> Path:
    """Writes everything to the new folder `out` and returns the page, `out/report.html`."""
    from echoflow.pipeline import load, unmeasured

    with _timed("loading", clock := {}):
        studio = load(weights)
    if studio.regressor is unmeasured:
        raise InputError(
            f"{weights} has no EF regressor, and quickstart measures the EF of every video; "
            "write a dataset with `echoflow synthesise --weights` instead."
        )
    origin = Origin.of(weights)
    return tell(studio, out, say, progress, weights, plan or DatasetPlan(), clock, origin)


def tell(
    studio: Studio,
    out: str | Path,
    say: Say,
    progress: Progress,
    weights: str,
    plan: DatasetPlan,
    clock: dict[str, float],
    origin: Origin | None = None,
) -> Path:
    """`quickstart` with a pipeline that is already there."""
    with new_folder(out) as work:
        say(f"Making {plan.n} videos ...")
        with _timed("dataset", clock):
            synthesise(studio, plan, work / "dataset", progress=progress, origin=origin)
        say("Sweeping the EF of one heart per view ...")
        with _timed("sweep", clock):
            hearts, swept = sweep_hearts(studio, plan)
        say("Measuring ...")
        with _timed("measuring", clock):
            found = measure(studio, Made.read(work / "dataset"), hearts, swept)
        with _timed("pictures", clock):
            images = pictures(found)
        for name, data in images.items():
            (work / name).write_bytes(data)
        content = page(found, images, Run(weights, clock))
        (work / "report.html").write_text(to_html(content), encoding="utf-8")
        (work / "report.md").write_text(to_markdown(content), encoding="utf-8")
        reports = [json.loads(report.to_json()) for report in found.reports()]
        (work / "report.json").write_text(json.dumps(reports, indent=2) + "\n")
    done = Path(out) / "report.html"
    say(
        f"Done in {sum(clock.values()):.0f} s. Open {done} in a browser, or read "
        f"{done.with_suffix('.md')}; the dataset is in {Path(out) / 'dataset'}."
    )
    return done


def sweep_hearts(studio: Studio, plan: DatasetPlan) -> tuple[list[Anatomy], Sweep]:
    """The first heart of every view of the dataset, at every EF of `EFS`."""
    hearts = accepted(studio, plan, range(len(plan.views)), phantom_masks())[0]
    seeds = [sample_seed(plan.seed, SWEEP, heart.index) for heart in hearts]
    z, views = torch.stack([heart.z for heart in hearts]), [heart.view for heart in hearts]
    swept = sweep(studio, z, EFS, seeds, plan.motion, views)
    return hearts, swept


@contextmanager
def _timed(name: str, clock: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    clock[name] = time.perf_counter() - start
