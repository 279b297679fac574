"""A plan in, a folder out: the layout of EchoNet-Dynamic with further columns and files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from echoflow.data.manifest import Manifest, video_path
from echoflow.data.masks import area, mask_tracing
from echoflow.data.video import write_video
from echoflow.files import new_folder
from echoflow.metrics.cavity import end_systole
from echoflow.synthesis.datacard import facts, readme
from echoflow.synthesis.dropin import check
from echoflow.synthesis.masks import MaskSource, phantom_masks
from echoflow.synthesis.origin import Origin
from echoflow.synthesis.plan import DatasetPlan
from echoflow.synthesis.samples import Anatomy, Engine, Sample, generate
from echoflow.synthesis.tables import columns, write_parquet, write_rejections
from echoflow.types import Clip, Record

Progress = Callable[[int, int], None]
"""(videos done, videos in all)."""


def synthesise(
    engine: Engine,
    plan: DatasetPlan,
    out: str | Path,
    masks: MaskSource | None = None,
    progress: Progress = lambda done, total: None,
    origin: Origin | None = None,
) -> Manifest:
    """Writes the dataset of a plan to the new folder `out`, which appears only when it is whole.

    Whole means that both tools of `dropin` read it as it was meant. `masks` defaults to phantom
    patients that no model was trained on; `origin` is what the card says of the weights.
    `InputError`: the folder is taken, the disk is full, the filter rejects `plan.patience`
    candidates in a row, or a tool would read something else.
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
            found = engine.finder(sample.video, sample.anatomy.mask)
            tracings[record.uid] = traced(found, sample.anatomy.mask)
            extras[record.uid] = columns(sample, bool(found.any()))
            records.append(record)
            progress(len(records), plan.n)
        made = Manifest(work, tuple(records), extras, tracings)
        _finish(made, engine, plan, rejected, origin or Origin())
    return replace(made, root=Path(out))


def _finish(
    made: Manifest, engine: Engine, plan: DatasetPlan, rejected: list[Anatomy], origin: Origin
) -> None:
    """The tables, then the check of the whole folder, then the card that tells its result."""
    made.write()
    write_parquet(made)
    write_rejections(made.root, rejected)
    read = check(made)
    read.refuse()
    told = facts(made, engine, plan, rejected, read, origin)
    (made.root / "dataset.json").write_text(json.dumps(told, indent=2) + "\n")
    (made.root / "README.md").write_text(readme(told))


def traced(found: np.ndarray, mask: np.ndarray) -> dict[int, np.ndarray]:
    """Tracings (21, 4) of end-diastole and end-systole: the largest and smallest cavity (t, h, w).

    They follow the cavity that was found; the asked mask (h, w) stands in where none was, in the
    first and the last frame. The layout wants two frames also of a heart that does not beat.
    """
    areas = area(found)
    if not areas.any():
        return dict.fromkeys((0, len(found) - 1), mask_tracing(mask))
    ed, es = int(areas.argmax()), end_systole(found)
    if areas[ed] == areas[es]:
        es = 0 if ed else len(found) - 1
    return {n: mask_tracing(found[n] if areas[n] else found[ed]) for n in (ed, es)}


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
