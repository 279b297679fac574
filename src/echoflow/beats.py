"""How the hearts of a dataset beat: rate, timing, EF by masks, and whether the heart stays itself.

Nothing but the videos is needed: a segmenter draws the cavity in every frame, and the volume curve
says the rest. Beside a real dataset each number has its natural value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echoflow.data.manifest import Manifest
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.sources import open_source
from echoflow.distances import Progress, beside, fingerprint_of, unopened, used
from echoflow.interop.bundle import filters_of
from echoflow.judges import Segmenter
from echoflow.looks import RESAMPLES, mean
from echoflow.metrics.clinical import curve_roughness
from echoflow.metrics.intervals import bootstrapped
from echoflow.metrics.report import Report
from echoflow.metrics.rhythm import Rhythm
from echoflow.pipeline import Pipeline, load, weights_print
from echoflow.privacy import PrivacyByView, PrivacyFilter, correlations, features_of
from echoflow.truth.scores import Beating
from echoflow.types import Clip, InputError, Split

NAN = float("nan")
WHOLE = Window()


@dataclass(frozen=True)
class Beat:
    """One video: `cycle` s, `rate` per minute, `systole` (ED to ES) and `start` (ED to frame 0) ms.

    `ef_mask` is the EF in percent between the largest and the smallest cavity, `roughness` that of
    the volume curve (0 smooth, 3 noise), `regular` the share of it that repeats with every beat.
    `same_heart` is the correlation that the re-identification network sees between the first
    end-diastole and the last one: what is lost of it is drift of the anatomy. nan: cannot be told.
    """

    cycle: float
    rate: float
    systole: float
    start: float
    ef_mask: float
    roughness: float
    regular: float
    same_heart: float


NAMES = tuple(field.name for field in fields(Beat))


def beats(
    dataset: str | Path | Manifest,
    weights: str | Path = "nano",
    against: str | Path | Manifest | None = None,
    split: Split | None = None,
    seed: int = 0,
    tell: Progress = lambda done, total: None,
) -> Report:
    """Means over videos of all of `Beat`, and the spread of the rate; of `against` with a prefix.

    `split` takes a part of the real dataset, of `dataset` where there is no other. The networks are
    those of `weights`; they are what the numbers are measured by.
    """
    engine = load(weights)
    if not isinstance(engine.finder, Segmenter):
        raise InputError(f"{weights} has no LV segmenter to find beats with; give weights with lv.")
    ours = _of(dataset, split if against is None else None)
    theirs = None if against is None else _of(against, split)
    total = len(ours.records) + (len(theirs.records) if theirs else 0)
    metrics, notes, n = _measured(engine, ours, seed, lambda done: tell(done, total))
    prints = {"dataset": fingerprint_of(ours), "networks": weights_print(weights)}
    if theirs is not None:
        before = len(ours.records)
        real, more, there = _measured(engine, theirs, seed, lambda done: tell(before + done, total))
        metrics |= {f"against_{name}": value for name, value in real.items()}
        prints["against"] = fingerprint_of(theirs)
        notes = (*notes, *beside(ours, theirs, there), *more)
    settings = {
        "fps": sorted({round(record.fps, 2) for record in ours.records}),
        "frames": sorted({record.frames for record in ours.records}),
        "size": [WHOLE.size, WHOLE.size],
        "split": split.value if split else "all",
        "interval": {"level": 90, "resamples": RESAMPLES, "of": "videos"},
        "seed": seed,
    }
    return Report("beats", metrics, n, settings, prints, notes)


def _of(dataset: str | Path | Manifest, split: Split | None) -> Manifest:
    manifest = dataset if isinstance(dataset, Manifest) else open_source(dataset)
    chosen = manifest.of(split)
    if not chosen:
        part = f" of split {split.value}" if split else ""
        gone = "".join(f" {note}" for note in unopened(manifest))
        raise InputError(
            f"{manifest.root} has no videos{part}; give a dataset that has some.{gone}"
        )
    return replace(manifest, records=chosen)


def _measured(
    engine: Pipeline, manifest: Manifest, seed: int, tell: Callable[[int], None]
) -> tuple[dict[str, float], tuple[str, ...], int]:
    """Means with intervals, notes on what is left out, and the number of videos."""
    rows: list[tuple[float, ...]] = []
    left = Counter[str]()
    for done, record in enumerate(manifest.records, 1):
        try:
            rows.append(astuple(beat(engine, load_clip(manifest, record, WHOLE))))
        except InputError:
            left["unreadable"] += 1
        tell(done)
    if not rows:
        raise InputError(f"{manifest.root}: none of {len(manifest.records)} videos can be read.")
    table = np.array(rows)
    metrics: dict[str, float] = {}
    for name, values in zip(NAMES, table.T, strict=True):
        metrics |= mean(name, values[np.isfinite(values)], seed)
    rates = table[:, NAMES.index("rate")]
    silent = int(np.isnan(rates).sum())
    metrics |= _spread("rate_std", rates[np.isfinite(rates)], seed)
    once = int(np.isnan(table[:, NAMES.index("same_heart")]).sum()) - silent
    notes, name = used(manifest, len(rows), left), manifest.root.resolve().name
    if silent:
        notes += (f"{name}: no rhythm is found in {silent} of {len(rows)} videos.",)
    if once:
        notes += (
            f"{name}: same_heart leaves out {once} of {len(rows)} videos more, which do not show "
            "two end-diastoles or a view that the re-identification network knows.",
        )
    return metrics, notes, len(rows)


def _spread(name: str, values: NDArray[np.float64], seed: int) -> dict[str, float]:
    """A standard deviation over videos and its interval; not a number for fewer than two."""
    if len(values) < 2:
        return {name: NAN}
    low, high = bootstrapped(lambda i: float(values[i].std(ddof=1)), len(values), RESAMPLES, seed)
    return {name: float(values.std(ddof=1)), f"{name}_low": low, f"{name}_high": high}


def beat(engine: Pipeline, clip: Clip) -> Beat:
    """What can be told of the heart in a clip of 112 x 112 pixels."""
    masks = engine.finder(clip.video, np.ones(clip.video.shape[1:], bool))
    found = Beating.of(masks, clip.view, clip.fps)
    rough = curve_roughness(found.volumes)
    if found.rhythm is None:
        return Beat(NAN, NAN, NAN, NAN, found.ef, rough, NAN, NAN)
    rhythm = found.rhythm
    return Beat(
        cycle=rhythm.period,
        rate=rhythm.rate,
        systole=1000 * rhythm.systole,
        start=-1000 * rhythm.ed,
        ef_mask=found.ef,
        roughness=rough,
        regular=rhythm.explained,
        same_heart=_same_heart(engine, clip, rhythm),
    )


def diastoles(rhythm: Rhythm, frames: int, fps: float) -> NDArray[np.intp]:
    """The frames nearest to the end-diastoles of a clip of `frames`."""
    last = (frames - 1) / fps
    times = np.arange(rhythm.ed, last + 0.5 / fps, rhythm.period)
    index = np.round(times * fps).astype(int)
    return index[(index >= 0) & (index < frames)]


def _same_heart(engine: Pipeline, clip: Clip, rhythm: Rhythm) -> float:
    """Correlation of the features of the first and the last end-diastole, if there are two."""
    index = diastoles(rhythm, len(clip.video), clip.fps)
    privacy = engine.privacy
    if len(index) < 2 or not isinstance(privacy, PrivacyFilter | PrivacyByView):
        return NAN
    judge = filters_of(privacy).get(clip.view)
    if judge is None:
        return NAN
    frames = torch.from_numpy(np.ascontiguousarray(clip.video[[index[0], index[-1]]]))
    z = engine.space.draw(engine.space.encode(to_float(frames)))
    seen = features_of(judge.embed, z).cpu()
    return float(correlations(seen[:1], seen[1:])[0, 0])
