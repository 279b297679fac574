"""The page of `echoflow evaluate truth`: a generated heart beside the one it should have been."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echoflow.data.video import encode
from echoflow.metrics import diagrams, figures
from echoflow.metrics.page import Page, Picture, Section, Table
from echoflow.metrics.report import Report, number
from echoflow.pages.numbers import cell, every_number
from echoflow.truth import Findings
from echoflow.truth.kept import Shown
from echoflow.types import View

ANSWERS = {
    "generated": "the model",
    "reconstructed": "the truth through the A-VAE (as near as its pictures come)",
    "ignored": "the heart as it was (does not listen)",
    "frozen": "the given frame, held",
    "stranger": "another heart at the EF asked for",
    "truth": "the truth itself (error of the instruments)",
}
COLUMNS = {
    "ssim": "SSIM",
    "ssim_phase": "SSIM in phase",
    "dice": "Dice",
    "dice_es": "Dice at ES",
    "curve": "curve, % of EDV",
    "ef_mask_error": "EF by cavity",
    "ef_regressor_error": "EF by regressor",
    "rate_error": "rate, /min",
    "identity": "identity",
}
RULERS = {
    "generated_mask": "model, by its cavity",
    "generated_regressor": "model, by the regressor",
    "truth_mask": "true videos, by the cavity found",
    "truth_regressor": "true videos, by the regressor",
    "exact_mask": "true videos, by the exact cavity",
}


def page(found: Findings, reports: Sequence[Report], weights: str) -> Page:
    """Everything about `found`; `reports` are its own, with the fingerprint of the weights."""
    by_name = {report.name: report for report in reports}
    obedience, ladder = by_name["obedience"].metrics, by_name["counterfactual"].metrics
    tiles = [
        (number(obedience["generated_mask_slope"]), "slope of EF on EF asked, by the cavity"),
        (
            f"{_short(obedience['generated_regressor_mae'])} points",
            f"EF error by the regressor (its own {_short(obedience['truth_regressor_mae'])})",
        ),
        (
            _short(ladder["generated_dice_es"], 2),
            f"Dice at end-systole (finder's own {_short(ladder['truth_dice_es'], 2)})",
        ),
        (
            f"{_short(ladder['generated_rate_error'])} / min",
            f"heart rate off (a stranger's {_short(ladder['stranger_rate_error'])})",
        ),
        (
            f"{_short(100 * ladder['generated_recognised'], 0)} %",
            "recognised as the patient (true videos "
            f"{_short(100 * ladder['truth_recognised'], 0)} %)",
        ),
    ]
    sections = [
        _side_by_side(found),
        _obedience(found, by_name["obedience"]),
        _curves(found),
        _ladder(by_name["counterfactual"]),
        _beats(by_name["timing"]),
        *every_number(reports),
    ]
    return Page(
        title="Generated hearts beside the true ones",
        lead="Of a simulated patient it is known how the heart looks at any ejection fraction "
        "(EF). The model is given the end-diastolic frame and an EF, and its video is compared "
        f"with the true one: {found.asked.size} videos of {found.plan.hearts} patients that "
        "nothing was trained on.",
        tiles=tiles,
        sections=sections,
        footer=f"Weights: {weights}. Simulated hearts only; not for diagnosis.",
    )


def _short(value: float, digits: int = 1) -> str:
    """With so many digits; a dash for what is not known."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def _three(value: float) -> str:
    """With three digits; a dash for what is not known."""
    return f"{value:.3g}" if np.isfinite(value) else "-"


def _side_by_side(found: Findings) -> Section:
    views = list(dict.fromkeys(shown.view for shown in found.shown))
    return Section(
        "Side by side",
        [
            "One patient per view, from the R wave. Left the true video, in the middle the "
            "model's, right their difference: grey is equal, bright where the model is brighter.",
            "Nobody tells the model the heart rate; where beats drift apart the difference grows "
            "towards the end, and this is no error of anatomy.",
        ],
        [_film(found, view) for view in views],
    )


def _film(found: Findings, view: View) -> Picture:
    chosen = [shown for shown in found.shown if shown.view is view]
    rows = [(shown.truth, shown.generated) for shown in chosen]
    film = diagrams.comparison(rows, [_asked(shown) for shown in chosen])
    efs = ", ".join(f"{shown.asked:.0f}" for shown in chosen)
    return Picture(
        encode(film, found.fps, ".mp4"),
        f"beside-{view.name}.mp4",
        f"{view.name} at an EF of {efs} %; the heart's own is {chosen[0].own:.0f} %.",
        f"true, generated and difference videos of one heart in {view.name}",
    )


