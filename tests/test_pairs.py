"""Two datasets video by video, from the command line too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoflow.cli import main
from echoflow.data.sources import open_source
from echoflow.data.video import read_gray, write_video
from echoflow.metrics.comparison import read_reports
from echoflow.metrics.image import psnr, ssim
from echoflow.pairs import pairs
from echoflow.types import InputError


def films(root: Path, change: int = 0, n: int = 4, frames: int = 6, side: int = 32) -> Path:
    """`n` videos, the same in every folder but for `change` grey levels."""
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        video = rng.integers(60, 160, (frames, side, side), np.uint8)
        write_video(root / f"v{i}.avi", video + np.uint8(change), 16)
    return root


def test_scores_are_means_over_frames_then_over_videos(tmp_path: Path) -> None:
    a, b = films(tmp_path / "a"), films(tmp_path / "b", 9)
    report = pairs(open_source(b), open_source(a))
    frames = [[read_gray(root / f"v{i}.avi")[0] for root in (a, b)] for i in range(4)]
    assert report.metrics["psnr"] == pytest.approx(np.mean([psnr(x, y).mean() for x, y in frames]))
    assert report.metrics["ssim"] == pytest.approx(np.mean([ssim(x, y).mean() for x, y in frames]))
    assert report.metrics["psnr_low"] <= report.metrics["psnr"] <= report.metrics["psnr_high"]
    assert (report.n, report.settings["frames"], report.settings["lpips"]) == (4, [6], None)
    same = pairs(open_source(a), open_source(a), every=5)
    assert same.metrics["mae"] == 0
    assert same.metrics["psnr"] == np.inf


def test_partners_are_found_by_name_and_counted(tmp_path: Path) -> None:
    a, b = films(tmp_path / "a"), films(tmp_path / "b", 3, n=5)
    write_video(b / "v0.avi", np.zeros((7, 32, 32), np.uint8), 16)
    report = pairs(open_source(b), open_source(a))
    assert report.n == 3
    assert report.notes == (
        "4 of 5 videos have a partner of their name.",
        "Left out of 4 pairs: 1 of two shapes.",
    )
    for i in range(4):
        video = np.zeros((5 + i, 32, 32), np.uint8)
        write_video(a / f"v{i}.avi", video, 16)
        write_video(b / f"v{i}.avi", video, 16)
    assert pairs(open_source(b), open_source(a)).settings["frames"] == [5, 6, 7, 8]
    (tmp_path / "c").mkdir()
    write_video(tmp_path / "c" / "other.avi", np.zeros((7, 32, 32), np.uint8), 16)
    with pytest.raises(InputError, match=r"no two videos have one name \(such as other and v0\)"):
        pairs(open_source(tmp_path / "c"), open_source(a))


def test_small_pictures_and_damaged_files_are_counted(tmp_path: Path) -> None:
    a, b = films(tmp_path / "a"), films(tmp_path / "b", 3)
    for root in (a, b):
        write_video(root / "v0.avi", np.zeros((6, 8, 8), np.uint8), 16)
    write_video(a / "w.avi", np.zeros((6, 32, 32), np.uint8), 16)
    (b / "x.avi").write_bytes(b"no video")
    report = pairs(open_source(b), open_source(a))
    assert report.n == 3
    assert report.notes[:2] == (
        "4 of 5 recordings have a partner of their name.",
        "Left out of 4 pairs: 1 below 11 pixels a side.",
    )
    assert report.notes[2].startswith("b: 1 further video is left out (unreadable 1)")
    low, high = report.interval("psnr_of_mean") or (0, 0)
    assert low <= report.metrics["psnr_of_mean"] <= high


def test_the_floor_is_the_autoencoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = films(tmp_path / "a", side=112), films(tmp_path / "b", 9, side=112)
    words = ["evaluate", "pairs", str(b), "--against", str(a), "--lpips", "none"]
    assert main([*words, "--floors", "2", "--out", str(tmp_path / "r")]) == 0
    assert "| through the A-VAE |" in capsys.readouterr().out
    report, floor = read_reports(tmp_path / "r.json")
    assert (report.n, floor.n) == (4, 2)
    assert floor.metrics["psnr"] < 25 < report.metrics["psnr"]  # it never saw noise
    assert "real against real" not in (tmp_path / "r.html").read_text()


def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = films(tmp_path / "a"), films(tmp_path / "b", 9)
    words = ["evaluate", "pairs", str(b), "--against", str(a)]
    assert main([*words, "--lpips", "none", "--floors", "0", "--out", str(tmp_path / "r")]) == 0
    assert "| ssim | 0." in capsys.readouterr().out
    assert (tmp_path / "r.json").is_file()
    for place in ("ECHO_WEIGHTS", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(place, str(tmp_path / "empty"))
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "the network vgg16 is not on this machine: get vgg16-397923af.pth" in told
    assert "--lpips none" in told
