"""EchoDiffusion's protocol (Reynaud et al. 2023, sec. 4): several draws of every video, scored.

A video gives a clip and a frame of it, both drawn anew for every draw. Asked is the EF of the video
(factual) or one drawn once for it (counterfactual); measured are the EF of the generated clip and
of the recorded one, and how alike the two look. `metrics.scores` makes the published table of it.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoflow.cascade import Cascade, Plans
from echoflow.cascade_files import find
from echoflow.data.manifest import Manifest
from echoflow.data.prepare import Window
from echoflow.data.resample import lasting, resample_time, resize
from echoflow.files import atomic_file
from echoflow.judges import Regressor
from echoflow.metrics.image import ssim
from echoflow.metrics.scores import COLUMNS, NAME
from echoflow.training import recipes
from echoflow.training.cascaded import PixelClips
from echoflow.training.folder import RECIPE
from echoflow.training.options import FrameFrom
from echoflow.types import InputError, Record, above_fractions

Animate = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Stills uint8 (b, h, w), EF (b,) in percent, seeds -> videos uint8 (b, t, h, w)."""
Measure = Callable[[NDArray[np.uint8], float], float]
"""A video uint8 (t, h, w) and its frames per second -> its EF in percent."""
Perceptual = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]
"""Pictures uint8 (t, h, w) twice -> their distances (t,)."""
Progress = Callable[[int, int], None]
Keep = Callable[[Record, int, NDArray[np.uint8], float], None]
"""What becomes of a draw: its recording, its number from 1, its video (t, h, w) and frame rate."""

EF_RANGE = (15.0, 85.0)  # of counterfactual EFs in the paper
SIDE = 112  # pixels that judges expect
FRAMES: Mapping[FrameFrom, str] = {
    "clip": "a random one of the clip",
    "video": "a random one of the video",
    "first": "first, before the clip",
}
"""Where the conditioning frame may be from, in words."""


@dataclass(frozen=True)
class Task:
    """What is asked of every video, `draws` times.

    `ef` is the range that one EF per video is drawn from, or None for the video's own. A draw
    between 0 and 1, which reads as a fraction everywhere else, counts as 1. `frame` is where the
    conditioning frame is from, see `CascadeOptions`.
    """

    draws: int = 3
    ef: tuple[float, float] | None = None
    frame: FrameFrom = "clip"
    seed: int = 0

    def asked(self, record: Record) -> float:
        """The EF that is asked for, in percent."""
        if self.ef is not None:
            return above_fractions(float(self.rng(record, 0).uniform(*self.ef)))
        if record.ef is None:
            raise InputError(
                f"video {record.uid} has no EF; ask for EFs of a range, such as 15:85."
            )
        return record.ef

    def rng(self, record: Record, stream: int) -> np.random.Generator:
        """Depends on seed, name of the video and stream alone, not on the other videos."""
        name = int.from_bytes(hashlib.blake2b(record.uid.encode(), digest_size=8).digest())
        return np.random.default_rng([self.seed, name, stream])


def frame_of(weights: str | Path, name: str | None = None) -> FrameFrom:
    """Where the conditioning frame was from when a cascade was trained: the last stage of runs says
    so in its recipe, and the published ones were shown a frame of the clip.

    `InputError`: as `cascade_files.find`.
    """
    place = find(weights, name)
    if place.published is not None:
        return "clip"
    return recipes.read(place.runs[-1] / RECIPE).cascade.frame


