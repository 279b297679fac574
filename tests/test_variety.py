"""The Inception score of a folder; the published network is asked for in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoflow.cli import main
from echoflow.data.video import write_video
from echoflow.encoders import untrained
from echoflow.types import InputError
from echoflow.variety import FidelityClasses, RandomClasses, variety


def folder(root: Path, n: int, spread: int) -> Path:
    """Videos of one grey each, `spread` levels apart."""
    root.mkdir()
    for i in range(n):
        video = np.full((4, 16, 16), 60 + i * spread, np.uint8)
        write_video(root / f"v{i:02d}.avi", video, 16)
    return root


def test_varied_videos_score_higher_than_equal_ones(tmp_path: Path) -> None:
    same, varied = folder(tmp_path / "same", 12, 0), folder(tmp_path / "varied", 12, 15)
    network = RandomClasses()
    low, high = (variety(x, network, frames=4, splits=2) for x in (same, varied))
    assert low.metrics["is"] == pytest.approx(1.0)
    assert high.metrics["is"] > low.metrics["is"]
    assert high.metrics["is_low"] <= high.metrics["is"] <= high.metrics["is_high"]
    assert high.notes[0].startswith("features of a random network")
    assert {"extractor_sha256", "splits", "fps", "size"} <= high.settings.keys()


def test_a_nominal_number_below_the_frames_counts_the_videos_it_takes(tmp_path: Path) -> None:
    root = folder(tmp_path / "a", 6, 9)  # four frames each
    report = variety(root, RandomClasses(), frames=4, splits=2, nominal=10)
    assert report.n == report.settings["videos"] == 3
    assert "first 3 of 6 videos" in report.notes[-1]
    with pytest.raises(InputError, match="nominal 4 is less than two videos"):
        variety(root, RandomClasses(), frames=4, splits=2, nominal=4)


def test_too_few_videos(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 usable videos; got 0"):
        variety(folder(tmp_path / "a", 3, 9), RandomClasses(), frames=9)
    with pytest.raises(InputError, match=r"got 0.* Left out: 3 shorter than 9 frames"):
        variety(tmp_path / "a", RandomClasses(), frames=9)
    with pytest.raises(InputError, match="splits of 50000 images are empty"):
        variety(tmp_path / "a", RandomClasses(), frames=4, nominal=50_000)


@pytest.mark.slow
def test_classes_are_those_of_the_file_without_their_bias() -> None:
    network = FidelityClasses(untrained("inception-fidelity"))
    video = np.random.default_rng(0).integers(0, 256, (2, 40, 40), np.uint8)
    features = network.trunk(video[None]).astype(np.float64)
    logits = features @ network.weight.double().numpy().T
    found = network(video)
    assert found.shape == (2, 1008)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(np.diff(np.log(found)), np.diff(logits), atol=1e-3)


def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", "inception", str(folder(tmp_path / "a", 6, 20)), "--frames", "4"]
    assert main([*words, "--network", "random", "--splits", "2"]) == 0
    assert "| is | 1" in capsys.readouterr().out
    for place in ("ECHO_WEIGHTS", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(place, str(tmp_path / "empty"))
    assert main(words) == 2
    assert "get inception-2015-12-05.pt (sha256 f58cb9b6ec323ed6...;" in capsys.readouterr().err
