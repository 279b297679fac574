"""Phantom clips as a torch dataset: nothing touches the disk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from echoflow.condition import Condition
from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.data.pixels import to_float
from echoflow.types import Example, InputError, View


class PhantomDataset(Dataset[Example]):
    """Every patient in every view, rendered when first asked for and then kept (views run fastest).

    Items hold x (1, t, 112, 112) in [-1, 1] and the condition: EF, view, and the mask
    (1, 112, 112) of frame 0. `phase` 0 starts all clips at the R wave, None at random.
    """

    def __init__(
        self,
        patients: Sequence[PhantomPatient],
        views: Sequence[View] = (View.A4C,),
        frames: int = 64,
        fps: float = 32.0,
        quality: int = 2,
        phase: float | None = None,
    ) -> None:
        if not patients or not views:
            raise InputError("a phantom dataset needs at least one patient and one view.")
        self.patients, self.views = tuple(patients), tuple(View.parse(view) for view in views)
        self.frames, self.fps, self.quality, self.phase = frames, fps, quality, phase
        self._kept: dict[int, PhantomClip] = {}

    def __len__(self) -> int:
        return len(self.patients) * len(self.views)

    def clip(self, index: int) -> PhantomClip:
        """Clip number `index` with its truth."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside of {len(self)} clips")
        if index not in self._kept:
            patient, view = divmod(index, len(self.views))
            self._kept[index] = self.patients[patient].render(
                self.views[view], self.frames, self.fps, quality=self.quality, phase=self.phase
            )
        return self._kept[index]

    def __getitem__(self, index: int) -> Example:
        known = self.clip(index)
        cond = Condition(
            ef=torch.tensor(known.truth.ef),
            view=torch.tensor(int(known.truth.view)),
            mask=torch.from_numpy(known.truth.mask[:1]).float(),
        )
        return Example(torch.from_numpy(to_float(known.clip.video))[None], cond, known.clip.uid)
