"""Encoding: what is written, what is left out, and that stopping it costs nothing but time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow.data import shardfile
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.shards import Latents, encode_clips, labelled
from echoflow.data.video import write_video
from echoflow.files import sha256
from echoflow.latents import encode
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.types import Record, Split, View

SPLITS = (Split.TRAIN, Split.TRAIN, Split.VAL, Split.TRAIN, Split.TEST, Split.TRAIN, Split.TRAIN)
PER_SHARD = 2


def dataset(root: Path, frames: tuple[int, ...] = (6, 9, 5, 7, 6, 8, 5)) -> Manifest:
    """Seven short noisy videos of unequal lengths, 16 x 16 pixels."""
    (root / "Videos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = []
    for number, length in enumerate(frames):
        uid, split = f"0X{number:02d}", SPLITS[number]
        write_video(root / video_path(uid), rng.integers(0, 255, (length, 16, 16), np.uint8), 25)
        records.append(
            Record(
                uid,
                video_path(uid),
                "test",
                View.A4C,
                split,
                None,
                25.0,
                length,
                16,
                16,
                50.0 + number,
                None,
                None,
            )  # fmt: skip
        )
    return Manifest(root, tuple(records))


@pytest.fixture(scope="module")
def avae() -> torch.nn.Module:
    torch.manual_seed(0)
    return zoo.build(AVAEConfig(2, (4, 4), 1, 2, False, 1)).eval()


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return dataset(tmp_path / "set")


WINDOW = Window(size=16)


def encoded(manifest, avae, out, **settings):
    feed = labelled(manifest, manifest.records, WINDOW)
    return encode_clips(feed, avae, out, "hash", PER_SHARD, inference="exact", **settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_video_is_there_as_the_network_makes_it(manifest, avae, tmp_path):
    done = encoded(manifest, avae, tmp_path / "z")
    assert (done.videos, done.findings) == (7, ())
    latents = Latents.read(tmp_path / "z")
    assert [r.uid for r in latents.records] == [r.uid for r in manifest.records]
    assert [r.ef for r in latents.records] == [r.ef for r in manifest.records]
    for number, record in enumerate(manifest.records):
        video = load_clip(manifest, record, WINDOW).video
        moments = encode(avae, torch.from_numpy(to_float(video)))  # type: ignore[arg-type]
        whole = torch.cat([moments.mean, moments.std], dim=1).half()
        assert torch.equal(latents.raw(number, 0, record.frames), whole)
        assert latents.rows[number].sha256 == sha256(manifest.video(record))
    assert {p.name for p in (tmp_path / "z").iterdir()} == {
        "index.parquet", "latents.json", "findings.csv", *map(shardfile.shard_name, range(4)),
    }  # fmt: skip
