"""No number without what it depends on: n, seed, interval, network, frames, rate, size, split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from echoflow.data.sources import open_source
from echoflow.data.video import write_video
from echoflow.distances import distances
from echoflow.evaluation import evaluate
from echoflow.metrics.features import RandomFeatures
from echoflow.metrics.report import Report
from echoflow.pairs import pairs
from echoflow.variety import RandomClasses, variety

ALWAYS = {"seed", "interval", "split", "frames", "fps", "size"}
NETWORK = {"extractor", "extractor_sha256"}
# spreads, and parts or other readings of a number beside them that has an interval
WITHOUT = {"kid_std", "fd_means", "is_std", "psnr_of_mean"}

MEASURES: dict[str, tuple[Callable[[Path, Path], Report], set[str]]] = {
    "dataset": (evaluate, set()),
    "distances": (lambda a, b: distances(a, b, RandomFeatures(), frames=4), NETWORK),
    "pairs": (
        lambda a, b: pairs(open_source(a), open_source(b)),
        {"lpips", "lpips_sha256", "every"},
    ),
    "inception": (lambda a, b: variety(a, RandomClasses(), 4, splits=2), NETWORK | {"splits"}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of eight noisy videos each."""
    root, rng = tmp_path_factory.mktemp("folders"), np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(8):
            video = rng.integers(0, 60 + 20 * i, (4, 32, 32), np.uint8)
            write_video(root / name / f"v{i}.avi", video, 16)
    return root / "a", root / "b"


@pytest.mark.parametrize("name", MEASURES)
def test_every_number_carries_what_it_depends_on(name: str, folders: tuple[Path, Path]) -> None:
    measure, more = MEASURES[name]
    report = measure(*folders)
    assert report.n == 8
    assert ALWAYS | more <= report.settings.keys()
    assert report.fingerprints
    bare = {metric for metric in report.names() if report.interval(metric) is None}
    assert bare <= WITHOUT
    for metric in set(report.names()) - bare:
        low, high = report.interval(metric) or (0, 0)
        assert low <= report.metrics[metric] <= high
