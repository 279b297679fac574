"""How well did it do? Every function measures one thing and returns a `Report`.

Stages: `reconstruction` (A-VAE), `regressor_error` (the ruler for EF), `adherence` (anatomies
against their masks), `sweep` (videos against the EF asked for), `privacy_rates` (the filter).
Datasets: `evaluate` reads a folder, real or synthetic, and can set a second one beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echoflow.data.findings import left_out_line
from echoflow.data.manifest import Manifest
from echoflow.data.pixels import to_float
from echoflow.data.sources import open_source
from echoflow.data.table import as_number
from echoflow.distances import Progress, beside, fingerprint_of
from echoflow.latents import LatentSpace
from echoflow.looks import RESAMPLES, grey_distance, looks, mean
from echoflow.metrics.cavity import Finder
from echoflow.metrics.clinical import Regression, dice, regression
from echoflow.metrics.image import mae, mse, psnr, ssim
from echoflow.metrics.report import Report
from echoflow.privacy import Privacy, Verdict, rejection_rate
from echoflow.sampling import SamplingPlan
from echoflow.synthesis import DatasetPlan, Engine, MaskSource, Regressor, accepted
from echoflow.types import Clip, InputError, Record, Split, View, check_ef

ASKED = "EF_requested"  # the column of FileList.csv that makes a dataset a synthetic one
SEED = 0  # of the resamples of a stage's report
INTERVAL = {"interval": {"level": 90, "resamples": RESAMPLES}, "seed": SEED}


# ---- stages -------------------------------------------------------------------------------------


def reconstruction(space: LatentSpace, clips: Sequence[Clip], every: int = 4) -> Report:
    """Pixels -> posterior mean -> pixels, on every `every`-th frame of clips not trained on."""
    _need(clips, "clips")
    pairs = [_round_trip(space, clip.video[::every]) for clip in clips]
    metrics: dict[str, float] = {}
    for name, metric in (("psnr", psnr), ("ssim", ssim), ("mae", mae), ("mse", mse)):
        metrics |= mean(name, np.array([metric(a, b).mean() for a, b in pairs]), SEED)
    settings = {"every": every, "clips": len(clips), **_shape_settings(clips), **INTERVAL}
    return Report("reconstruction", metrics, sum(len(a) for a, _ in pairs), settings)


def _round_trip(space: LatentSpace, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frames = np.ascontiguousarray(frames)
    z = space.draw(space.encode(to_float(torch.from_numpy(frames))))
    return frames, space.decode(z).cpu().numpy()


def regressor_error(regressor: Regressor, clips: Sequence[Clip]) -> Report:
    """The regressor on clips whose EF is known: the floor under every EF that it measures."""
    known = [(clip, clip.ef) for clip in clips if clip.ef is not None]
    _need(known, "clips with a known EF")
    measured = [_measure(regressor, clip.video) for clip, _ in known]
    asked, names = [ef for _, ef in known], [clip.view.name for clip, _ in known]
    metrics = _by_view(asked, measured, names)
    settings = {**_shape_settings([clip for clip, _ in known]), **INTERVAL}
    return Report("regressor", metrics, len(known), settings)


def _measure(regressor: Regressor, video: np.ndarray) -> float:
    return float(regressor(torch.from_numpy(np.ascontiguousarray(video))[None])[0].clamp(0, 100))


def adherence(engine: Engine, plan: DatasetPlan, masks: MaskSource) -> Report:
    """Dice of the mask asked for and the cavity found in the generated anatomy, at ED.

    The finder has an error of its own: compare with `finder_dice` on pictures whose cavity
    is known.
    """
    anatomies = accepted(engine, plan, range(plan.n), masks)[0]
    pictures = engine.decode(torch.stack([a.z for a in anatomies])).cpu().numpy()
    scores = finder_dice(engine.finder, pictures, np.stack([a.mask for a in anatomies]))
    metrics = {**mean("dice", scores, SEED), "dice_worst": float(scores.min())}
    for view in dict.fromkeys(a.view for a in anatomies):
        chosen = [s for s, a in zip(scores, anatomies, strict=True) if a.view is view]
        metrics |= mean(f"dice_{view.name}", np.array(chosen), SEED)
    settings = {**INTERVAL, "seed": plan.seed, **_plan_settings(plan.anatomy or engine.anatomy)}
    return Report("adherence", metrics, len(anatomies), settings)


def finder_dice(finder: Finder, pictures: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Dice of each mask (n, h, w) and the cavity found in its picture (n, h, w)."""
    found = [finder(p[None], m)[0] for p, m in zip(pictures, masks, strict=True)]
    return dice(np.stack(found), masks)