@dataclass(frozen=True)
class Subject:
    """What is scored: how it animates, and the clips that it is compared with."""

    animate: Animate
    window: Window
    fps: float

    @classmethod
    def of(cls, cascade: Cascade, plans: Plans = None) -> Subject:
        """A cascade, which repeats a still as often as it has colour channels."""
        _, t, h, _ = cascade.shape
        window = Window(t, cascade.fps, h, short="black", time="zoom")

        def animate(stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
            return cascade.animate(stills, ef, seeds, plans)

        return cls(animate, window, cascade.fps)


def score(
    subject: Subject,
    manifest: Manifest,
    records: Sequence[Record],
    task: Task,
    measure: Measure,
    lpips: Perceptual | None,
    out: str | Path,
    progress: Progress = lambda done, total: None,
    follows: Mapping[str, str] | None = None,
    keep: Keep | None = None,
) -> dict[str, str]:
    """Write the score file `out`, a row for every draw of every video; empty LPIPS without a
    network. Returns the videos that are left out because they cannot be read, each with the reason.

    Whatever stops it, the same call goes on behind the videos that are finished: they are kept in
    `<out>.part`, which becomes `out` at the end. `follows` names what else the rows follow from,
    such as hashes of the weights; rows of others, or of other videos, are refused. `keep` gets the
    video of every draw before its row is written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} is there already; choose another name, or remove it.")
    source = PixelClips(manifest, tuple(records), subject.window, task.frame, 1)
    told = {"task": asdict(task), "window": asdict(subject.window), **(follows or {})}
    asked = [(record.uid, task.asked(record)) for record in records]
    told["videos"] = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    part = _Part(part_of(out), json.dumps(told), task.draws)
    done, left = part.begin(), dict[str, str]()
    for number, record in enumerate(records, start=1):
        if record.uid not in done:
            try:
                drawn = [_drawn(source, record, task, k) for k in range(1, task.draws + 1)]
            except InputError as error:
                left[record.uid] = str(error)
            else:
                given = (measure, lpips, keep)
                part.add([_row(subject, record, task, one, *given) for one in drawn])
        progress(number, len(records))
    if records and len(left) == len(records):
        raise InputError(f"none of the {len(left)} videos can be read: {next(iter(left.values()))}")
    part.finish(out)
    return left


def unread(wanted: int, scored: int) -> tuple[str, ...]:
    """A note on the videos of which there is no row; none if all were scored."""
    if scored == wanted:
        return ()
    return (f"{wanted - scored} of {wanted} videos cannot be read and are left out.",)


def part_of(out: Path) -> Path:
    """Where the rows of a score file are until all are there."""
    return out.with_name(f"{out.name}.part")


def begun(out: Path) -> bool:
    """Whether a score file that is not finished has any rows yet."""
    part = part_of(out)
    return part.is_file() and part.read_text().count("\n") > 1


def measured_by(regressor: Regressor) -> Measure:
    """A regressor's EF of videos of any size and rate."""

    def measure(video: NDArray[np.uint8], fps: float) -> float:
        return float(regressor(torch.from_numpy(shown(regressor, video, fps))[None])[0])

    return measure


def shown(regressor: Regressor, video: NDArray[np.uint8], fps: float) -> NDArray[np.uint8]:
    """A video of any size and rate as a regressor was trained to see it, (t, 112, 112).

    The last frame of one that is too short for it is held.
    """
    net = regressor.net.config
    frames = max(lasting(len(video), fps, net.fps), net.frames)
    return resample_time(resize(video, SIDE, SIDE), fps, net.fps, frames, short="hold")


Example = tuple[int, NDArray[np.uint8], NDArray[np.uint8], int]
"""The number of a draw, its clip (t, h, w), frame (h, w) and seed of the noise."""


def _drawn(source: PixelClips, record: Record, task: Task, draw: int) -> Example:
    rng = task.rng(record, draw)
    clip, frame = source.example(record, rng)
    return draw, clip, frame, int(rng.integers(2**62))


def _row(
    subject: Subject,
    record: Record,
    task: Task,
    example: Example,
    measure: Measure,
    lpips: Perceptual | None,
    keep: Keep | None,
) -> list[str]:
    """One draw: its cells."""
    draw, clip, frame, seed = example
    still, asked = torch.from_numpy(frame)[None], task.asked(record)
    made = subject.animate(still, torch.tensor([asked]), [seed])[0].numpy()
    if keep is not None:
        keep(record, draw, made, subject.fps)
    distance = "" if lpips is None else f"{lpips(made, clip).mean():.5f}"
    found = (asked, measure(made, subject.fps), measure(clip, subject.fps))
    return [record.uid, *(f"{x:.4f}" for x in found), f"{ssim(made, clip).mean():.5f}", distance]


@dataclass(frozen=True)
class _Part:
    """The rows so far, after a line that says what they are of."""

    path: Path
    head: str
    draws: int

    def begin(self) -> set[str]:
        """The videos that are finished; rows of one that is not are taken away."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        there = self.path.read_text() if self.path.exists() else ""
        lines = [line for line in there.splitlines(keepends=True) if line.endswith("\n")]
        if lines and lines[0] != f"{self.head}\n":
            raise InputError(
                f"{self.path} holds rows of other settings, weights or videos; remove it, or "
                "choose another name."
            )
        rows = [row for row in csv.reader(lines[1:]) if len(row) == 1 + len(COLUMNS)]
        names = [row[0] for row in rows]
        done = {name for name in names if names.count(name) == self.draws}
        with atomic_file(self.path) as file:
            file.write_text(f"{self.head}\n")
            replace(self, path=file).add([row for row in rows if row[0] in done])
        return done

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def finish(self, out: Path) -> Path:
        _, *lines = self.path.read_text().splitlines()
        with atomic_file(out) as file:
            file.write_text("\n".join([",".join((NAME, *COLUMNS)), *lines]) + "\n")
        self.path.unlink()
        return out


def some(records: Sequence[Record], n: int | None, seed: int = 0) -> tuple[Record, ...]:
    """`n` of the records, drawn once; all where n is None or larger."""
    if n is None or n >= len(records):
        return tuple(records)
    chosen = np.random.default_rng(seed).permutation(len(records))[:n]
    return tuple(records[i] for i in sorted(chosen.tolist()))
