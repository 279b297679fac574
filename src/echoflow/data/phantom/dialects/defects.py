"""Defects planted in a finished phantom dataset, each in a patient or video of its own.

A defect edits files on disk, as life does; what it did is told in defects.json, in the words in
which a reader should find it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoflow.data.findings import Kind
from echoflow.data.phantom.sidecar import Known
from echoflow.types import InputError

DEFECT_LIST = "defects.json"
Spoil = Callable[[Path, Known], str]


@dataclass(frozen=True)
class Defect:
    """A way to spoil a dataset. `kind` is what a reader should call it, and its name if no other.

    `spoil` edits the files of one video under the root and returns the one that is to blame,
    relative to the root. `leaves_out`: the video cannot be used any more. `together`: what is
    spoilt holds for all videos that were written with it. `whole`: a text file as such is spoilt.
    """

    kind: Kind
    what: str
    spoil: Spoil
    leaves_out: bool = False
    together: bool = False
    whole: bool = False
    name: str = ""

    @property
    def called(self) -> str:
        """How a person asks for it."""
        return self.name or self.kind


@dataclass(frozen=True)
class Planted:
    """An entry of defects.json: which defect in which file, and the videos that suffer from it.

    `videos` are their files; there are none where a text file as such is spoilt. `uid` is the name
    of the video, or of the patient where all that was written of him is hurt.
    """

    kind: Kind
    path: str
    what: str
    uid: str | None
    videos: tuple[str, ...]
    leaves_out: bool


def plant(
    root: Path, known: Sequence[Sequence[Known]], defects: Sequence[Defect], seed: int
) -> tuple[Planted, ...]:
    """Spoils the dataset in `root`; the same seed plants the same defects in the same videos.

    `known` groups the videos that were written together: each defect takes another group. Defects
    of whole files come last, and need no video of their own.
    """
    single = [defect for defect in defects if not defect.whole]
    if len(known) <= len(single):
        raise InputError(
            f"{len(single)} defects need {len(single) + 1} clips, so that one is sound; there are "
            f"{len(known)}. Ask for more patients or fewer defects."
        )
    order = np.random.default_rng([seed, 14]).permutation(len(known))
    groups = [known[i] for i in order]
    pairs = [*zip(single, groups, strict=False)]
    pairs += [(defect, groups[len(single)]) for defect in defects if defect.whole]
    return tuple(_spoilt(root, defect, group) for defect, group in pairs)


def _spoilt(root: Path, defect: Defect, group: Sequence[Known]) -> Planted:
    path = defect.spoil(root, group[0])
    if defect.whole:
        return Planted(defect.kind, path, defect.what, None, (), False)
    first = group[0].record
    hurt = group if defect.together else group[:1]
    uid = first.patient if defect.together else first.uid
    videos = tuple(known.record.path for known in hurt)
    return Planted(defect.kind, path, defect.what, uid, videos, defect.leaves_out)
