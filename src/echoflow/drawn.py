"""The videos of draws as a dataset, one for every row of a score file, in the usual layout.

They lie in a hidden folder beside it until all are there, so that the draws may be stopped and gone
on with. `0X12_01` is the first draw of the video `0X12`: `EF_requested` is what was asked, `EF`
what was measured; view, split and patient are those of the recording.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoflow.data.manifest import Manifest, video_path
from echoflow.data.video import probe, write_video
from echoflow.draws import begun, part_of
from echoflow.evaluation import ASKED
from echoflow.files import atomic_file, publish, refuse_taken, sweep
from echoflow.types import InputError, Record

CARD = "draws.json"


@dataclass(frozen=True)
class Drawn:
    """The dataset to be in the new folder `out`, of the draws that `scores` has the rows of.

    `follows` is what its videos follow from.
    """

    out: Path
    scores: Path
    follows: Mapping[str, str]

    @property
    def work(self) -> Path:
        """Where the videos are until all are there."""
        target = self.out.expanduser().resolve()
        return target.with_name(f".{target.name}.draws")

    def all_there(self) -> bool:
        """Whether all are drawn already, and only the folder has to be finished.

        `InputError`: `out` is taken, the videos are those of other draws, or rows that are there
        lack their videos.
        """
        refuse_taken(self.out.expanduser().resolve(), self.out)
        card = self.work / CARD
        if not card.is_file():
            if begun(self.scores):
                raise InputError(
                    f"{part_of(self.scores)} has rows whose videos are gone; remove it."
                )
            return False
        if json.loads(card.read_text()) != dict(self.follows):
            raise InputError(
                f"{self.work} holds videos of other settings, weights or videos; remove it, or "
                "choose another folder."
            )
        sweep(self.work)
        return self.scores.is_file()

    def keep(self, record: Record, draw: int, video: NDArray[np.uint8], fps: float) -> None:
        """Writes the video (t, h, w) of a draw."""
        card = self.work / CARD
        if not card.is_file():
            with atomic_file(card) as file:
                file.write_text(json.dumps(dict(self.follows), indent=1) + "\n")
        write_video(self.work / video_path(_name(record.uid, draw)), video, fps)

    def finish(self, records: Sequence[Record]) -> Manifest:
        """The dataset, once the score file is finished; its rows are draws of `records`."""
        known = {record.uid: record for record in records}
        draws, made = Counter[str](), list[Record]()
        extras: dict[str, Mapping[str, str]] = {}
        with self.scores.open(newline="") as file:
            for uid, asked, measured, *_ in list(csv.reader(file))[1:]:
                draws[uid] += 1
                one = self._record(known[uid], draws[uid], float(measured))
                made.append(one)
                extras[one.uid] = {"BaseName": uid, ASKED: asked, "Draw": str(draws[uid])}
        Manifest(self.work, tuple(made), extras).write()
        publish(self.work, self.out.expanduser().resolve())
        return Manifest(self.out, tuple(made), extras)

    def _record(self, of: Record, draw: int, ef: float) -> Record:
        path = video_path(uid := _name(of.uid, draw))
        if not (self.work / path).is_file():
            raise InputError(
                f"{self.work / path} is gone, and its row is in the score file; remove both and "
                "begin anew."
            )
        return made_of(of, uid, self.work, ef)


def made_of(of: Record, uid: str, folder: Path, ef: float | None) -> Record:
    """The record of a video in `folder` made from a frame of another, with an EF in percent."""
    frames, height, width, fps = probe(folder / video_path(uid))
    sizes = {"frames": frames, "height": height, "width": width, "fps": fps}
    told = {"source": "synthetic", "ef": ef, "edv": None, "esv": None}
    return replace(of, uid=uid, path=video_path(uid), **sizes, **told)


def _name(uid: str, draw: int) -> str:
    return f"{uid}_{draw:02d}"