def _asked(shown: Shown) -> str:
    own = " (own)" if shown.asked == shown.own else ""
    return f"EF {shown.asked:.0f} %{own}"


def _obedience(found: Findings, report: Report) -> Section:
    names = ("r2", "mae", "slope", "bias")
    rows = [[word, *(cell(report, f"{key}_{n}") for n in names)] for key, word in RULERS.items()]
    by_cavity, by_regressor = (
        _by_view(found, found.measured("generated", f"ef_{ruler}"))
        for ruler in ("mask", "regressor")
    )
    own = report.metrics["truth_mask_mae"]
    pictures = [
        Picture(
            figures.asked_measured(by_cavity, own if np.isfinite(own) else None, "segmenter"),
            "asked-cavity.png",
            "EF asked against EF by the cavity. The band is the error on true videos.",
            "scatter of EF asked against EF measured by the cavity",
        )
    ]
    if sum(len(asked) for asked, _ in by_regressor.values()) > 1:
        pictures.append(
            Picture(
                diagrams.bland_altman(by_regressor),
                "bland-altman.png",
                "EF by the regressor against EF asked: difference over mean, with the limits "
                "between which about 95 % of videos lie.",
                "Bland-Altman plot of EF asked and EF by the regressor",
            )
        )
    return Section(
        "Does it beat as asked?",
        [
            "EF is measured in two ways that share no network: from the cavity that a segmenter "
            "finds in every frame (Simpson's disks; in the short axis a power of the area), and by "
            "a regressor that sees the video. The last rows are the rulers' own errors on true "
            "videos; a perfect model could not score better. MAE and bias in EF points.",
        ],
        pictures,
        Table(["", "R²", "MAE", "slope", "bias"], rows),
    )


def _by_view(found: Findings, measured: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    groups = {}
    for place, view in enumerate(found.plan.views):
        asked, values = found.asked[:, place].ravel(), measured[:, place].ravel()
        known = np.isfinite(values)
        groups[view.name] = asked[known], values[known]
    return groups


def _curves(found: Findings) -> Section:
    charts: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for shown in sorted(found.shown, key=lambda one: (found.plan.views.index(one.view), one.asked)):
        charts.setdefault(shown.view.name, {})[_asked(shown)] = shown.exact, shown.found
    return Section(
        "Volume through the beat",
        [
            "The same patients. Solid lines are exact; dashed lines are what the segmenter finds "
            "in the model's videos. The fall is ejection, the rise is filling.",
        ],
        [
            Picture(
                diagrams.volume_curves(charts, found.fps),
                "volumes.png",
                "Volume in percent of the largest, at every EF asked for.",
                "true and generated volume curves",
            )
        ],
    )


def _ladder(report: Report) -> Section:
    rows = [
        [word, *(_three(report.metrics.get(f"{rung}_{name}", np.nan)) for name in COLUMNS)]
        for rung, word in ANSWERS.items()
    ]
    return Section(
        "How near to the truth?",
        [
            "Six answers to the same question, at EFs that are not the patient's own. Pixels alone "
            "are a poor judge: a video that ignores the EF, or a frozen frame, can stand near the "
            "model in SSIM. The cavity and its curve tell them apart, and identity tells the "
            "patient from another one.",
            "In phase, each true frame meets the frame of the same phase of the beat. Errors of EF "
            "in points against what was asked, of the rate against the patient's. Identity is the "
            "correlation of re-identification features with the patient's own frame. Intervals "
            "are below, with every number.",
        ],
        table=Table(["answer", *COLUMNS.values()], rows),
    )


def _beats(report: Report) -> Section:
    names = {"rate": "rate, /min", "systole": "ED to ES, ms", "start": "frame 0 after ED, ms"}
    sides = {"generated": "the model", "truth": "true videos", "stranger": "other patients"}
    rows = []
    for side, who in sides.items():
        for name, what in names.items():
            spread = number(report.metrics[f"{side}_{name}_sd"])
            key = f"{side}_{name}"
            rows.append([f"{who}: {what}", cell(report, key), spread, cell(report, f"{key}_error")])
    return Section(
        "When does it beat?",
        [
            "Rate and timing are read from the volume curve. The error is against the same "
            "patient's true video; other patients show what chance would give. The model is never "
            "told the rate, so that its mean and spread should be the population's, not the "
            "patient's.",
        ],
        table=Table(["", "mean", "spread", "error"], rows),
    )
