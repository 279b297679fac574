"""Videos of EFs that are missing, by a cascade of EchoDiffusion from frames of real videos."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
from echoflow.types import InputError, Record

PASSED = "PassedOver"


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

    Each begins from a frame of one of `records`, drawn at random; for one that cannot be read
    another is drawn, and the column `PassedOver` counts those. The column `EF` is empty, since
    nobody has measured it. Whatever stops this, the same call goes on behind the videos that are
    there. `InputError`: none of the records can be read.
    """
    if (out / FILE_LIST).is_file():
        return open_source(out)
    work = out.with_name(f".{out.name}.part")
    work.mkdir(parents=True, exist_ok=True)
    sweep(work)
    subject = Subject.of(cascade)
    stills = _Stills(PixelClips(source, tuple(records), subject.window, frame, 1))
    made, extras = list[Record](), dict[str, dict[str, str]]()
    for number, ef in enumerate(efs):
        rng = np.random.default_rng([seed, number])
        uid = f"filled_{number:06d}"
        record, still, over = stills.drawn(rng)
        target = work / video_path(uid)
        if not target.is_file():
            seeds = [int(rng.integers(2**62))]
            (video,) = subject.animate(still, torch.tensor([ef]), seeds)
            write_video(target, video.numpy(), subject.fps)
        made.append(made_of(record, uid, work, None))
        extras[uid] = {"BaseName": record.uid, ASKED: f"{ef:g}", PASSED: str(over)}
        tell(number + 1, len(efs))
    Manifest(work, tuple(made), extras).write()
    publish(work, out)
    return Manifest(out, tuple(made), extras)


@dataclass(frozen=True)
class _Stills:
    """Frames of random recordings; `unread` are those that are known not to be readable."""

    clips: PixelClips
    unread: set[str] = field(default_factory=set[str])

    def drawn(self, rng: np.random.Generator) -> tuple[Record, Tensor, int]:
        """A recording, a frame of it uint8 (1, h, w), and how many draws were passed over."""
        records, over = self.clips.records, 0
        while True:
            record = records[int(rng.integers(len(records)))]
            if record.uid not in self.unread:
                try:
                    return record, torch.from_numpy(self.clips.example(record, rng)[1])[None], over
                except InputError as error:
                    self._pass(record, error)
            over += 1

    def _pass(self, record: Record, error: InputError) -> None:
        self.unread.add(record.uid)
        uids = {one.uid for one in self.clips.records}
        if self.unread == uids:
            raise InputError(f"none of the {len(uids)} videos can be read: {error}") from error
        warnings.warn(f"{record.uid} is passed over: {error}", stacklevel=4)