@dataclass(frozen=True)
class Sweep:
    """The same hearts at several EFs: `measured` (hearts, efs), `videos` (hearts, efs, t, h, w)."""

    asked: np.ndarray
    measured: np.ndarray
    videos: np.ndarray

    def report(self, settings: Mapping[str, object]) -> Report:
        """Regression over all pairs, and the share of neighbouring EFs that come out in order.

        The interval of that share resamples hearts.
        """
        asked = np.broadcast_to(self.asked, self.measured.shape)
        metrics = regression(asked, self.measured).metrics()
        in_order = (np.diff(self.measured, axis=1) > 0).mean(axis=1)
        metrics |= mean("in_order", in_order, SEED)
        return Report("sweep", metrics, self.measured.size, dict(settings))


def sweep(
    engine: Engine,
    anatomies: Tensor,
    efs: Sequence[float],
    seeds: Sequence[int],
    plan: SamplingPlan | None = None,
    views: Sequence[View] | None = None,
) -> Sweep:
    """Animates every anatomy (b, c, h, w) at every EF from one motion seed each.

    The seed is the same along a sweep, so that only the EF differs between its videos.
    """
    asked = np.array([check_ef(ef) for ef in efs])
    if len(anatomies) != len(seeds) or np.any(np.diff(asked) <= 0):
        raise InputError("a sweep needs one seed per anatomy and EFs in rising order.")
    measured, videos = [], []
    told = torch.tensor(asked).float()
    for i, (z, seed) in enumerate(zip(anatomies, seeds, strict=True)):
        same, view = z[None].repeat(len(asked), 1, 1, 1), views and [views[i]] * len(asked)
        motion = engine.animate(same, told, [seed] * len(asked), plan, views=view)
        made = engine.decode(motion).cpu().numpy()
        videos.append(made)
        measured.append([_measure(engine.regressor, video) for video in made])
    return Sweep(asked, np.array(measured), np.stack(videos))


def privacy_rates(privacy: Privacy, copies: Tensor | None, strangers: Tensor) -> Report:
    """Rejection in percent: of exact copies of training latents, if given, and of strangers.

    The first must be 100; the second is the price of the filter and is near 5 when tau was set by
    the symmetric rule (100 - its percentile).
    """
    copied = [] if copies is None else privacy.verdicts(copies)
    unseen = privacy.verdicts(strangers)
    metrics = {
        **_rate("unseen_rejected", unseen),
        **mean("unseen_similarity_mean", np.array([v.similarity for v in unseen]), SEED),
    }
    if copied:
        metrics |= _rate("copies_rejected", copied)
        metrics["copies_similarity_min"] = min(v.similarity for v in copied)
    settings = {"copies": len(copied), "unseen": len(unseen), "gallery": len(privacy.gallery)}
    settings |= INTERVAL
    return Report("privacy", metrics, len(copied) + len(unseen), settings)


