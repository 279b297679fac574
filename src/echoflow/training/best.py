"""The networks that validated best, for protocols that choose them: best/<step>/<player>/.

A resumed run computes steps again that it had validated before: where it finds another loss, by
another device for example, the smaller one counts.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from echoflow.files import new_folder
from echoflow.networks import zoo
from echoflow.training.task import Logs

FOLDER, NOTE, LOSS = "best", "note.json", "val/loss"


def keep(run: Path, step: int, logs: Logs, nets: Mapping[str, nn.Module]) -> None:
    """Save the networks if their validation loss is below all former ones, and forget those."""
    loss, known = logs[LOSS], _known(run)
    if not math.isfinite(loss) or (known and known[0][0] <= loss):
        return
    target = run / FOLDER / f"{step:07d}"
    if target.exists():  # of this step, before the run was resumed behind it
        shutil.rmtree(target)
    with new_folder(target) as work:
        for name, net in nets.items():
            zoo.save(net, work / name)
        (work / NOTE).write_text(json.dumps({"step": step, LOSS: loss}) + "\n")
    for _, folder in known:
        if folder != target:
            shutil.rmtree(folder)


def found(run: Path, player: str) -> nn.Module | None:
    """The best network of a player; None if none was kept."""
    known = _known(run)
    return zoo.load(known[0][1] / player) if known else None


def _known(run: Path) -> list[tuple[float, Path]]:
    """(loss, folder) of all that is kept, the best first."""
    notes = (run / FOLDER).glob(f"*/{NOTE}")
    return sorted((float(json.loads(note.read_text())[LOSS]), note.parent) for note in notes)
