"""The words and pictures of the quickstart page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoflow.data.video import encode
from echoflow.metrics import figures
from echoflow.metrics.cavity import end_systole
from echoflow.metrics.clinical import Regression, regression
from echoflow.metrics.page import Page, Picture, Section, Table
from echoflow.metrics.report import number
from echoflow.privacy import rejection_rate
from echoflow.quickstart.evidence import Findings
from echoflow.types import View


@dataclass(frozen=True)
class Run:
    """How the page came about."""

    weights: str
    seconds: Mapping[str, float]


def pictures(found: Findings) -> dict[str, bytes]:
    """Every picture and video of the page, by file name."""
    fps = found.made.twins[0].fps
    return {
        "mosaic.mp4": encode(mosaic(found), fps, ".mp4"),
        "sweep.mp4": encode(sweep_rows(found, 2), fps, ".mp4"),
        "sweep.gif": encode(sweep_rows(found, 1), fps, ".gif"),
        "contact_sheet.png": contact_sheet(found),
        "area_curves.png": area_curves(found),
        "beat.png": beat(found),
        "asked_measured.png": figures.asked_measured(by_view(found), found.floor.metrics["ef_mae"]),
        "similarities.png": similarities(found),
    }


def by_view(found: Findings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Asked and measured EF of every view."""
    views = np.array(found.made.views)
    present = [view for view in View if (views == view).any()]
    return {v.name: (found.asked[views == v], found.measured[views == v]) for v in present}


def sweep_rows(found: Findings, scale: int) -> np.ndarray:
    """The sweep, `scale` times enlarged: a row per heart, EF rising from left to right."""
    words = "{:.0f} > {:.0f} %" if scale == 1 else "asked {:.0f} %, measured {:.0f} %"
    rows = []
    for videos, measured in zip(found.swept.videos, found.swept.measured, strict=True):
        triples = zip(videos, found.swept.asked, measured, strict=True)
        tiles = [figures.captioned(v, words.format(a, m), scale) for v, a, m in triples]
        rows.append(figures.side_by_side(tiles))
    return np.concatenate(rows, axis=1)


def area_curves(found: Findings) -> bytes:
    """Cavity area through the beat at every EF of the sweep, a panel per heart."""
    panels = {}
    for heart, videos in zip(found.hearts, found.swept.videos, strict=True):
        pairs = zip(found.swept.asked, videos, strict=True)
        panels[heart.view.name] = {
            f"{ef:.0f} %": found.finder(video, heart.mask).sum(axis=(1, 2)) for ef, video in pairs
        }
    return figures.area_curves(panels, found.made.twins[0].fps)


def mosaic(found: Findings) -> np.ndarray:
    """All videos of the dataset playing at once, a row per view."""
    views = np.array(found.made.views)
    rows = [found.made.videos[views == view] for view in View if (views == view).any()]
    shortest = min(len(row) for row in rows)
    wide = [figures.side_by_side(list(row[:shortest]), gap=2) for row in rows]
    bar = np.zeros((wide[0].shape[0], 2, wide[0].shape[2]), np.uint8)
    return np.concatenate([part for row in wide for part in (bar, row)][1:], axis=1)


def contact_sheet(found: Findings) -> bytes:
    """End-diastole (frame 0) above end-systole (least cavity) for every video."""
    made = found.made
    rows, names = [], []
    titles: list[list[str]] = []
    for view in [v for v in View if v in made.views]:
        index = [i for i, other in enumerate(made.views) if other is view]
        rows.append([made.videos[i][0] for i in index])
        found_es = [end_systole(found.finder(made.videos[i], made.masks[i])) for i in index]
        rows.append([made.videos[i][es] for i, es in zip(index, found_es, strict=True)])
        names += [f"{view.name}  ED", "ES"]
        asked = [f"{found.asked[i]:.0f} → {found.measured[i]:.0f} %" for i in index]
        titles += [asked, []]
    return figures.contact_sheet(rows, names, titles)


