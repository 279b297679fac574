"""A plan in, a folder out: the layout of EchoNet-Dynamic with further columns and files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from echoflow.data.claims import claimed
from echoflow.data.manifest import FILE_LIST, Manifest, video_path
from echoflow.data.masks import area, mask_tracing
from echoflow.data.video import write_video
from echoflow.files import atomic_file, disk_full, is_full, new_folder
from echoflow.metrics.cavity import cavity, end_systole
from echoflow.synthesis import parts
from echoflow.synthesis.datacard import facts, readme
from echoflow.synthesis.dropin import check
from echoflow.synthesis.fingerprint import fingerprint
from echoflow.synthesis.masks import MaskSource, phantom_masks
from echoflow.synthesis.origin import Origin
from echoflow.synthesis.parts import Row
from echoflow.synthesis.plan import DatasetPlan
from echoflow.synthesis.samples import Engine, Sample, part_of
from echoflow.synthesis.tables import columns, rejection, write_parquet, write_rejections
from echoflow.types import Clip, InputError, Record

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

    Whole means that both tools of `dropin` read it as it was meant. Whatever stops this before, the
    same call goes on behind what is finished, and several processes share the work; see `parts`.
    `masks` defaults to phantom patients that no model was trained on; `origin` is what the card
    says of the weights.
    `InputError`: the folder is taken, or begun with another plan or other weights, the disk is
    full, the filter rejects `plan.patience` candidates in a row, or a tool would read something
    else.
    """
    plan = replace(
        plan, anatomy=plan.anatomy or engine.anatomy, motion=plan.motion or engine.motion
    )
    job = _Job(engine, plan, masks or phantom_masks(untraced=engine.untraced), origin or Origin())
    target = Path(out).expanduser().resolve()
    missing = [folder for folder in target.parents if not folder.exists()]
    work = parts.hidden(target)
    try:
        parts.begin(target, out, fingerprint(job.engine, job.plan, job.masks, job.origin))
        if not parts.is_published(work, target):
            _fill(job, work, progress)
        made = _finish(job, work, target)
    except BaseException as error:
        parts.remove_if_empty(work)
        for folder in missing:
            with suppress(OSError):  # there is something in it
                folder.rmdir()
        if is_full(error):
            raise disk_full(out, target, _left(out)) from error
        raise
    return replace(made, root=Path(out))


@dataclass(frozen=True)
class _Job:
    engine: Engine
    plan: DatasetPlan
    masks: MaskSource
    origin: Origin


def _fill(job: _Job, work: Path, progress: Progress) -> None:
    """Makes the parts that are not there, those that no other process is making first."""
    cut, n = job.plan.parts(), job.plan.n
    folders = [parts.part_folder(work, number) for number in range(len(cut))]
    there = {number for number, folder in enumerate(folders) if parts.is_whole(folder)}
    done = sum(len(cut[number]) for number in there)
    if done:
        progress(done, n)
    for wait in (False, True):
        for number in sorted(set(range(len(cut))) - there):
            with claimed(folders[number].with_suffix(".lock"), wait) as mine:
                if not mine:
                    continue
                if not parts.is_whole(folders[number]):
                    moved = partial(_tell, progress, done, n)
                    _write_part(job, cut[number], folders[number], moved)
                there.add(number)
                done += len(cut[number])


def _tell(progress: Progress, before: int, n: int, done: int) -> None:
    progress(before + done, n)


def _write_part(job: _Job, part: range, folder: Path, progress: Callable[[int], None]) -> None:
    """The samples of a part, with their files, tracings and rows; it is there whole, or not."""
    for left in folder.parent.glob(f".{folder.name}.*.part"):  # of a killed process
        shutil.rmtree(left)
    samples, rejected = part_of(job.engine, job.plan, part, job.masks)
    rows: list[Row] = []
    with new_folder(folder) as work:
        for sample in samples:
            record = _write_sample(sample, job.engine.fps, work)
            found = _found(job.engine, sample)
            tracings = traced(found, sample.anatomy.mask if found.any() else _stand_in(sample))
            rows.append(Row(record, columns(sample, bool(found.any())), tracings))
            progress(len(rows))
        parts.write_rows(work, rows, [rejection(one) for one in rejected])


def _finish(job: _Job, work: Path, target: Path) -> Manifest:
    """The dataset from its parts; it gets its name from the first process that comes here."""
    with claimed(work / parts.FINISH, wait=True) as mine:
        if mine and not parts.is_published(work, target):
            made, rejected = parts.gather(work, len(job.plan.parts()))
            _tables(made, rejected)
            read = check(made)
            if read.faults:
                parts.remove(work)  # the same samples would be refused again
            read.refuse()
            _card(made, facts(made, job.engine, job.plan, len(rejected), read, job.origin))
            parts.give_name(work, target)
            return made
        if mine:
            parts.remove(work)
    if not (target / FILE_LIST).is_file():
        raise InputError(f"another process gave up on {target}; run the same again.")
    return Manifest.read(target)


def _tables(made: Manifest, rejected: Sequence[Mapping[str, str]]) -> None:
    made.write()
    write_parquet(made)
    write_rejections(made.root, rejected)


def _card(made: Manifest, told: Mapping[str, Any]) -> None:
    """The card tells how the tools read the dataset, and is written when they have."""
    with atomic_file(made.root / "dataset.json") as file:
        file.write_text(json.dumps(told, indent=2) + "\n")
    with atomic_file(made.root / "README.md") as file:
        file.write_text(readme(told))


def _left(out: str | Path) -> str:
    """What is left on a full disk."""
    n = parts.kept(out)
    if not n:
        return "nothing was left behind"
    return f"{n} finished videos are kept, and the same call goes on behind them"


def _found(engine: Engine, sample: Sample) -> np.ndarray:
    """The cavity in every frame; nowhere for a finder that needs the mask where there is none."""
    mask = sample.anatomy.mask
    if engine.finder is cavity and not mask.any():
        return np.zeros(sample.video.shape, bool)
    return engine.finder(sample.video, mask)


def _stand_in(sample: Sample) -> np.ndarray:
    """What is traced where no cavity was found: the mask asked for, a phantom's where it is empty,
    since readers of the layout lose videos without tracings."""
    one = sample.anatomy
    return one.mask if one.mask.any() else phantom_masks()(one.view, one.seed)


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
