"""Where the examples of a recipe come from: folders of videos or latents, training and held out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from echoflow.data.clips import Source
from echoflow.data.manifest import Manifest
from echoflow.data.shards import Latents
from echoflow.data.sources import open_source
from echoflow.data.video import read_gray
from echoflow.training.folder import fingerprint_of
from echoflow.training.recipes import Recipe
from echoflow.training.recordings import Several
from echoflow.types import Batch, InputError, Record, Split

HELD_OUT = 256  # examples in a fixed validation set

Make = Callable[[Manifest, tuple[Record, ...]], Source]
"""A source of some videos of a dataset."""


def folders(data: str) -> list[str]:
    """The folders that `Recipe.data` names."""
    return [part.strip() for part in data.split(",") if part.strip()]


def load_videos(manifest: Manifest, records: tuple[Record, ...]) -> np.ndarray:
    """Every video of `records` in memory, (n, t, h, w) uint8; all must have one shape."""
    shapes = {(r.frames, r.height, r.width) for r in records}
    if len(shapes) != 1:
        found = ", ".join("x".join(map(str, s)) for s in sorted(shapes)[:3]) or "no videos"
        raise InputError(
            f"{manifest.root}: training in memory needs videos of one shape; found {found}. "
            "For recordings set avae.every, ef.augment=crop or lv.frames=ed-es."
        )
    loaded = np.empty((len(records), *shapes.pop()), np.uint8)
    for row, record in enumerate(records):
        loaded[row] = read_gray(manifest.video(record))[0]
    return loaded


def videos(recipe: Recipe, split: Split, source: Make, few: bool = False) -> Source:
    """The videos of a split, of all folders. With `few`, no more than are validated on."""
    data = recipe.data if split is Split.TRAIN else recipe.held_out or recipe.data
    parts = []
    for folder in folders(data):
        manifest = open_source(folder, splits=recipe.splits)
        records = manifest.of(split)
        if few:
            records = tuple(records[i] for i in _some(len(records)).tolist())
        if records:
            parts.append(source(manifest, records))
    if not parts:
        raise InputError(
            f"{data} has no videos of split {split}; give a dataset that has some, or set "
            "splits=shuffled for one that came without splits."
        )
    return joined(parts)


def latents(recipe: Recipe, split: Split) -> list[Latents]:
    """The latents of a split, of all folders, normalised by the statistics of the first of `data`:
    a network that learns from several has one latent space."""
    data = recipe.data if split is Split.TRAIN else recipe.held_out or recipe.data
    found = [Latents.read(folder, split) for folder in folders(data)]
    stats = found[0].stats if data == recipe.data else Latents.read(folders(recipe.data)[0]).stats
    return [dataclasses.replace(one, stats=stats) for one in found]


def joined(parts: Sequence[Source]) -> Source:
    """One source after the other."""
    return parts[0] if len(parts) == 1 else Several(tuple(parts))


def fingerprint(recipe: Recipe) -> str:
    """That of the data, or of all of them together."""
    data = [*folders(recipe.data), *folders(recipe.held_out or "")]
    found = [fingerprint_of(folder) for folder in data]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


def _some(n: int) -> np.ndarray:
    """Which `HELD_OUT` of n are validated on, always the same."""
    return np.random.default_rng(1).permutation(n)[:HELD_OUT]


def fixed(source: Source, batch: int = HELD_OUT, most: int = HELD_OUT) -> list[Batch]:
    """The first `most` examples of a source, always the same, in batches."""
    rng = np.random.default_rng(0)
    index = _some(len(source))[:most]
    return [source.batch(part, rng) for part in np.array_split(index, max(1, len(index) // batch))]