def _rate(name: str, verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Percent rejected, and its interval."""
    interval = mean(name, np.array([100.0 * (not v.accepted) for v in verdicts]), SEED)
    return {**interval, name: rejection_rate(verdicts)}


# ---- datasets -----------------------------------------------------------------------------------


def asked_of(manifest: Manifest) -> Iterator[tuple[Record, float]]:
    """The records that say which EF was asked for, in percent; `InputError`: one is no number."""
    for record in manifest.records:
        cell = manifest.extras.get(record.uid, {}).get(ASKED, "")
        if not cell:
            continue
        if math.isnan(asked := as_number(cell)):
            raise InputError(
                f"{manifest.root}: {ASKED} of {record.uid} is {cell!r}; it must be an EF in "
                "percent or empty."
            )
        try:
            yield record, check_ef(asked)
        except InputError as error:
            raise InputError(f"{manifest.root}: {ASKED} of {record.uid}: {error}") from error


def obedience(manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[View]]:
    """EF asked, EF measured and view of every row of a synthetic dataset, single draw."""
    rows = [
        (asked, record.ef, record.view)
        for record, asked in asked_of(manifest)
        if record.ef is not None
    ]
    asked, measured = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    return asked, measured, [r[2] for r in rows]


def evaluate(
    root: str | Path | Manifest,
    against: str | Path | Manifest | None = None,
    split: Split | None = None,
    seed: int = 0,
    tell: Progress = lambda done, total: None,
) -> Report:
    """A dataset on disk: EF asked against measured where it says so, steadiness, grey levels.

    Any folder that `open_source` knows will do, a bare folder of videos included.
    `against` is a second dataset, usually real: its own values are added with the prefix
    `against_`, and `grey_w1` is the Wasserstein distance of the two grey histograms in levels.
    `split` takes a part of the real dataset, of `root` where there is no other. Intervals resample
    videos by `seed`. Videos that cannot be read are left out and counted in the notes.
    """
    ours = _opened(root, split if against is None else None)
    theirs = None if against is None else _opened(against, split)
    before, total = len(ours.records), len(ours.records) + (len(theirs.records) if theirs else 0)
    pixels = looks(ours, lambda done: tell(done, total))
    metrics, notes = pixels.metrics(seed), list(pixels.notes)
    asked, measured, views = obedience(ours)
    if len(asked):
        metrics |= _by_view(asked, measured, [view.name for view in views], seed)
    if len(asked) < len(ours.records) and any(asked_of(ours)):
        notes.append(
            f"{len(asked)} of {len(ours.records)} videos have ef_ scores: those whose EF was both "
            "asked for and measured."
        )
    prints = {"dataset": fingerprint_of(ours)}
    if theirs is not None:
        other = looks(theirs, lambda done: tell(before + done, total))
        metrics |= {f"against_{name}": value for name, value in other.metrics(seed).items()}
        metrics |= grey_distance(pixels.greys, other.greys, seed)
        prints["against"] = fingerprint_of(theirs)
        notes += [*beside(ours, theirs, len(other.greys)), *other.notes]
    settings = {
        **_record_settings(ours),
        "split": split.value if split else "all",
        "interval": {"level": 90, "resamples": RESAMPLES, "of": "videos"},
        "seed": seed,
    }
    return Report("dataset", metrics, len(pixels.greys), settings, prints, tuple(notes))


def _opened(root: str | Path | Manifest, split: Split | None) -> Manifest:
    """A dataset of which at least one video can be used."""
    manifest = root if isinstance(root, Manifest) else open_source(root)
    root = manifest.root
    if not manifest.records:
        why = left_out_line(manifest.findings, 0)
        raise InputError(f"{root} has no video to evaluate: {why}.")
    if split is None:
        return manifest
    if not manifest.of(split):
        there = ", ".join(sorted({record.split.value for record in manifest.records}))
        raise InputError(f"{root} has no videos of split {split.value}; it has {there}.")
    return replace(manifest, records=manifest.of(split))


def _record_settings(manifest: Manifest) -> dict[str, object]:
    """What the videos of a dataset have in common, or all that there is."""
    records = manifest.records
    return {
        "fps": _common(round(r.fps, 3) for r in records),
        "frames": _common(r.frames for r in records),
        "size": _common((r.height, r.width) for r in records),
        "views": sorted({r.view.name for r in records}),
    }


def _common(values: Iterable[Any]) -> Any:
    """The value that all share, else the distinct ones in order."""
    found = sorted(set(values))
    return found[0] if len(found) == 1 else found


def _by_view(
    asked: Sequence[float] | np.ndarray,
    measured: Sequence[float] | np.ndarray,
    names: list[str],
    seed: int = SEED,
) -> dict[str, float]:
    """Regression metrics over all (`ef_`) and for every view (`ef_A4C_` ...)."""
    everything = regression(asked, measured, seed=seed).metrics("ef_")
    if len(set(names)) < 2:
        return everything
    for name in sorted(set(names)):
        index = [i for i, other in enumerate(names) if other == name]
        chosen = np.asarray(asked)[index], np.asarray(measured)[index]
        part: Regression = regression(*chosen, seed=seed)
        everything |= part.metrics(f"ef_{name}_")
    return everything


def _shape_settings(clips: Sequence[Clip]) -> dict[str, object]:
    frames, height, width = clips[0].video.shape
    names = sorted({clip.view.name for clip in clips})
    return {"fps": clips[0].fps, "frames": frames, "size": [height, width], "views": names}


def _plan_settings(plan: SamplingPlan) -> dict[str, object]:
    return {
        "steps": plan.steps,
        "solver": plan.solver,
        "scale": plan.scale,
        "negative": plan.negative,
        "negative_ef": plan.negative_ef,
    }


def _need(things: Sequence[object], what: str) -> None:
    if not things:
        raise InputError(f"no {what} to evaluate; give at least one.")
