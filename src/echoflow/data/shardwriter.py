"""Latent folders that several processes fill, and that any of them can be stopped at.

Shards grow in a hidden folder beside the target, `.<name>.part`, which is renamed when all are
there. Whatever stops a process, running the same again goes on after the last whole shard; several
processes started on one target take the next free shard each.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from echoflow import __version__
from echoflow.data import shardfile
from echoflow.data.claims import claimed
from echoflow.data.findings import Finding, left_out
from echoflow.data.shardfile import MASK, TRACED, Notes, Row, Sums, shard_name
from echoflow.files import atomic_file
from echoflow.latents import LatentStats, Moments
from echoflow.types import InputError, Record, Split

PLAN, FINISH = "plan.json", "finish.lock"
PER_SHARD = 64  # videos: what a killed process loses at most
Progress = Callable[[int], None]
"""(videos done)."""


@dataclass(frozen=True)
class Item:
    """One video as latents. `traced` (k,) are the frames whose LV is known, `masks` (k, h, w).

    `note` is a defect that was read around.
    """

    record: Record
    moments: Moments
    traced: np.ndarray
    masks: Tensor
    sha256: str
    note: Finding | None = None


class Supply(Protocol):
    """Where latents come from: encoded now, or made elsewhere."""

    def __len__(self) -> int: ...
    @property
    def records(self) -> tuple[Record, ...]:
        """What is expected; an item may differ in frames and size."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was wrong before any of it was read."""
        ...

    def plan(self) -> dict[str, Any]:
        """What the latents depend on: another plan is another dataset."""
        ...

    def items(self, numbers: range) -> Iterator[Item | Finding]:
        """The videos of those numbers, or why they cannot be used."""
        ...


@dataclass(frozen=True)
class Encoded:
    """A finished folder, how many videos are in it, and everything that was found wrong."""

    folder: Path
    videos: int
    findings: tuple[Finding, ...]


def write_latents(
    supply: Supply,
    out: str | Path,
    per_shard: int = PER_SHARD,
    progress: Progress = lambda done: None,
    dtype: torch.dtype = torch.float16,
    scaling: LatentStats | None = None,
) -> Encoded:
    """The supply as a latent folder; what earlier or other processes have made of it is kept.

    `scaling` are statistics to normalise by, such as those of published weights, instead of the
    ones of these training videos, which are measured anyway.
    `InputError`: nothing can be read, none of it is of split TRAIN (unless there is `scaling`), or
    `out`, or what was begun of it, holds something else.
    """
    target = Path(out).expanduser().resolve()
    plan = _plan(supply, per_shard, dtype, scaling)
    if (target / shardfile.CARD).is_file() and shardfile.read_card(target).get("plan") == plan:
        return _finished(target, len(supply), progress)
    work = _begin(target, out, plan)
    shards = [range(i, min(i + per_shard, len(supply))) for i in range(0, len(supply), per_shard)]
    done = sum(len(r) for n, r in enumerate(shards) if (work / shard_name(n)).exists())
    progress(done)
    try:
        for wait in (False, True):  # first what is free, then what others have not finished
            for number, part in enumerate(shards):
                path = work / shard_name(number)
                if path.exists():
                    continue
                with claimed(path.with_suffix(".lock"), wait) as mine:
                    if mine and not path.exists():
                        told = _counted(supply.items(part), progress, done)
                        _write_shard(told, number, path, dtype)
                        done += len(part)
        _finish(work, target, supply, plan)
    except BaseException:
        _drop_if_empty(work)
        raise
    return _finished(target, len(supply), progress)


def _plan(
    supply: Supply, per_shard: int, dtype: torch.dtype, scaling: LatentStats | None
) -> dict[str, Any]:
    """What a shard's content follows from, as plain values."""
    uids = [record.uid for record in supply.records]
    if not uids:
        raise InputError("there is nothing to encode: the source has no videos.")
    names = {f"{uid}{suffix}" for uid in uids for suffix in ("", MASK, TRACED)}
    if len(names) != 3 * len(uids):
        raise InputError("two videos have one name, or one ends in .mask or .traced; rename it.")
    if scaling is None and not any(r.split == Split.TRAIN for r in supply.records):
        raise InputError("no video of split TRAIN: the latent statistics need some.")
    listing = json.dumps([asdict(record) for record in supply.records], sort_keys=True)
    settings = {
        "format": shardfile.FORMAT,
        "videos": len(uids),
        "records": hashlib.sha256(listing.encode()).hexdigest(),
        "per_shard": per_shard,
        "dtype": str(dtype).removeprefix("torch."),
        "scaling": scaling and {"mean": scaling.mean.tolist(), "std": scaling.std.tolist()},
        **supply.plan(),
    }
    return json.loads(json.dumps(settings))


def _begin(target: Path, shown: str | Path, plan: Mapping[str, Any]) -> Path:
    """The folder in which shards grow, new or that of an earlier run with the same plan."""
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"folder {shown} is not empty; choose another or remove it.")
    if target.exists() and not target.is_dir():
        raise InputError(f"{shown} is a file, not a folder; choose another name.")
    work = target.with_name(f".{target.name}.part")
    begun = _begun(work, plan)
    if begun != plan:
        changed = sorted(k for k in begun.keys() | plan.keys() if begun.get(k) != plan.get(k))
        raise InputError(
            f"{work} holds the beginning of other latents (not the same: {', '.join(changed)}); "
            "remove it, or choose another folder."
        )
    return work


