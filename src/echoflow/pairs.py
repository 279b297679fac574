"""Two datasets video by video: what of a recording is left in its reconstruction, or in its twin.

Videos are paired by name. All scores are means over the frames of a video, then over videos; the
mean of PSNRs is not the PSNR of the mean error, which stands beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoflow.data.manifest import Manifest
from echoflow.data.video import read_gray
from echoflow.distances import Progress, fingerprint_of, unopened
from echoflow.looks import RESAMPLES, mean
from echoflow.metrics.image import LEAST, mae, mse, psnr, ssim
from echoflow.metrics.lpips import Lpips
from echoflow.metrics.report import Report
from echoflow.types import InputError, Record, Split

Video = NDArray[np.uint8]
SCORES: Mapping[str, Callable[[Video, Video], NDArray[np.float64]]] = {
    "mse": mse,
    "mae": mae,
    "psnr": psnr,
    "ssim": ssim,
}


@dataclass(frozen=True)
class Pair:
    """One video of either dataset under one name."""

    ours: Record
    theirs: Record


def pairs(
    ours: Manifest,
    theirs: Manifest,
    lpips: Lpips | None = None,
    split: Split | None = None,
    every: int = 1,
    seed: int = 0,
    tell: Progress = lambda done, total: None,
) -> Report:
    """MSE, MAE, PSNR, SSIM and (with its network) LPIPS of videos of one name, [0, 1] grey.

    Of every pair each `every`-th frame is compared. Pairs of other shapes or too small for SSIM,
    and videos that cannot be read, are left out and counted. `split` is one of `theirs`.
    """
    found = paired(ours, theirs.of(split))
    rows: list[list[float]] = []
    shapes: set[tuple[int, ...]] = set()
    left: Counter[str] = Counter()
    for done, pair in enumerate(found, 1):
        try:
            a, b = read_gray(ours.video(pair.ours))[0], read_gray(theirs.video(pair.theirs))[0]
        except InputError:
            left["unreadable"] += 1
            continue
        finally:
            tell(done, len(found))
        if a.shape != b.shape:
            left["of two shapes"] += 1
            continue
        if min(a.shape[1:]) < LEAST:
            left[f"below {LEAST} pixels a side"] += 1
            continue
        shapes.add(a.shape)
        rows.append(_scores(a[::every], b[::every], lpips))
    if not rows:
        why = ", ".join(f"{count} {what}" for what, count in left.items())
        raise InputError(f"none of {len(found)} pairs can be compared: {why}.")
    metrics = _metrics(np.array(rows), lpips is not None, seed)
    settings = {
        "frames": sorted({shape[0] for shape in shapes}),
        "size": sorted({shape[1:] for shape in shapes}),
        "fps": sorted({round(pair.theirs.fps, 2) for pair in found}),
        "every": every,
        "split": split.value if split else "all",
        "lpips": lpips and lpips.name,
        "lpips_sha256": lpips and lpips.sha256,
        "interval": {"level": 90, "resamples": RESAMPLES, "of": "videos"},
        "seed": seed,
    }
    prints = {"dataset": fingerprint_of(ours), "against": fingerprint_of(theirs)}
    notes = (*_notes(ours, theirs.of(split), found, left), *unopened(ours), *unopened(theirs))
    return Report("pairs", metrics, len(rows), settings, prints, tuple(dict.fromkeys(notes)))


def paired(ours: Manifest, theirs: Sequence[Record]) -> list[Pair]:
    """Records of one name, in the order of the second; `InputError` if there are none."""
    known = {record.uid: record for record in ours.records}
    found = [Pair(known[record.uid], record) for record in theirs if record.uid in known]
    if not found:
        names = [records[0].uid if records else "none" for records in (ours.records, theirs)]
        raise InputError(
            f"no two videos have one name (such as {names[0]} and {names[1]}); pairs are a dataset "
            "and its reconstruction. Others are compared by `evaluate distances`."
        )
    return found


def _scores(a: Video, b: Video, lpips: Lpips | None) -> list[float]:
    """`SCORES`, and LPIPS if asked for, as means over frames."""
    found = [float(np.mean(score(a, b))) for score in SCORES.values()]
    return found if lpips is None else [*found, float(np.mean(lpips(a, b)))]


def _metrics(rows: NDArray[np.float64], felt: bool, seed: int) -> dict[str, float]:
    names = [*SCORES, *(["lpips"] if felt else [])]
    metrics: dict[str, float] = {}
    for name, values in zip(names, rows.T, strict=True):
        metrics |= mean(name, values, seed)
    ends = {"psnr_of_mean": "mse", "psnr_of_mean_low": "mse_high", "psnr_of_mean_high": "mse_low"}
    return metrics | {name: _decibels(metrics[error]) for name, error in ends.items()}


def _decibels(error: float) -> float:
    return -10 * math.log10(error) if error > 0 else math.inf if error == 0 else math.nan


def _notes(
    ours: Manifest, theirs: Sequence[Record], found: Sequence[Pair], left: Mapping[str, int]
) -> tuple[str, ...]:
    notes = []
    for who, there in (("videos", len(ours.records)), ("recordings", len(theirs))):
        if len(found) < there:
            notes.append(f"{len(found)} of {there} {who} have a partner of their name.")
    if left:
        why = ", ".join(f"{count} {what}" for what, count in sorted(left.items()))
        notes.append(f"Left out of {len(found)} pairs: {why}.")
    return tuple(notes)
