"""Recorded videos through an A-VAE and back: what is lost before anything is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from echoflow.data.manifest import FILE_LIST, Manifest, video_path
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.sources import open_source
from echoflow.data.video import write_video
from echoflow.files import publish, sweep
from echoflow.latents import LatentSpace
from echoflow.types import Record

WHOLE = Window()


def rebuilt(
    source: Manifest,
    records: Sequence[Record],
    space: LatentSpace,
    out: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Writes the dataset of reconstructions (posterior means) of `records` to the new folder `out`.

    Names, splits and labels are those of the recordings. Videos grow in a hidden folder beside
    `out`; whatever stops this, the same call goes on behind those that are there.
    """
    if (out / FILE_LIST).is_file():
        return open_source(out)
    work = out.with_name(f".{out.name}.part")
    work.mkdir(parents=True, exist_ok=True)
    sweep(work)
    made = []
    for done, record in enumerate(records, 1):
        clip = load_clip(source, record, WHOLE)
        target = work / video_path(record.uid)
        if not target.is_file():
            x = to_float(torch.from_numpy(clip.video.copy()))
            z = space.draw(space.encode(x))
            write_video(target, space.decode(z).cpu().numpy(), clip.fps)
        made.append(Record.of(clip, video_path(record.uid)))
        tell(done, len(records))
    Manifest(work, tuple(made)).write()
    publish(work, out)
    return Manifest(out, tuple(made))
