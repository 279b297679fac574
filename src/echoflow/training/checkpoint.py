"""Checkpoints that are complete or absent, and the averaged weights (EMA) they carry.

All randomness of a run follows from (seed, step), so networks, averages, optimisers and the step
are the whole state: nothing else has to be saved to go on bit for bit. A checkpoint is written
under a hidden name, synced, renamed, read back and compared with its checksum; only then are older
ones removed, so that a whole one is there at every moment.
"""

from __future__ import annotations

import copy
import errno
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from echoflow.files import new_folder, sha256
from echoflow.types import InputError

STATE, SUM = "state.pt", "state.sha256"
KEEP = 2
SCARCE = 2**24  # bytes free on a disk that is as good as full


class Averaged(Protocol):
    """An average of a network."""

    net: nn.Module


class Average:
    """Exponential moving average of a network's parameters and buffers.

    The decay warms up as (1 + n) / (10 + n), so that short runs are averaged too.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards the current weights of `net` after `step` updates."""
        weight = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), weight)
        for mine, theirs in zip(self.net.buffers(), net.buffers(), strict=True):
            mine.copy_(theirs)


def write(
    run: Path,
    step: int,
    nets: Mapping[str, nn.Module],
    averages: Mapping[str, Averaged],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> Path:
    """Write `checkpoint-<step>` in the run folder and forget all but the newest `KEEP`."""
    target = run / f"checkpoint-{step:07d}"
    state = {
        "step": step,
        "nets": {name: net.state_dict() for name, net in nets.items()},
        "averages": {name: average.net.state_dict() for name, average in averages.items()},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
    }
    if target.exists():  # damaged, or it would have been resumed from
        shutil.rmtree(target)
    with new_folder(target) as work:
        _save(state, work / STATE)
        (work / SUM).write_text(f"{sha256(work / STATE)}  {STATE}\n")
    if not is_whole(target):
        raise InputError(f"{target} reads back with other bytes than were written; check the disk.")
    for old in checkpoints(run)[:-KEEP]:
        shutil.rmtree(old)
    return target


def _save(state: Mapping[str, Any], path: Path) -> None:
    """torch.save, which does not say that the disk is full; then `OSError` does."""
    try:
        torch.save(state, path)
    except RuntimeError as error:
        if shutil.disk_usage(path.parent).free < SCARCE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def is_whole(folder: Path) -> bool:
    """Whether the state has its checksum; one written before there were any counts as whole."""
    if not (folder / SUM).is_file():
        return (folder / STATE).is_file()
    try:
        return (folder / SUM).read_text().split()[:1] == [sha256(folder / STATE)]
    except OSError:
        return False


def newest(run: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are passed over."""
    return next((path for path in reversed(checkpoints(run)) if is_whole(path)), None)


def read(
    folder: Path,
    nets: Mapping[str, nn.Module],
    averages: Mapping[str, Averaged],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> int:
    """Put the state of a checkpoint back; returns the step to go on from."""
    try:
        state: dict[str, Any] = torch.load(
            folder / STATE, weights_only=True, map_location="cpu", mmap=False
        )
        for name, net in nets.items():
            net.load_state_dict(state["nets"][name])
        for name, average in averages.items():
            average.net.load_state_dict(state["averages"][name])
        for name, optimiser in optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
    except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{folder} does not fit this recipe or is damaged ({str(error).splitlines()[0]}); "
            "resume with the recipe that wrote it, or remove the folder."
        ) from error
    return int(state["step"])


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run folder, oldest first."""
    found = [p for p in run.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name)]
    return sorted(p for p in found if (p / STATE).is_file())
