"""Floors: halves that share no patient, reconstructions held against themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from echoflow.cli import main
from echoflow.data.manifest import Manifest, video_path
from echoflow.data.pixels import to_uint8
from echoflow.data.prepare import load_clip
from echoflow.data.video import write_video
from echoflow.evaluation import evaluate
from echoflow.floors import AVAE, REAL, as_markdown, floored, floors, halves, some
from echoflow.judges import Regressor
from echoflow.latents import Moments
from echoflow.metrics.comparison import read_reports
from echoflow.metrics.page import Page, Picture, Section
from echoflow.metrics.report import Report
from echoflow.networks.heads import EFRegressor, EFRegressorConfig
from echoflow.pages.beside import pairs_of
from echoflow.pages.numbers import write
from echoflow.pipeline import weights_print
from echoflow.types import Clip, InputError, Record, Split, View

FRAMES = 6


class Blocks:
    """A latent space without weights: means of 4 x 4 pixels."""

    def encode(self, x: Tensor) -> Moments:
        mean = avg_pool2d(x[:, None], 4)
        return Moments(mean, torch.zeros_like(mean))

    def draw(self, moments: Moments) -> Tensor:
        return moments.mean

    def decode(self, z: Tensor) -> Tensor:
        return to_uint8(z[:, 0].repeat_interleave(4, 1).repeat_interleave(4, 2))


def dataset(root: Path, n: int, prefix: str = "V", asked: bool = False) -> Manifest:
    """Noisy videos of `n // 2` patients in two views, EF rising; 112 x 112 as A-VAEs take them."""
    (root / "Videos").mkdir(parents=True)
    records, extras = [], {}
    for i in range(n):
        rng = np.random.default_rng(i)
        video = rng.integers(0, 60 + 10 * i, (FRAMES, 112, 112), np.uint8)
        uid, view = f"{prefix}{i:02d}", list(View)[i % 2]
        clip = Clip(uid, video, 16.0, view, "t", Split.TEST, f"p{i // 2}", ef=20.0 + 5 * i)
        write_video(root / video_path(uid), video, 16)
        records.append(Record.of(clip, video_path(uid)))
        extras[uid] = {"EF_requested": str(22.0 + 5 * i)} if asked else {}
    made = Manifest(root, tuple(records), extras)
    made.write()
    return made


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return dataset(tmp_path_factory.mktemp("floors") / "real", 8)


def test_halves_share_no_patient(real: Manifest) -> None:
    first, second = halves(real, seed=3)
    assert len(first.records) == len(second.records) == 4
    assert not {r.patient for r in first.records} & {r.patient for r in second.records}
    assert halves(real, seed=3)[0].records == first.records
    one = replace(real, records=real.records[:2])
    with pytest.raises(InputError, match="1 patient; two halves need at least 2"):
        halves(one)


def test_some_videos_keep_their_order(real: Manifest) -> None:
    few = some(real, 3, seed=1).records
    assert len(few) == 3
    assert [r.uid for r in few] == sorted(r.uid for r in few)
    assert some(real, 100) is real


def test_floors_of_a_report(real: Manifest, tmp_path: Path) -> None:
    def measure(one: Manifest, other: Manifest) -> Report:
        return evaluate(one, other)

    def regressor(video: Tensor) -> Tensor:
        return video.float().mean(dim=(1, 2, 3))

    space = cast(Any, Blocks())
    found = floors(measure, real, space, tmp_path, most=3, regressor=regressor)
    assert [found[name].n for name in (REAL, AVAE)] == [4, 3]
    assert found[AVAE].name == "dataset, through the A-VAE"
    assert found[AVAE].notes[0] == "through the A-VAE: 3 real videos against themselves."
    assert found[AVAE].metrics["grey_w1"] > 5  # blocks of noise are grey
    gap = found[AVAE].metrics["ef_bias"] - found[REAL].metrics["ef_bias"]
    assert abs(gap) < 1  # means are kept by blocks
    assert list(floors(measure, real, None, tmp_path)) == [REAL]
    table = as_markdown(measure(real, real), found)
    assert table.splitlines()[0].endswith("| real against real | through the A-VAE |")
    assert "| grey_w1 | 0 |" in table


def test_ef_floors_are_those_of_videos_at_the_rate_of_the_regressor(
    real: Manifest, tmp_path: Path
) -> None:
    """Trained on 3 frames at 8 Hz, it sees every second one of 6 at 16 Hz."""
    torch.manual_seed(0)
    regressor = Regressor(EFRegressor(EFRegressorConfig(frames=3, fps=8.0)).eval())
    few = replace(real, records=real.records[:2])
    clips = [load_clip(few, record) for record in few.records]
    seen = torch.from_numpy(np.stack([clip.video[::2] for clip in clips]))
    expected = regressor(seen) - torch.tensor([record.ef for record in few.records])
    space = cast(Any, Blocks())
    found = floors(evaluate, few, space, tmp_path, 2, regressor)
    assert found[REAL].metrics["ef_bias"] == pytest.approx(float(expected.mean()), abs=1e-3)
    assert "at 8 Hz" in found[REAL].notes[-1]


def test_a_floor_names_the_networks_that_measured_it(real: Manifest, tmp_path: Path) -> None:
    few = replace(real, records=real.records[:4])
    report = evaluate(few, few)
    found = floored(report, evaluate, few, 1, "nano", 0, lambda *_: None)
    networks = weights_print("nano")
    assert {floor.fingerprints["networks"] for floor in found.floors.values()} == {networks}
    floor = found.floors[AVAE]
    other = replace(floor, fingerprints={**floor.fingerprints, "networks": "others"})
    with pytest.raises(InputError, match=f"networks '{networks}' and 'others'"):
        floor.compare(other)
    without = floored(report, evaluate, few, 0, "nano", 0, lambda *_: None)
    assert "networks" not in without.floors[REAL].fingerprints


def test_broken_videos_do_not_stop_the_floors(tmp_path: Path) -> None:
    made = dataset(tmp_path / "made", 4)
    for record in made.records[:3]:
        (made.root / record.path).write_bytes(b"no video")
    alone = replace(made, records=made.records[:3])

    def measure(one: Manifest, other: Manifest) -> Report:
        return Report("few", {"x": float(len(one.records))}, len(one.records))

    space = cast(Any, Blocks())
    found = floors(measure, made, space, tmp_path / "a")
    assert found[AVAE].metrics["x"] == 1
    found = floors(measure, alone, space, tmp_path / "b", most=2)
    assert "none of the 2 videos drawn can be read" in found[AVAE].notes[0]


def test_pairs_go_by_name_or_by_view_and_ef(real: Manifest, tmp_path: Path) -> None:
    made = dataset(tmp_path / "made", 5, prefix="S")
    for pair in pairs_of(made, real):
        assert not pair.same
        assert pair.ours.view is pair.theirs.view
        assert pair.ours.ef == pair.theirs.ef
    twins = pairs_of(real, real, most=2)
    assert all(pair.same and np.array_equal(pair.ours.video, pair.theirs.video) for pair in twins)
    (made.root / made.records[0].path).unlink()
    assert len(pairs_of(made, real, most=9)) == 4


def test_the_command_writes_a_page(
    real: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = dataset(tmp_path / "made", 4, prefix="S", asked=True)
    words = ["evaluate", str(made.root), "--against", str(real.root), "--floors", "0"]
    assert main([*words, "--out", str(tmp_path / "r")]) == 0
    assert "real against real" in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:video/mp4;base64,") == 4
    assert page.count("data:image/png;base64,") == 3  # scatter, Bland-Altman, histograms
    assert "http" not in page
    assert "different hearts" in (tmp_path / "r.md").read_text()
    names = [report.name for report in read_reports(tmp_path / "r.json")]
    assert names == ["dataset", "dataset, real against real"]


def test_a_picture_of_a_page_replaces_the_former_one_as_a_whole(tmp_path: Path) -> None:
    """Who has the former file open goes on reading that one."""
    file = tmp_path / "r-files" / "a.png"
    for data in (b"former", b"new"):
        picture = Picture(data, file.name, "a", "a")
        page = Page("t", "l", (), (Section("s", (), (picture,)),), "f")
        opened = file.open("rb") if file.exists() else None
        write(tmp_path / "r", page, [])
    assert opened is not None
    with opened:
        assert opened.read() == b"former"
    assert file.read_bytes() == b"new"
