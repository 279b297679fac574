"""Latents on disk: safetensors shards of posterior moments, one Parquet index, one card.

A folder holds `index.parquet` (a row per video), `shard-00000.safetensors` (per video `<uid>`:
mean and std on channels, (t, 2c, h, w) float16, and `<uid>.mask`, (t, h, w) uint8, where the LV
is known) and `latents.json` (statistics of the training split, hash of the A-VAE).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from echoflow.data.manifest import Manifest
from echoflow.data.masks import latent_mask
from echoflow.data.phantom.layout import read_truth, truth_path
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.resample import resample_time
from echoflow.files import atomic_file, new_folder
from echoflow.latents import LatentStats, Moments, encode
from echoflow.types import Clip, InputError, Record, Split, View

INDEX, CARD = "index.parquet", "latents.json"

WHOLE = Window()  # every frame at its own rate

Labelled = tuple[Clip, np.ndarray | None]  # a clip and its LV masks (t, h, w), where known


@dataclass(frozen=True)
class Latents:
    """The latents of a dataset in memory. `moments` (n, t, 2c, h, w) and `masks` (n, t, h, w)."""

    records: tuple[Record, ...]
    moments: Tensor
    masks: Tensor | None
    stats: LatentStats

    @classmethod
    def read(cls, folder: str | Path, split: Split | None = None) -> Latents:
        """Every video of a split; all must have the same number of frames."""
        folder = Path(folder)
        card = _read_card(folder)
        table: Any = pd.read_parquet(folder / INDEX)
        rows = table if split is None else table[table.split == split.value]
        if rows.empty:
            raise InputError(f"{folder} has no latents of split {split}; encode that split.")
        tensors = _read_shards(folder, sorted(set(rows.shard)))
        records = tuple(_record(dict(row)) for row in rows.to_dict(orient="records"))
        lengths = {tensors[r.uid].shape[0] for r in records}
        if len(lengths) > 1:
            raise InputError(
                f"{folder} mixes videos of {min(lengths)} to {max(lengths)} frames; "
                "encode with a fixed number of frames to load them together."
            )
        masks = [tensors.get(f"{r.uid}.mask") for r in records]
        known = [m for m in masks if m is not None]
        return cls(
            records,
            torch.stack([tensors[r.uid] for r in records]),
            torch.stack(known) if len(known) == len(records) else None,
            LatentStats(torch.tensor(card["mean"]), torch.tensor(card["std"])),
        )

    def __len__(self) -> int:
        return len(self.records)

    def draw(
        self, index: np.ndarray, frames: np.ndarray, rng: np.random.Generator | None
    ) -> Tensor:
        """Normalised latents (b, f, c, h, w) of `frames` (b, f) of videos `index` (b,).

        Posterior draws, or its means when `rng` is None.
        """
        picked = self.moments[torch.from_numpy(index)[:, None], torch.from_numpy(frames)].float()
        z, std = picked.chunk(2, dim=2)
        if rng is not None:
            z = z + std * torch.from_numpy(rng.standard_normal(z.shape, np.float32))
        return self.stats.normalise(z.flatten(0, 1)).view_as(z)


def labelled(
    manifest: Manifest, records: Iterable[Record], window: Window = WHOLE
) -> Iterator[Labelled]:
    """Every clip in its window, with its LV masks where a phantom's truth lies beside it."""
    for record in records:
        clip = load_clip(manifest, record, window)
        truth, masks = truth_path(manifest.root, record.uid), None
        if truth.is_file():
            masks = resample_time(read_truth(truth).mask, record.fps, clip.fps, len(clip.video))
        yield clip, masks


def encode_clips(
    clips: Iterable[Labelled],
    avae: torch.nn.Module,
    out: str | Path,
    provenance: str,
    per_shard: int = 128,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Encode clips into a new latent folder. `provenance` says which A-VAE (a hash) did it."""
    rows: list[dict[str, object]] = []
    shard: dict[str, Tensor] = {}
    sums = _Sums()
    with new_folder(out) as work:
        for clip, mask in clips:
            moments = _encode(avae, clip.video)
            shard[clip.uid] = torch.cat([moments.mean, moments.std], dim=1).half()
            if mask is not None:
                small = latent_mask(mask, *moments.mean.shape[-2:])
                shard[f"{clip.uid}.mask"] = small.byte()
            if clip.split == Split.TRAIN:
                sums.add(moments)
            number = len(rows) // per_shard
            rows.append({**_row(clip), "shard": number})
            if len(rows) % per_shard == 0:
                _save(shard, work / _shard_name(number))
                shard = {}
            progress(len(rows))
        if not rows:
            raise InputError("there is nothing to encode: the source has no videos.")
        if shard:
            _save(shard, work / _shard_name((len(rows) - 1) // per_shard))
        pd.DataFrame(rows).to_parquet(work / INDEX)
        card = {"avae": provenance, **sums.finish()}
        (work / CARD).write_text(json.dumps(card, indent=1) + "\n")


def _encode(avae: Any, video: np.ndarray) -> Moments:
    """Under bf16, which is twice as fast and finer than the float16 of the shards needs."""
    with torch.autocast(avae.device.type, torch.bfloat16):
        return encode(avae, torch.from_numpy(to_float(video)))


class _Sums:
    """Streaming per-channel mean and standard deviation of posterior draws, in float64.

    The variance of a draw is that of the means plus the mean posterior variance. A channel that the
    KL term has emptied has means near zero and posterior variance 1: scaled by its means alone, it
    would drown the others in noise.
    """

    def __init__(self) -> None:
        self.n = 0
        self.first = self.second = torch.zeros(1, dtype=torch.float64)

    def add(self, moments: Moments) -> None:
        mean, std = (m.double().transpose(0, 1).flatten(1) for m in (moments.mean, moments.std))
        self.first = self.first + mean.sum(1)
        self.second = self.second + (mean.square() + std.square()).sum(1)
        self.n += mean.shape[1]

    def finish(self) -> dict[str, list[float]]:
        if self.n == 0:
            raise InputError("no video of split TRAIN: the latent statistics need some.")
        mean = self.first / self.n
        return {"mean": mean.tolist(), "std": (self.second / self.n - mean**2).sqrt().tolist()}


def _save(shard: dict[str, Tensor], path: Path) -> None:
    with atomic_file(path) as file:
        save_file(shard, str(file))


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def _row(clip: Clip) -> dict[str, object]:
    row = asdict(Record.of(clip, clip.uid))
    return {**row, "view": clip.view.name, "split": clip.split.value}


def _record(row: dict[Any, Any]) -> Record:
    row = {key: None if _missing(value) else value for key, value in row.items() if key != "shard"}
    return Record(
        **{**row, "view": View.parse(row["view"], other=True), "split": Split(row["split"])}
    )


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


def _read_card(folder: Path) -> dict[str, list[float]]:
    try:
        return json.loads((folder / CARD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} holds no latents ({CARD} is missing); encode first.") from None


def _read_shards(folder: Path, numbers: list[int]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number in numbers:
        path = folder / _shard_name(number)
        try:
            tensors.update(load_file(str(path)))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); encode again.") from error
    return tensors
