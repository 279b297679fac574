"""The joint entropy of a folder of latents, against Gaussians whose entropy is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echoflow.cli import main
from echoflow.data.shardwriter import Item, write_latents
from echoflow.latent_entropy import latent_entropy
from echoflow.latents import Moments
from echoflow.types import InputError, Record, Split, View

SHAPE, STD, WIDTH = (2, 3, 3), 3.0, 4.0
LENGTHS = (2,) * 20 + (5,) * 180


class Gaussian:
    """Means of one deviation, posteriors of another; every tenth video is of the test split."""

    findings = ()

    def __init__(self) -> None:
        rng = torch.manual_seed(3)
        self.means = [torch.randn(n, *SHAPE, generator=rng) * STD for n in LENGTHS]
        self.records = tuple(map(record, range(len(LENGTHS)), LENGTHS))

    def __len__(self) -> int:
        return len(self.records)

    def plan(self) -> dict[str, Any]:
        return {}

    def items(self, numbers: range) -> Iterator[Item]:
        for i in numbers:
            moments = Moments(self.means[i], torch.full_like(self.means[i], WIDTH))
            masks = torch.zeros(0, 3, 3, dtype=torch.uint8)
            yield Item(self.records[i], moments, np.arange(0), masks, "")


def record(number: int, frames: int) -> Record:
    split = Split.TEST if number % 10 == 9 else Split.TRAIN
    known = (25.0, frames, 20, 20, None, None, None)
    return Record(f"v{number}", f"v{number}", "test", View.A4C, split, None, *known)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latents(Gaussian(), tmp_path_factory.mktemp("entropy") / "z").folder


def nats(deviation: float) -> float:
    return 18 * (0.5 * np.log(2 * np.pi * np.e) + np.log(deviation))


def test_means_and_draws_of_the_posterior(folder: Path) -> None:
    plain = {"normalise": "none", "frames": 2}
    means = latent_entropy(folder, posterior="mean", **plain)
    assert means.metrics["entropy"] == pytest.approx(nats(STD), abs=0.6)
    drawn = latent_entropy(folder, posterior="sample", **plain)
    assert drawn.metrics["entropy"] == pytest.approx(nats(np.hypot(STD, WIDTH)), abs=0.6)
    assert drawn.metrics["entropy_per_dim"] == drawn.metrics["entropy"] / 18
    for found in (means, drawn):
        low, high = found.interval("entropy") or (0.0, 0.0)
        assert low < found.metrics["entropy"] < high
        assert high - low < 3.0


def test_every_channel_by_its_own_deviation(folder: Path) -> None:
    found = latent_entropy(folder)
    assert found.metrics["entropy"] == pytest.approx(nats(1.0), abs=0.8)
    assert found.n == 200
    assert found.settings["shape"] == list(SHAPE)


def test_videos_that_are_too_short_are_counted(folder: Path) -> None:
    found = latent_entropy(folder, frames=4)
    assert found.n == 180
    assert found.notes == ("Left out: 20 videos shorter than 4 frames.",)
    with pytest.raises(InputError, match="has 0 videos of 9 or more frames"):
        latent_entropy(folder, frames=9)


def test_few_videos_are_singular_without_shrinkage(folder: Path) -> None:
    few = {"split": Split.TEST, "frames": 1}
    with pytest.raises(InputError, match="ledoit-wolf"):
        latent_entropy(folder, shrinkage="none", **few)
    found = latent_entropy(folder, **few)
    assert found.n == 20
    assert "of the covariance is shrinkage" in found.notes[0]


def test_from_the_command_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "entropy", str(folder), "--out", str(tmp_path / "e")]) == 0
    assert "| entropy |" in capsys.readouterr().out
    assert (tmp_path / "e.json").is_file()
    assert main(["evaluate", "entropy", str(folder), "--posterior", "means"]) == 2
    assert "Did you mean mean?" in capsys.readouterr().err
    assert main(["evaluate", "entropy", str(tmp_path)]) == 2
    assert "holds no latents" in capsys.readouterr().err
