"""Two sets of features into one report: labels, intervals, notes and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echoflow.metrics.distribution import distribution
from echoflow.metrics.features import Features, Identity
from echoflow.metrics.report import Report
from echoflow.types import InputError

NET = Identity("net", "ab" * 32)
SETTINGS = {"frames": 16, "size": [112, 112], "fps": 8.0}
NAMES = ("fd", "mmd", "precision", "recall", "density", "coverage")


def features(n: int, shift: float = 0.0, seed: int = 0, d: int = 4) -> Features:
    values = np.random.default_rng(seed).normal(shift, 1.0, (n, d))
    return Features(values, n, NET, SETTINGS)


def test_intervals_hold_the_value_and_a_shift_shows() -> None:
    same, moved = (distribution(features(120), features(100, s, 1)) for s in (0.0, 0.7))
    for name in NAMES:
        low, high = same.metrics[f"{name}_low"], same.metrics[f"{name}_high"]
        assert low <= same.metrics[name] <= high
    assert moved.metrics["fd"] == pytest.approx(4 * 0.7**2, rel=0.4)
    assert moved.metrics["fd_low"] > same.metrics["fd_high"]
    assert moved.metrics["kid"] > same.metrics["kid"]
    assert moved.metrics["coverage"] < same.metrics["coverage"]


def test_the_report_says_all_that_it_depends_on() -> None:
    report = distribution(features(40), features(30, seed=1), seed=3)
    assert report.n == 30
    wanted = {"extractor": "net", "extractor_sha256": NET.sha256, "samples": [40, 30], "fps": 8.0}
    assert wanted.items() <= dict(report.settings).items()
    assert "KID subsets hold 30 samples instead of 1000" in report.notes[-1]
    again = Report.from_json(report.to_json())
    assert again.notes == report.notes
    assert again.compare(report)["fd"] == 0
    assert distribution(features(40), features(30, seed=1), seed=3).to_json() == report.to_json()


def test_interval_of_the_frechet_distance_is_as_wide_as_it_varies() -> None:
    drawn = [distribution(features(80, 0.5, 2 * s), features(80, 0, 2 * s + 1)) for s in range(12)]
    values = [report.metrics["fd"] for report in drawn]
    widths = [report.metrics["fd_high"] - report.metrics["fd_low"] for report in drawn]
    assert np.mean(widths) == pytest.approx(2 * 1.83 * np.std(values, ddof=1), rel=0.5)


def test_few_samples_and_test_extractors_are_told() -> None:
    toy = replace(features(9, d=12), extractor=Identity("toy", "00", "a test"))
    report = distribution(toy, replace(toy, values=toy.values + 1))
    assert report.notes[0] == "a test"
    assert "9 and 9 samples are too few for 12 features" in report.notes[1]


def test_frames_of_a_video_are_left_out_together() -> None:
    """Every frame ten times tells nothing new, so the interval must not shrink."""
    a, b = features(40), features(40, 0.6, 1)

    def filmed(still: Features) -> Features:
        return replace(still, values=np.repeat(still.values, 10, axis=0))

    once = distribution(a, b, "population").metrics
    often = distribution(filmed(a), filmed(b), "population").metrics
    assert often["fd"] == pytest.approx(once["fd"])
    for end in ("fd_low", "fd_high"):
        assert often[end] == pytest.approx(once[end])


def test_refusals() -> None:
    a = features(20)
    with pytest.raises(InputError, match=r"compared: fps 8.0 and 32.0\. Prepare"):
        distribution(a, replace(a, settings={**SETTINGS, "fps": 32.0}))
    with pytest.raises(InputError, match="extractor 'net' and 'other'"):
        distribution(a, replace(a, extractor=Identity("other", NET.sha256)))
    with pytest.raises(InputError, match="at least 7 samples; got 20 and 5"):
        distribution(a, features(5))
    bad = a.values.copy()
    bad[3, 1] = np.nan
    with pytest.raises(InputError, match="1 of 20 feature rows hold NaN"):
        distribution(a, replace(a, values=bad))
