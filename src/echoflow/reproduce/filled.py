"""Videos of EFs that are missing, by a cascade of EchoDiffusion from frames of real videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from echoflow.cascade import Cascade
from echoflow.data.manifest import FILE_LIST, Manifest, video_path
from echoflow.data.sources import open_source
from echoflow.data.video import write_video
from echoflow.drawn import made_of
from echoflow.draws import Subject
from echoflow.evaluation import ASKED
from echoflow.files import publish, sweep
from echoflow.training.cascaded import PixelClips
from echoflow.training.options import FrameFrom
from echoflow.types import Record


def filled(
    cascade: Cascade,
    source: Manifest,
    records: Sequence[Record],
    efs: Sequence[float],
    out: Path,
    seed: int,
    frame: FrameFrom = "video",
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Writes a dataset of a video for each EF (percent) to the new folder `out`.

    Each begins from a frame of one of `records`, drawn at random; the column `EF` is empty, since
    nobody has measured it. Whatever stops this, the same call goes on behind the videos that are
    there.
    """
    if (out / FILE_LIST).is_file():
        return open_source(out)
    work = out.with_name(f".{out.name}.part")
    work.mkdir(parents=True, exist_ok=True)
    sweep(work)
    subject = Subject.of(cascade)
    clips = PixelClips(source, tuple(records), subject.window, frame, 1)
    made, extras = list[Record](), dict[str, dict[str, str]]()
    for number, ef in enumerate(efs):
        rng = np.random.default_rng([seed, number])
        record, uid = records[int(rng.integers(len(records)))], f"filled_{number:06d}"
        target = work / video_path(uid)
        if not target.is_file():
            still = torch.from_numpy(clips.example(record, rng)[1])[None]
            seeds = [int(rng.integers(2**62))]
            (video,) = subject.animate(still, torch.tensor([ef]), seeds)
            write_video(target, video.numpy(), subject.fps)
        made.append(made_of(record, uid, work, None))
        extras[uid] = {"BaseName": record.uid, ASKED: f"{ef:g}"}
        tell(number + 1, len(efs))
    Manifest(work, tuple(made), extras).write()
    publish(work, out)
    return Manifest(out, tuple(made), extras)
