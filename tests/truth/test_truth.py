"""Phantom truth: a model that knows the answer is as good as the instruments, others are not."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from oracle import FPS, FRAMES, PLAN, Oracle

from echoflow.metrics.comparison import read_reports
from echoflow.metrics.report import Report
from echoflow.metrics.rhythm import rhythm
from echoflow.pages.numbers import write
from echoflow.pages.truth import page
from echoflow.truth import RUNGS, Case, Findings, Kept, TruthPlan, examine
from echoflow.truth.cases import Video, cases
from echoflow.truth.scores import Beating, aligned, relative_volumes
from echoflow.types import InputError, View


@pytest.fixture(scope="module")
def asked() -> list[Case]:
    return list(cases(PLAN, FRAMES, FPS))


@pytest.fixture(scope="module")
def found(asked: list[Case]) -> Findings:
    """Heart 0 is answered with the truth, heart 1 with itself as it was."""

    def answer(case: Case) -> Video:
        return case.video if case.heart == 0 else case.before.clip.video[1:]

    return examine(Oracle.that_answers(answer, asked), PLAN)


@pytest.fixture(scope="module")
def reports(found: Findings) -> dict[str, Report]:
    return {report.name: report for report in found.reports()}


def test_a_case_is_one_patient_at_two_efs(asked: list[Case]) -> None:
    assert len(asked) == len(PLAN) == 4
    own, other = asked[:2]
    assert own.factual
    assert not other.factual
    assert np.array_equal(own.anatomy, other.anatomy)  # end-diastole knows nothing of the EF
    assert np.array_equal(own.video, own.before.clip.video[1:])
    assert not np.array_equal(other.video, other.before.clip.video[1:])
    assert other.truth.truth.ef == 60
    assert other.stranger.truth.ef == 60
    assert other.stranger.truth.patient != other.truth.truth.patient
    assert own.seed == other.seed != asked[2].seed


def test_who_knows_the_answer_scores_as_the_truth_does(found: Findings) -> None:
    for name, values in found.scores["generated"].items():
        assert np.array_equal(values[0], found.scores["truth"][name][0], equal_nan=True), name
    made = {name: values[0] for name, values in found.scores["generated"].items()}
    for name in ("ssim", "ssim_phase", "dice", "dice_phase", "dice_es", "recognised"):
        assert np.all(made[name] == 1), name
    assert np.all(made["mae"] == 0)
    assert np.all(made["curve"] == 0)
    for name in ("rate", "systole", "start"):
        assert np.all(found.error("generated", name)[0] == 0), name
    assert found.error("generated", "ef_mask")[0].max() < 4


def test_who_does_not_listen_is_found_out(found: Findings, reports: dict[str, Report]) -> None:
    for name, values in found.scores["generated"].items():
        assert np.array_equal(values[1], found.scores["ignored"][name][1], equal_nan=True), name
    measured = found.measured("generated", "ef_mask")
    assert np.diff(measured[0, 0]) > 20
    assert np.diff(measured[1, 0]) == 0
    obedience = reports["obedience"].metrics
    assert obedience["exact_mask_mae"] < 4
    assert obedience["truth_mask_slope"] > 0.9 > obedience["generated_mask_slope"]


def test_the_ladder_is_in_order(reports: dict[str, Report]) -> None:
    ladder = reports["counterfactual"].metrics
    assert ladder["reconstructed_ssim"] < ladder["generated_ssim"] < 1
    assert ladder["ignored_ssim"] > ladder["stranger_ssim"]
    assert ladder["ignored_dice_es"] < ladder["truth_dice_es"] == 1
    assert ladder["truth_identity"] > ladder["stranger_identity"]
    assert np.isnan(ladder["frozen_rate_error"])  # nothing beats
    assert "truth_psnr" not in ladder  # infinite


def test_reports_carry_what_they_depend_on(reports: dict[str, Report]) -> None:
    assert [reports[name].n for name in ("factual", "counterfactual", "obedience")] == [2, 2, 4]
    for report in reports.values():
        assert report.settings["hearts"] == 2
        assert report.settings["fps"] == FPS
        assert "too narrow" in report.notes[0]
        assert Report.from_json(report.to_json()).settings == report.settings
    ladder = reports["counterfactual"].metrics
    low, value, high = (ladder[f"stranger_ssim{end}"] for end in ("_low", "", "_high"))
    assert low <= value <= high


def test_what_is_shown_is_the_first_heart(found: Findings) -> None:
    assert [shown.asked for shown in found.shown] == [found.asked[0, 0, 0], 60.0]
    assert found.shown[0].generated.shape == (FRAMES, 112, 112)


def test_frames_meet_in_phase() -> None:
    time = np.arange(32) / 16
    masks = np.zeros((32, 8, 8), bool)

    def beating(rate: float) -> Beating:
        curve = 0.8 + 0.2 * np.cos(2 * np.pi * rate / 60 * time)
        return Beating(masks, curve, rhythm(curve, 16.0))

    fast, slow = beating(90), beating(60)
    phase = aligned(fast, slow, 16.0)
    assert phase is not None
    assert np.abs(fast.volumes[phase] - slow.volumes).max() < 0.07
    assert np.abs(fast.volumes - slow.volumes).max() > 0.3
    itself = aligned(slow, slow, 16.0)
    assert itself is not None
    assert np.array_equal(itself, np.arange(32))
    assert aligned(Beating.of(masks, View.A4C, 16.0), slow, 16.0) is None


@pytest.mark.parametrize("view", View)
def test_volumes_of_a_shrinking_disc(view: View) -> None:
    y, x = np.mgrid[:64, :64] - 31.5
    masks = np.stack([np.hypot(x, y) < r for r in (24.0, 18.0)] + [np.zeros((64, 64), bool)])
    found = relative_volumes(masks, view)
    power = 2.44 if view is View.PSAX else 3
    assert found[0] == 1
    assert found[1] == pytest.approx(0.75**power, abs=0.01)
    assert np.isnan(found[2])
    assert np.isnan(relative_volumes(masks[2:], view)).all()


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        ("hearts must be at least 2", {"hearts": 1}),
        ("at least one view and one EF", {"efs": ()}),
        ("Multiply a fraction", {"efs": (0.4,)}),
        ("in \\[5, 85\\]: 95", {"efs": (95.0,)}),
    ],
)
def test_plans_that_cannot_be_answered(words: str, plan: dict) -> None:
    with pytest.raises(InputError, match=words):
        TruthPlan(**plan)


def test_every_rung_is_scored(found: Findings) -> None:
    assert set(found.scores) == set(RUNGS)


def test_the_page_shows_both_and_says_where_numbers_come_from(
    found: Findings, reports: dict[str, Report], tmp_path: Path
) -> None:
    told = page(found, list(reports.values()), "tiny")
    html, text, numbers = write(tmp_path / "truth", told, list(reports.values()))
    assert html.read_text().count("data:video/mp4;base64,") == 1
    assert html.read_text().count("data:image/png;base64,") == 3
    assert "http" not in html.read_text().replace("http-equiv", "")
    words = text.read_text()
    for file in ("beside-A4C.mp4", "volumes.png", "bland-altman.png"):
        assert f"](truth-files/{file})" in words
        assert (tmp_path / "truth-files" / file).is_file()
    for name in ("obedience", "counterfactual", "factual", "timing"):
        assert f"Every number: {name}" in words
    assert "nan" not in words
    assert {report.name for report in read_reports(numbers)} == set(reports)


def test_an_examination_goes_on_where_it_stopped(
    asked: list[Case], found: Findings, tmp_path: Path
) -> None:
    def answer(case: Case) -> Video:
        return case.video if case.heart == 0 else case.before.clip.video[1:]

    begin = partial(Kept.begin, tmp_path / "part")
    with pytest.raises(ValueError, match="is not in list"):  # it does not know the last case
        examine(Oracle.that_answers(answer, asked[:3]), PLAN, kept=begin({"weights": "a"}))
    kept = begin({"weights": "a"})
    assert len(kept.read()) == 3
    again = examine(Oracle.that_answers(answer, asked[3:]), PLAN, kept=kept)  # knows no other
    for rung, scores in found.scores.items():
        for name, values in scores.items():
            assert np.array_equal(again.scores[rung][name], values, equal_nan=True), (rung, name)
    assert [r.to_json() for r in again.reports()] == [r.to_json() for r in found.reports()]
    for ours, theirs in zip(again.shown, found.shown, strict=True):
        assert np.array_equal(ours.generated, theirs.generated)
        assert np.array_equal(ours.exact, theirs.exact)
        assert ours.view is theirs.view
    with pytest.raises(InputError, match=r"another examination \(not the same: weights"):
        begin({"weights": "b"})
    kept.remove()
    assert not list(tmp_path.iterdir())