def _begun(work: Path, plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the shards there follow from: `plan`, if nobody was here before.

    Once the folder only waits for its name, its card says so in place of `plan.json`.
    """
    if (work / shardfile.CARD).is_file():
        return shardfile.read_card(work)["plan"]
    path = work / PLAN
    if not path.is_file():
        with atomic_file(path) as file:
            file.write_text(json.dumps(plan, indent=1) + "\n")
    return json.loads(path.read_text())


def _counted(
    items: Iterator[Item | Finding], progress: Progress, before: int
) -> Iterator[Item | Finding]:
    for done, item in enumerate(items, before + 1):
        yield item
        progress(done)


def _write_shard(
    items: Iterator[Item | Finding], number: int, path: Path, dtype: torch.dtype
) -> None:
    for left in path.parent.glob(f".{path.stem}.*.part*"):  # of a killed process
        left.unlink()
    notes, tensors = Notes(), {}
    for item in items:
        if isinstance(item, Finding):
            notes.findings.append(item)
            continue
        notes.findings += [] if item.note is None else [item.note]
        tensors.update(_tensors(item, dtype))
        if item.record.split == Split.TRAIN:
            notes.sums.add(item.moments.mean, item.moments.std)
        notes.rows.append(Row(item.record, number, len(item.traced), item.sha256))
    shardfile.write_shard(path, tensors, notes)


def _tensors(item: Item, dtype: torch.dtype) -> dict[str, Tensor]:
    uid = item.record.uid
    moments = torch.cat([item.moments.mean, item.moments.std], dim=1).to("cpu", dtype)
    if not bool(torch.isfinite(moments).all()):
        raise InputError(
            f"the latents of {uid} are not finite as {str(dtype).removeprefix('torch.')}; are the "
            "weights of the A-VAE whole?"
        )
    tensors = {uid: moments.contiguous()}
    if len(item.traced):
        tensors[uid + MASK] = item.masks.contiguous()
    if 0 < len(item.traced) < len(moments):
        tensors[uid + TRACED] = torch.from_numpy(item.traced.astype(np.int32))
    return tensors


def _finish(work: Path, target: Path, supply: Supply, plan: Mapping[str, Any]) -> None:
    """Index, statistics and findings from the shards' own headers; then the final name."""
    with claimed(work / FINISH, wait=True) as mine:
        if not mine:  # another process has done it
            return
        total = _Total(list(supply.findings))
        shardfile.write_index(work / shardfile.INDEX, map(total.rows_of, _shards(work)))
        if not total.videos:
            shutil.rmtree(work)
            raise InputError(
                f"none of {len(supply)} videos can be read: {total.findings[-1].detail}"
            )
        card = {**total.card(plan["scaling"]), "echoflow": __version__, "plan": plan}
        shardfile.write_findings(work / shardfile.FINDINGS, total.findings)
        shardfile.write_card(work, card)
        for rest in (*work.glob("shard-*.lock"), work / PLAN):
            rest.unlink(missing_ok=True)
        os.replace(work, target)
        (target / FINISH).unlink()


@dataclass
class _Total:
    """What the shards add up to."""

    findings: list[Finding]
    sums: Sums = field(default_factory=Sums)
    videos: int = 0
    frames: int = 0
    files: Any = field(default_factory=hashlib.sha256)

    def rows_of(self, path: Path) -> list[Row]:
        """The rows of a shard, after adding it up."""
        notes = shardfile.read_notes(path)
        self.findings += notes.findings
        self.sums.merge(notes.sums)
        self.videos += len(notes.rows)
        for row in notes.rows:
            self.frames += row.record.frames
            self.files.update(f"{row.record.uid} {row.sha256}\n".encode())
        return notes.rows

    def card(self, scaling: Mapping[str, list[float]] | None) -> dict[str, Any]:
        """Statistics, counts, and one hash of all source files."""
        measured = self.sums.measured() if self.sums.n or scaling is None else None
        return {
            "format": shardfile.FORMAT,
            **(scaling or measured or {}),
            "measured": measured,
            "videos": self.videos,
            "frames": self.frames,
            "left_out": len(left_out(self.findings)),
            "files": self.files.hexdigest(),
        }


def _finished(target: Path, expected: int, progress: Progress) -> Encoded:
    progress(expected)
    findings = tuple(shardfile.read_findings(target / shardfile.FINDINGS))
    return Encoded(target, int(shardfile.read_card(target)["videos"]), findings)


def _shards(work: Path) -> list[Path]:
    return sorted(work.glob("shard-*.safetensors"))


def _drop_if_empty(work: Path) -> None:
    """Removes what was begun, unless there is a shard in it or another process is at work."""
    if not work.is_dir() or _shards(work):
        return
    for lock in work.glob("*.lock"):
        with claimed(lock) as free:
            if not free:
                return
    shutil.rmtree(work, ignore_errors=True)
