"""A dataset made of videos of others: linked where that is the same, written anew where not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from echoflow.data.manifest import VIDEOS, Manifest, video_path
from echoflow.data.prepare import Window, load_clip
from echoflow.data.video import write_video
from echoflow.files import new_folder
from echoflow.types import InputError, Record

Part = tuple[Manifest, Iterable[Record]]
"""A dataset, and the records of it to take: its own, or with another split or label."""

WHOLE = Window()


def gathered(
    parts: Iterable[Part], out: str | Path, tell: Callable[[int], None] = lambda done: None
) -> Manifest:
    """Writes a dataset in the layout of EchoNet-Dynamic to the new folder `out`.

    AVIs of 112 x 112 are linked (copied where the disk cannot); others are fitted into that and
    written as such. Further columns go along, tracings do not.
    `InputError`: two videos have one name, or there is none.
    """
    records: list[Record] = []
    extras: dict[str, Mapping[str, str]] = {}
    with new_folder(out) as work:
        (work / VIDEOS).mkdir()
        for manifest, chosen in parts:
            for record in chosen:
                records.append(_put(manifest, record, work))
                extras[record.uid] = manifest.extras.get(record.uid, {})
                tell(len(records))
        if not records:
            raise InputError(f"no videos to put into {out}; choose at least one.")
        Manifest(work, tuple(records), extras).write()
    return Manifest(Path(out), tuple(records), extras)


def _put(manifest: Manifest, record: Record, work: Path) -> Record:
    """The video of a record in its place under `work`, and the record that says so."""
    target = work / video_path(record.uid)
    if target.exists():
        raise InputError(f"two videos are called {record.uid}; datasets are joined by name.")
    source = manifest.video(record)
    ready = (record.height, record.width) == (WHOLE.size, WHOLE.size)
    if ready and source.suffix.lower() == ".avi" and record.uid not in manifest.backwards:
        try:
            os.link(source, target)
        except OSError:  # another disk
            shutil.copyfile(source, target)
        return replace(record, path=video_path(record.uid))
    clip = load_clip(manifest, record, WHOLE)
    write_video(target, clip.video, clip.fps)
    return Record.of(clip, video_path(record.uid))
