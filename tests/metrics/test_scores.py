"""Score files: the published row from the published scores, and what every rule takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from closed_forms import GOLDEN

from echoflow.cli import main
from echoflow.metrics.scores import Draws, report, table, to_markdown
from echoflow.types import InputError

HEADER = "FileName,GT EF,Gen EF,Ref EF,SSIM,LPIPS"
ROWS = ("a,60,50,58,0.5,0.30", "b,40,41,44,0.4,0.20", "a,60,58,57,0.6,0.25", "b,40,30,42,0.7,0.10")
POOL = GOLDEN.parent / "data" / "echodiffusion_pool" / "scores_1scm_factual.csv"


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "scores.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_published_scores_give_the_published_row() -> None:
    """EchoDiffusion table 1, 1SCM, Rec.; the other rows as recomputed from the same file."""
    if not POOL.exists():
        pytest.skip("the published scores are not beside this checkout")
    rows = table(Draws.read(POOL), resamples=10)
    printed = {key: [f"{v:.2f}" for v in row.values.values()] for key, row in rows.items()}
    assert printed["published"] == ["0.76", "4.51", "6.07", "0.53", "0.21"]
    assert printed["selected"] == ["0.76", "4.51", "6.07", "0.51", "0.22"]
    single = [0.4515, 7.3914, 9.1129, 0.5088, 0.2253]
    np.testing.assert_allclose(list(rows["single"].values.values()), single, atol=6e-5)
    assert (rows["published"].clips, rows["single"].clips) == (1288, 3864)


def test_every_rule_by_hand(tmp_path: Path) -> None:
    rows = table(Draws.read(written(tmp_path, *ROWS)), resamples=10)
    best, chosen, single, real = (
        rows[k].values for k in ("published", "selected", "single", "real")
    )
    assert best["mae"] == chosen["mae"] == pytest.approx(1.5)  # errors of -2 and 1
    assert best["rmse"] == pytest.approx(np.sqrt(2.5))
    assert best["r2"] == pytest.approx(1 - 5 / 200)
    assert (best["ssim"], best["lpips"]) == (pytest.approx(0.65), pytest.approx(0.175))
    assert (chosen["ssim"], chosen["lpips"]) == (pytest.approx(0.5), pytest.approx(0.225))
    assert single["mae"] == pytest.approx((10 + 1 + 2 + 10) / 4)
    assert (single["ssim"], single["lpips"]) == (pytest.approx(0.55), pytest.approx(0.2125))
    assert real["mae"] == pytest.approx((2 + 4 + 3 + 2) / 4)
    assert np.isnan(real["ssim"])
    assert (rows["published"].clips, rows["single"].clips) == (2, 4)


def test_an_ef_of_0_may_be_met_by_less_than_1(tmp_path: Path) -> None:
    draws = Draws.read(written(tmp_path, "a,0,0.7,40,0.5,0.3", "a,0,0.2,40,0.5,0.3"))
    assert table(draws, resamples=10)["single"].values["mae"] == pytest.approx(0.45)


def test_videos_may_have_other_numbers_of_draws(tmp_path: Path) -> None:
    found, rows = report(written(tmp_path, *ROWS, "c,50,45,50,0.2,0.4"), resamples=10)
    assert found.settings["draws"] == [1, 2]
    assert [row.clips for row in rows] == [3, 3, 5, 5]
    assert found.metrics["published_mae"] == pytest.approx((2 + 1 + 5) / 3)
    assert found.metrics["single_ssim"] == pytest.approx((0.5 + 0.4 + 0.6 + 0.7 + 0.2) / 5)


def test_one_draw_each_makes_all_rules_equal(tmp_path: Path) -> None:
    rows = table(Draws.read(written(tmp_path, *ROWS[:2])), resamples=20)
    assert rows["published"].values == rows["selected"].values == rows["single"].values
    assert rows["published"].intervals == rows["single"].intervals


def test_intervals_come_from_videos_and_seeds_repeat(tmp_path: Path) -> None:
    """Draws of one video are no independent evidence: copies of a draw leave intervals alone."""
    rng = np.random.default_rng(0)
    rows = [
        f"v{i},{ef:.3f},{ef + e:.3f},50,0.5,0.2"
        for i, (ef, e) in enumerate(zip(rng.uniform(20, 70, 40), rng.normal(0, 5, 40), strict=True))
    ]
    once = report(written(tmp_path, *rows), 200, seed=1)[0].metrics
    thrice = report(written(tmp_path, *(rows * 3)), 200, seed=1)[0].metrics
    for name in ("single_mae_low", "single_mae_high", "single_r2_low", "published_rmse_high"):
        assert thrice[name] == pytest.approx(once[name])
    assert once["single_mae_low"] < once["single_mae"] < once["single_mae_high"]
    assert once != report(written(tmp_path, *rows), 200, seed=2)[0].metrics


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, *ROWS)
    assert main(["evaluate", "scores", str(path), "--out", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr().out
    assert "| published rule, best of 2 | 2 | 0.97 [" in printed
    assert "| single draw | 4 |" in printed
    assert "2 videos, 2 draws each" in printed
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved["metrics"]["published_mae"] == pytest.approx(1.5)
    assert saved["settings"]["interval"]["of"] == "videos"
    assert printed in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize(
    ("rows", "header", "sentence"),
    [
        ((), HEADER, "has no rows"),
        (ROWS, HEADER.replace("LPIPS", "LPIP"), "lacks the column LPIPS; it has FileName, GT EF"),
        (ROWS, HEADER.replace(",", ";"), "separated by commas"),
        (("a,60,nan,58,0.5,0.3",), HEADER, "line 2: Gen EF must be a number; got 'nan'"),
        ((ROWS[0], "b,40,41"), HEADER, "line 3: Ref EF must be a number; got ''"),
        ((",40,41,44,0.4,0.2",), HEADER, "line 2: FileName is empty"),
        (("a,.6,.5,.5,.5,.3", "b,.4,.4,.4,.5,.3"), HEADER, "GT EF is 0.6; EFs are percentages"),
        (("a,.6,.5,.5,.5,.3",), HEADER, "GT EF is 0.6; EFs are percentages"),
        (("a,60,.5,50,.5,.3", "b,40,.4,40,.5,.3"), HEADER, "Gen EF is 0.5; EFs are percentages"),
        (("a,60,50,.5,.5,.3", "b,40,40,.4,.5,.3"), HEADER, "Ref EF is 0.5; EFs are percentages"),
        ((*ROWS, "c,.55,55,55,.5,.3"), HEADER, "a GT EF of c is 0.55, others are percentages"),
        (("a,-3,50,58,0.5,0.3",), HEADER, "line 2: GT EF -3 is not between 0 and 100"),
        (("a,60,6444273,58,0.5,0.3",), HEADER, "Gen EF 6.44427e.06 is not between"),
        (("a,60,50,58,50,0.3",), HEADER, "line 2: SSIM 50 is not between -1 and 1"),
        (("a,60,50,58,0.5,-0.3",), HEADER, "line 2: LPIPS -0.3 is not between"),
        (("a,60,0,50,5,58,0,0,5,0,3",), HEADER, "line 2 has more cells than the header"),
        ((), f"{HEADER},GT EF", "has the column GT EF twice"),
    ],
)
def test_refusals(
    rows: tuple[str, ...], header: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = written(tmp_path, *rows, header=header)
    with pytest.raises(InputError, match=sentence):
        Draws.read(path)
    assert main(["evaluate", "scores", str(path)]) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_draws_that_differ_in_number_and_copied_rows_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(written(tmp_path, *ROWS), 10)[0].notes == ()
    path = written(tmp_path, *ROWS, ROWS[0], header=HEADER.replace(",", " , "))
    assert main(["evaluate", "scores", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "| published rule, best of 2 or 3 | 2 |" in printed
    assert "Note: videos by their draws: 1 of 3, 1 of 2;" in printed
    assert "Note: 1 of 5 rows repeat another of their video in every number" in printed
    assert "'resamples': 1000, 'of': 'videos', 'seed': 0}, scores sha256 " in printed


def test_a_single_video_has_no_interval(tmp_path: Path) -> None:
    found, rows = report(written(tmp_path, ROWS[0]), 10)
    assert np.isnan(found.metrics["single_mae_low"])
    assert "| single draw | 1 | - | 10.00 | 10.00 | 0.50 | 0.30 |" in to_markdown(rows)


def test_a_file_without_lpips(tmp_path: Path) -> None:
    bare = [row.rsplit(",", 1)[0] + "," for row in ROWS]
    rows = table(Draws.read(written(tmp_path, *bare)), resamples=10)
    full = table(Draws.read(written(tmp_path, *ROWS)), resamples=10)
    for key, row in rows.items():
        assert np.isnan(row.values["lpips"])
        assert row.values["mae"] == full[key].values["mae"]
        np.testing.assert_equal(row.values["ssim"], full[key].values["ssim"])
    with pytest.raises(InputError, match="LPIPS is empty in 1 of 4 rows"):
        Draws.read(written(tmp_path, *ROWS[:3], bare[3]))