def beat(found: Findings, columns: int = 12) -> bytes:
    """One beat of one heart per view, and of its phantom twin, in equal steps of time."""
    made = found.made
    frames = np.linspace(0, made.videos.shape[1] // 2, columns).round().astype(int)
    rows, names = [], []
    for view in [v for v in View if v in made.views]:
        index = max(
            (i for i, other in enumerate(made.views) if other is view),
            key=lambda i: -abs(found.asked[i] - 60),
        )
        rows += [list(made.videos[index][frames]), list(made.twins[index].video[1:][frames])]
        names += [view.name, "phantom"]
    times = [f"{frame / made.twins[0].fps:.2f} s" for frame in frames]
    return figures.contact_sheet(rows, names, [times, *([] for _ in rows[1:])])


def similarities(found: Findings) -> bytes:
    """Similarities of kept, rejected and unseen anatomies, with the thresholds."""
    made = found.made
    groups = {
        "kept": [float(score) for score in made.column("ReIdScore")],
        "rejected": list(made.rejected),
        "unseen phantom hearts": [v.similarity for v in found.unseen],
    }
    return figures.similarities(groups, found.taus)


def page(found: Findings, images: Mapping[str, bytes], run: Run) -> Page:
    """The page: what was made, whether it obeys, whether it is private, how it looks."""
    obeyed, floor = found.obeyed, found.floor.metrics["ef_mae"]
    tiles = [
        (str(len(found.asked)), "filtered videos, three views"),
        (f"{obeyed.mae:.1f} points", f"mean EF error (regressor alone {floor:.1f})"),
        (f"{obeyed.r2:.2f}", "R² of EF measured on EF asked"),
        (str(len(found.made.rejected)), "anatomies rejected as too similar"),
        (f"{sum(run.seconds.values()):.0f} s", "from start to this page"),
    ]
    sections = [
        _dataset(found, images),
        _sweep(found, images),
        _obedience(found, images),
        _privacy(found, images),
        _looks(found, images),
        _reuse(run),
    ]
    return Page(
        title="EchoFlow quickstart",
        lead="A synthetic echocardiogram dataset, made on this machine from shipped weights: "
        "hearts that nobody has, beating with the ejection fraction (EF) they were asked for.",
        tiles=tiles,
        sections=sections,
        footer=f"Weights: {run.weights}. Every number was measured in this run; the phantom "
        "hearts beside the synthetic ones were never used for training. "
        "Not for diagnosis.",
    )


def _picture(images: Mapping[str, bytes], file: str, caption: str, alt: str) -> Picture:
    return Picture(images[file], file, caption, alt)


def _dataset(found: Findings, images: Mapping[str, bytes]) -> Section:
    start = ""
    if found.warped:
        start = (
            " It did not begin with noise alone, but with the anatomy warped until it beat with "
            "that EF, and then half drowned in noise."
        )
    return Section(
        "The dataset",
        [
            "Each heart began as a mask of the left-ventricular cavity. The image model painted an "
            "anatomy round it, the privacy filter judged the anatomy, the video model made it beat "
            f"at the requested EF, and a regressor measured the EF of the result.{start} The "
            "folder `dataset` has the layout of EchoNet-Dynamic, so its tools read it as it is.",
        ],
        [
            _picture(
                images,
                "mosaic.mp4",
                "All videos at once; a row per view (apical four-chamber, parasternal short axis, "
                "parasternal long axis). Frame 0 is end-diastole in every video, so the hearts "
                "contract together.",
                "all synthetic videos playing in a grid",
            ),
            _picture(
                images,
                "contact_sheet.png",
                "Each video at frame 0, end-diastole (ED), and at its smallest cavity (ES). The "
                "title reads EF asked → EF measured. High EFs should show the larger difference "
                "between the two rows.",
                "end-diastolic and end-systolic frames of all videos",
            ),
        ],
    )


def _sweep(found: Findings, images: Mapping[str, bytes]) -> Section:
    swept = found.swept
    rows = [
        [f"{asked:.0f}", *(f"{m:.1f}" for m in swept.measured[:, i])]
        for i, asked in enumerate(swept.asked)
    ]
    return Section(
        "One heart, five ejection fractions",
        [
            "In each row the anatomy and the noise are the same in every column and only the EF "
            "differs, so whatever changes is due to it. From left to right the cavity should "
            "empty more. The table holds the EF measured in each of these videos.",
        ],
        [
            _picture(
                images,
                "sweep.mp4",
                "An EF sweep of one heart per view; also in the folder as `sweep.gif`.",
                "the same hearts beating at rising ejection fractions",
            ),
            _picture(
                images,
                "area_curves.png",
                "Cavity area in the same videos, in percent of its largest, found by the "
                "segmenter. The curves should fan out in the order of the EF; the "
                "fall is ejection, the rise is filling.",
                "cavity area against time for every ejection fraction",
            ),
        ],
        Table(["EF asked (%)", *(heart.view.name for heart in found.hearts)], rows),
    )


def _obedience(found: Findings, images: Mapping[str, bytes]) -> Section:
    floor = found.floor.metrics
    rows = [_score_row("all", found.obeyed, floor, "ef_")]
    parts = by_view(found)
    for name, (asked, measured) in parts.items():
        prefix = f"ef_{name}_" if len(parts) > 1 else "ef_"
        rows.append(_score_row(name, regression(asked, measured), floor, prefix))
    header = ["view", "n", "R²", "MAE", "slope", "bias", "regressor R²", "regressor MAE"]
    return Section(
        "Does the heart beat as asked?",
        [
            "Single draws: every video counts, none was chosen. The regressor is a ruler with an "
            "error of its own, measured on phantom hearts of exactly known EF that match the "
            "videos one to one; a perfect generator could not score better than the last columns. "
            "MAE and bias are in EF points; slope 1 obeys and slope 0 ignores.",
        ],
        [
            _picture(
                images,
                "asked_measured.png",
                "EF asked against EF measured. On the line is obedience; the grey band is the "
                "regressor's own mean error.",
                "scatter plot of EF asked against EF measured",
            )
        ],
        Table(header, rows),
    )


def _score_row(name: str, r: Regression, floor: Mapping[str, float], prefix: str) -> list[str]:
    scores = [f"{x:.2f}" for x in (r.r2, r.mae, r.slope, r.bias)]
    return [name, str(r.n), *scores, *(f"{floor[prefix + key]:.2f}" for key in ("r2", "mae"))]


def _privacy(found: Findings, images: Mapping[str, bytes]) -> Section:
    kept, thrown = len(found.asked), len(found.made.rejected)
    return Section(
        "Is it anybody's heart?",
        [
            "A re-identification network compares every anatomy with every training patient. An "
            "anatomy whose highest correlation reaches tau is thrown away and the next seed takes "
            f"its place: here {thrown} of {kept + thrown} candidates. The same filter rejects "
            f"{rejection_rate(found.unseen):.0f} % of phantom hearts that no model has seen; that "
            "is its false-alarm rate, and a rejection rate near it means that the image model does "
            "not copy. `dataset/rejections.csv` lists what was rejected and whom it resembled.",
        ],
        [
            _picture(
                images,
                "similarities.png",
                "Highest correlation of each anatomy with a training patient. What reaches its "
                "tau, the dashed line, is rejected.",
                "histogram of similarities with the threshold",
            )
        ],
    )


def _looks(found: Findings, images: Mapping[str, bytes]) -> Section:
    rows = [[name, *(number(x) for x in pair)] for name, pair in found.steady.items()]
    rows.append(["Dice of asked mask and cavity found", *(f"{d:.2f}" for d in found.dice)])
    return Section(
        "Does it look and move like the phantom?",
        [
            "The synthetic hearts learned from the phantom, so the phantom is the standard. "
            "Flicker is the unsteadiness of the mean brightness in grey levels, roughness is 0 "
            "for smooth motion and 3 for pure noise, and frame correlation compares neighbouring "
            "frames. Dice tells whether the cavity lies where the mask asked for it; the second "
            "column is what the cavity finder scores on the phantom itself.",
        ],
        [
            _picture(
                images,
                "beat.png",
                "About one second of three synthetic hearts, each above the phantom heart with the "
                "same mask and EF. They share the cavity, not the rest of the picture.",
                "frames through a beat of synthetic and phantom hearts",
            )
        ],
        Table(["", "synthetic", "phantom twins"], rows),
    )


def _reuse(run: Run) -> Section:
    rows = [[name, f"{seconds:.1f}"] for name, seconds in run.seconds.items()]
    return Section(
        "Make your own",
        [
            "`echoflow synthesise --out my-dataset --n 200 --ef 20:70` writes a larger dataset.",
            "`echoflow animate picture.png --ef 35 --out beat.mp4` makes your own picture beat.",
            "`echoflow evaluate my-dataset` prints the numbers of this page for any dataset.",
        ],
        table=Table(["step", "seconds"], rows),
    )
