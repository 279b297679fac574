"""Distances of two datasets on disk, from the command line too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from echoflow.cli import main
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.data.video import write_video
from echoflow.distances import alike, distances, extractor
from echoflow.metrics.features import RandomFeatures
from echoflow.types import InputError


def folder(root: Path, n: int, seed: int, light: int = 0, frames: int = 5) -> Path:
    """A bare folder of `n` noisy videos."""
    root.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(n):
        video = rng.integers(light, light + 1 + rng.integers(40, 150), (frames, 32, 32), np.uint8)
        write_video(root / f"v{i:02d}.avi", video, 16)
    return root


def test_brighter_videos_are_further_away(tmp_path: Path) -> None:
    real = folder(tmp_path / "real", 12, 0)
    near, far = folder(tmp_path / "near", 12, 1), folder(tmp_path / "far", 12, 2, light=80)
    close, distant = (distances(x, real, RandomFeatures(), frames=4) for x in (near, far))
    assert distant.metrics["fd"] > 3 * close.metrics["fd"]
    assert distant.metrics["kid"] > close.metrics["kid"]
    assert close.n == 12
    wanted = {"frames": 4, "size": [32, 32], "fps": 16.0, "extractor": "random", "split": "all"}
    assert wanted.items() <= dict(close.settings).items()
    assert close.notes[0].startswith("features of a random network")
    assert "12 and 12 samples are too few for 32 features" in close.notes[1]
    assert distances(real, real, RandomFeatures(), frames=4).metrics["fd"] == pytest.approx(0)


def test_videos_left_out_are_counted(tmp_path: Path) -> None:
    real, made = folder(tmp_path / "real", 8, 0), folder(tmp_path / "made", 8, 1)
    short = np.zeros((3, 32, 32), np.uint8)
    write_video(made / "w.avi", short, 16)
    report = distances(made, real, RandomFeatures(), frames=5)
    assert report.n == 8
    assert report.notes[-1] == "8 of 9 videos of made used. Left out: 1 shorter than 5 frames."
    with pytest.raises(
        InputError, match=r"no videos to take features of.* 8 shorter than 6 frames"
    ):
        distances(real, real, RandomFeatures(), frames=6)
    (made / "x.avi").write_bytes(b"")
    broken = distances(made, real, RandomFeatures(), frames=5)
    assert broken.notes[-1].startswith("made: 1 further video is left out (empty-file 1);")
    for i in range(3):
        write_video(made / f"v{i:02d}.avi", short, 16)
    with pytest.raises(InputError, match=r"got 8 and 5.* 5 of 9 videos of made used.* 1 further"):
        distances(made, real, RandomFeatures(), frames=5)


def test_real_videos_are_brought_to_the_rate_and_size_of_the_generated(tmp_path: Path) -> None:
    made, real = folder(tmp_path / "made", 8, 1), tmp_path / "real"
    real.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):  # of three rates and two shapes, none that of the others
        video = rng.integers(0, 90, (14, 40 + 8 * (i % 2), 48), np.uint8)
        write_video(real / f"v{i}.avi", video, (25.0, 47.0, 50.0)[i % 3])
    report = distances(made, real, RandomFeatures(), frames=4)
    assert (report.settings["fps"], report.settings["size"], report.n) == (16.0, [32, 32], 8)
    assert alike(open_source(real), RandomFeatures()) == Window(16, 32.0, 112)
    assert distances(real, made, RandomFeatures(), frames=3).settings["size"] == [112, 112]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, made = folder(tmp_path / "real", 8, 0), folder(tmp_path / "made", 8, 1)
    words = ["evaluate", "distances", str(made), "--against", str(real), "--frames", "4"]
    out = ["--out", str(tmp_path / "r")]
    test = ["--extractor", "random", "--population", "--floors", "0"]
    assert main([*words, *test, *out]) == 0
    printed = capsys.readouterr().out
    assert "| fd | " in printed
    assert "Note: features of a random network" in printed
    assert "Note: real against real: not measured, since " in printed  # 4 videos in a half
    report = json.loads((tmp_path / "r.json").read_text())["reports"][0]
    assert report["settings"]["covariance"] == "population"
    assert "real against real" in (tmp_path / "r.html").read_text()
    assert main([*words, "--extractor", "i3d", "--extractor-folder", str(tmp_path)]) == 2
    assert "i3d_torchscript.pt (sha256 bec6519f66ea534e...;" in capsys.readouterr().err


def test_unknown_extractor() -> None:
    with pytest.raises(InputError, match="unknown extractor 'fid'"):
        extractor("fid")
