"""A plan in, a folder out: the layout of EchoNet-Dynamic with further columns and files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from echoflow.data.manifest import Manifest, video_path
from echoflow.data.masks import mask_tracing
from echoflow.data.video import write_video
from echoflow.files import new_folder
from echoflow.metrics.cavity import Finder, end_systole
from echoflow.synthesis.masks import MaskSource, phantom_masks
from echoflow.synthesis.plan import DatasetPlan
from echoflow.synthesis.samples import Anatomy, Engine, Sample, generate
from echoflow.types import Clip, Record

Progress = Callable[[int, int], None]
"""(videos done, videos in all)."""


def synthesise(
    engine: Engine,
    plan: DatasetPlan,
    out: str | Path,
    masks: MaskSource | None = None,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Writes the dataset of a plan to the new folder `out`, which appears only when it is whole.

    `masks` defaults to phantom patients that no model was trained on. `InputError`: the folder is
    taken, the disk is full, or the filter rejects `plan.patience` candidates in a row.
    """
    plan = replace(
        plan, anatomy=plan.anatomy or engine.anatomy, motion=plan.motion or engine.motion
    )
    rejected: list[Anatomy] = []
    records: list[Record] = []
    extras: dict[str, dict[str, str]] = {}
    tracings: dict[str, dict[int, np.ndarray]] = {}
    with new_folder(out) as work:
        for sample in generate(engine, plan, masks or phantom_masks(), rejected):
            record = _write_sample(sample, engine.fps, work)
            records.append(record)
            extras[record.uid] = _columns(sample)
            tracings[record.uid] = traced(sample.video, sample.anatomy.mask, engine.finder)
            progress(len(records), plan.n)
        Manifest(work, tuple(records), extras, tracings).write()
        _write_rejections(work, rejected)
        _write_card(work, engine, plan, rejected, all(r.ef is not None for r in records))
    return Manifest(Path(out), tuple(records), extras, tracings)


def traced(video: np.ndarray, mask: np.ndarray, finder: Finder) -> dict[int, np.ndarray]:
    """Tracings (21, 4) of frame 0, which is end-diastole, and of end-systole.

    They follow the cavity that can be seen; the asked mask stands in where none can. The layout
    wants two frames also of a heart that does not beat: then the second is the last one.
    """
    found = finder(video, mask)
    es = end_systole(found) or len(video) - 1
    return {frame: mask_tracing(found[frame] if found[frame].any() else mask) for frame in (0, es)}


def _write_sample(sample: Sample, fps: float, root: Path) -> Record:
    from PIL import Image

    item = sample.item
    clip = Clip(
        uid=item.name,
        video=sample.video,
        fps=fps,
        view=item.view,
        source="synthetic",
        split=item.split,
        patient=item.base,
        ef=sample.ef if math.isfinite(sample.ef) else None,
    )
    record = Record.of(clip, video_path(clip.uid))
    for folder in ("Videos", "Masks"):
        (root / folder).mkdir(exist_ok=True)
    write_video(root / record.path, clip.video, fps)
    Image.fromarray(sample.anatomy.mask.astype(np.uint8) * 255).save(
        root / "Masks" / f"{item.name}.png"
    )
    return record


def _columns(sample: Sample) -> dict[str, str]:
    """What FileList.csv says beyond the columns of the layout. EF there is the relabelled one."""
    verdict = sample.anatomy.verdict
    return {
        "BaseName": sample.item.base,
        "EF_requested": f"{sample.item.ef:g}",
        "Seed": str(sample.anatomy.seed),
        "MotionSeed": str(sample.item.seed),
        "Attempt": str(sample.anatomy.attempt),
        "ReIdScore": f"{verdict.similarity:.6f}",
        "Tau": f"{verdict.tau:.6f}",
        "NearestTraining": verdict.nearest,
        "Verdict": verdict.word,
    }


REJECTION_COLUMNS = ("BaseName", "View", "Attempt", "Seed", "ReIdScore", "Tau", "NearestTraining")


def _write_rejections(root: Path, rejected: Sequence[Anatomy]) -> None:
    with (root / "rejections.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(REJECTION_COLUMNS)
        for one in sorted(rejected, key=lambda a: (a.index, a.attempt)):
            verdict = one.verdict
            scores = f"{verdict.similarity:.6f}", f"{verdict.tau:.6f}"
            base = f"sample_{one.index:06d}"
            table.writerow([base, one.view.name, one.attempt, one.seed, *scores, verdict.nearest])


def _write_card(
    root: Path,
    engine: Engine,
    plan: DatasetPlan,
    rejected: Sequence[Anatomy],
    relabelled: bool,
) -> None:
    """dataset.json: the plan and the counts, enough to make the dataset again.

    `relabelled` is false where nobody could measure the EF: then its column is empty.
    """
    card = {
        "plan": asdict(plan) | {"views": [view.name for view in plan.views]},
        "fps": engine.fps,
        "anatomies": -(-plan.n // plan.per_anatomy),
        "rejected": len(rejected),
        "gallery": len(engine.privacy.gallery),
        "relabelled": relabelled,
    }
    (root / "dataset.json").write_text(json.dumps(card, indent=2) + "\n")
