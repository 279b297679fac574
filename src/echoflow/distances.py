"""Two datasets on disk -> the distances of their videos in the eyes of one network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoflow.data.findings import Flaw, left_out_line
from echoflow.data.manifest import FILE_LIST, Manifest
from echoflow.data.prepare import PROTOCOLS, Window, load_clip
from echoflow.data.sources import open_source
from echoflow.encoders import TRUNKS, Trunk, trunk
from echoflow.judges import EFFeatures, Regressor
from echoflow.metrics.distribution import distribution
from echoflow.metrics.extractors import PUBLISHED, Scripted
from echoflow.metrics.features import FeatureExtractor, Features, RandomFeatures, extracted
from echoflow.metrics.frechet import Covariance
from echoflow.metrics.report import Report, fingerprint
from echoflow.types import InputError, Split, choose

SCRIPTED = tuple(name for name, row in PUBLISHED.items() if row.call)
PAPER = PROTOCOLS["echoflow"]
EXTRACTORS = ("ef", "random", *SCRIPTED, *TRUNKS)
Progress = Callable[[int, int], None]


def extractor(
    name: str, weights: str | Path = "nano", folder: str | Path | None = None
) -> FeatureExtractor:
    """An extractor by name: `ef` is the EF regressor of `weights`, `random` a test of the program.

    The others are published networks, looked for in `folder` and the usual places, never fetched.
    """
    choose(name, EXTRACTORS, "extractor")
    if name == "random":
        return RandomFeatures()
    if name != "ef":
        return trunk(name, folder) if name in TRUNKS else Scripted(name, folder)
    from echoflow.pipeline import load

    regressor = load(weights).regressor
    if not isinstance(regressor, Regressor):
        raise InputError(f"{weights} has no EF regressor; give weights with one, or nano.")
    return EFFeatures(regressor.net, str(weights))


def distances(
    generated: str | Path,
    real: str | Path,
    network: FeatureExtractor,
    frames: int | None = None,
    split: Split | None = None,
    covariance: Covariance = "sample",
    seed: int = 0,
    tell: Progress = lambda done, total: None,
) -> Report:
    """Frechet distance and its kin of the first `frames` frames of all videos of two datasets.

    Left out, `frames` are those that the EF regressor was trained on, or 16 for other networks.
    The real videos are brought to the rate and size of the generated ones (`alike`). Videos that
    are shorter or cannot be read are left out and counted in the notes. `split` takes a part of the
    real dataset.
    """
    ours, theirs = open_source(generated), open_source(real)
    total, cut = len(ours.records) + len(theirs.of(split)), alike(ours, network, frames)
    fake = seen(ours, network, cut, None, lambda done: tell(done, total))
    truth = seen(theirs, network, cut, split, lambda n: tell(len(ours.records) + n, total))
    return between(fake, truth, covariance, seed)


def alike(generated: Manifest, network: FeatureExtractor, frames: int | None = None) -> Window:
    """What both sides are cut to: the rate and the square size that all generated videos share.

    Where they do not, those of EchoFlow's protocol: 32 frames per second, 112 pixels a side.
    """
    rates = {round(record.fps, 2) for record in generated.records}
    sides = {side for record in generated.records for side in (record.height, record.width)}
    return Window(
        _length(network) if frames is None else frames,
        rates.pop() if len(rates) == 1 else PAPER.fps,
        sides.pop() if len(sides) == 1 else PAPER.size,
    )


@dataclass(frozen=True)
class Seen:
    """A dataset in the eyes of a network: features, its fingerprint, what was left out of it."""

    features: Features
    fingerprint: str
    split: str
    notes: tuple[str, ...]


def seen(
    manifest: Manifest,
    network: FeatureExtractor,
    cut: Window,
    split: Split | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Seen:
    """The features of a dataset or of one of its splits, every video cut to one window."""
    part = replace(manifest, records=manifest.of(split))
    features, notes = _features(part, network, cut, tell)
    return Seen(features, fingerprint_of(manifest), split.value if split else "all", notes)


def between(
    generated: Seen, real: Seen, covariance: Covariance = "sample", seed: int = 0
) -> Report:
    """The distances of two datasets whose features are there."""
    left = (*generated.notes, *real.notes)
    try:
        report = distribution(real.features, generated.features, covariance, seed=seed)
    except InputError as error:
        raise InputError(" ".join([str(error), *left])) from error
    return replace(
        report,
        settings={**report.settings, "clip": "first frames", "split": real.split},
        fingerprints={"dataset": generated.fingerprint, "against": real.fingerprint},
        notes=(*report.notes, *left),
    )


def _length(network: FeatureExtractor) -> int:
    if isinstance(network, EFFeatures):
        return network.net.config.frames
    return network.frames if isinstance(network, Trunk) else 16


def _features(
    manifest: Manifest, network: FeatureExtractor, cut: Window, tell: Callable[[int], None]
) -> tuple[Features, tuple[str, ...]]:
    """Features of a dataset, and a note on the videos left out of it."""
    left: Counter[str] = Counter()

    def clips() -> Iterator[np.ndarray]:
        for done, record in enumerate(manifest.records, 1):
            try:
                video = load_clip(manifest, record, cut).video
            except InputError as error:
                short = isinstance(error, Flaw) and error.kind == "too-short"
                left[f"shorter than {cut.frames} frames" if short else "unreadable"] += 1
                continue
            finally:
                tell(done)
            yield video

    try:
        found = extracted(network, clips())
    except InputError as error:
        gone = "".join(f" {note}" for note in unopened(manifest))
        raise InputError(f"{manifest.root}: {error}{_left_out(left)}{gone}") from error
    known = {**found.settings, "fps": cut.fps}
    return replace(found, settings=known), used(manifest, found.videos, left)


def used(manifest: Manifest, videos: int, left: Mapping[str, int]) -> tuple[str, ...]:
    """Notes on the videos of a dataset that were left out, and why; none if all were used.

    First those that were read, then those that the dataset could not be opened with.
    """
    name = manifest.root.resolve().name
    count = f"{videos} of {len(manifest.records)} videos of {name} used."
    notes = (count + _left_out(left),) if left else ()
    return (*notes, *unopened(manifest))


def beside(ours: Manifest, theirs: Manifest, videos: int) -> tuple[str, ...]:
    """Notes on what `against_` values are of: `videos` of `theirs`, perhaps at another rate."""
    rates, frames = ({getattr(r, n) for r in theirs.records} for n in ("fps", "frames"))
    told = (_listed(rates), _listed(frames))
    name = theirs.root.resolve().name
    of = f"against_ values are of {videos} videos of {name}, {told[0]} fps, {told[1]} frames."
    if _listed(rates) == (own := _listed({record.fps for record in ours.records})):
        return (of,)
    return (of, f"{own} fps against {told[0]}: what is told per frame differs by the rate alone.")


def _listed(values: set[float]) -> str:
    """The one value, or the least and the greatest."""
    ends = dict.fromkeys((round(min(values), 2), round(max(values), 2)))
    return " to ".join(f"{value:g}" for value in ends)


def unopened(manifest: Manifest) -> tuple[str, ...]:
    """A note on the videos that are not among the records of a dataset; none if all are."""
    line = left_out_line(manifest.findings, None)
    return () if line is None else (f"{manifest.root.resolve().name}: {line}.",)


def _left_out(left: Mapping[str, int]) -> str:
    said = ", ".join(f"{count} {why}" for why, count in sorted(left.items()))
    return f" Left out: {said}." if said else ""


def fingerprint_of(manifest: Manifest) -> str:
    """Of the table where there is one, else of the videos."""
    table = manifest.root / FILE_LIST
    return fingerprint(table if table.is_file() else manifest.root)
