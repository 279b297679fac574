"""Does a video follow its segmentation? Free-Echo, its baselines, and its trick on latent models.

Usage: python benchmarks/freeecho.py          latent; pixels where its networks are trained already
       python benchmarks/freeecho.py latent [--weights nano] [--n 24]       without any training
       python benchmarks/freeecho.py pixels [--runs runs/freeecho] [--n 12] [--patients 400]
                                            [--train-steps 1000]
       all: [--steps N] [--out benchmarks/results/freeecho-<part>.json] [--pictures FOLDER]

`pixels` renders phantoms, trains both networks of Table 1 on them where they are not trained yet
(stopped, it goes on) and samples from the segmentation of unseen phantoms, starts 15, 35 and 55 of
64, with a pseudo-video that stands still as in the paper and with one that beats. `latent` begins
the video model of a bundle from beating pseudo-videos, with the bundle's own plan as `echoflow
from-mask` does; start 0 is the model by itself. Every row is kept as it is finished: the same
command goes on, and with other weights begins anew. Dice is of the cavity that the bundle's
segmenter sees; `asked` is the map that the video was to follow, `true` the phantom that it belongs
to.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from where import where

from echoflow.data.labels import in_free_echo, resized, sector_of
from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.layout import write_layout
from echoflow.data.phantom.population import Population
from echoflow.data.resample import resize
from echoflow.data.volumes import Plane
from echoflow.files import atomic_file
from echoflow.freeecho import model
from echoflow.freeecho.latent import from_labels, started
from echoflow.freeecho.made import FromLabels
from echoflow.freeecho.model import FreeEcho, Insertion, Method
from echoflow.metrics.clinical import dice, ejection_fraction, regression
from echoflow.metrics.image import psnr, ssim
from echoflow.metrics.intervals import bootstrapped
from echoflow.metrics.report import Report, fingerprint, number
from echoflow.networks import zoo
from echoflow.pipeline import Pipeline, load, weights_print
from echoflow.synthesis import UNSEEN
from echoflow.training.stages import trained
from echoflow.training.table import named
from echoflow.types import View

EFS = (15.0, 75.0)
PARTS = ("latent", "pixels")
RESULTS = Path(__file__).parent / "results"
SIZE = 112  # where cavities are looked for
SHARES = (0, 1 / 3, 1 / 2, 2 / 3, 5 / 6)
RUNS = ("phantom-Free-Echo", "phantom-Free-Echo-labels")
TRAINING = Population(400, 1, ("adult",), (View.A4C,), 13, 12.0, 1, 0.0, (10.0, 80.0))


@dataclass(frozen=True)
class Arm:
    """A row of the table: which method, from which step, after a pseudo-video that beats or not."""

    method: Method
    start: int
    beats: bool = False
    insertion: Insertion = "paper"


ARMS = (
    Arm("labels", 0),
    Arm("sdedit", 15),
    *(Arm("free-echo", start, beats) for beats in (False, True) for start in (15, 35, 55)),
    Arm("free-echo", 15, False, "released"),
)


def unseen(n: int, views: tuple[View, ...], frames: int, fps: float) -> list[PhantomClip]:
    """Phantoms that nothing was trained on, from end-diastole."""
    hearts = Population(n, UNSEEN + 3, ("adult",), views, frames, fps, 1, 0.0, EFS)
    return [hearts.render(number) for number in range(n)]


def labels_of(heart: PhantomClip, size: int) -> np.ndarray:
    """The five labels of its first frame, its own sector."""
    sector = sector_of(heart.clip.video) | heart.truth.mask[0]
    return resized(in_free_echo(heart.truth.mask[0].astype(np.uint8), "cavity", sector), size, size)


def measured(made: FromLabels, heart: PhantomClip, pipeline: Pipeline) -> dict[str, float]:
    """One video against the maps it was to follow and the phantom it belongs to."""
    large = FromLabels(
        resize(made.video, SIZE, SIZE), resized(made.labels, SIZE, SIZE), made.pseudo, made.fps
    )
    n = min(len(made.video), len(heart.clip.video))
    found = pipeline.finder(large.video, large.labels[0] == 2)
    asked = large.adherence(lambda video, prior: found)
    real = resize(heart.clip.video, *made.video.shape[1:])
    volumes = [Plane.of_mask(frame).volume() if frame.any() else 0.0 for frame in found]
    return {
        "dice_first": float(asked[0]),
        "dice_asked": float(asked.mean()),
        "dice_true": float(dice(found[:n], heart.truth.mask[:n]).mean()),
        "ssim": float(ssim(made.video[:n], real[:n]).mean()),
        "psnr": float(psnr(made.video[:n], real[:n]).mean()),
        "ef_of_cavity": ejection_fraction(volumes) if max(volumes) > 0 else float("nan"),
    }


def summed_up(name: str, rows: list[dict[str, float]], settings: Mapping[str, object]) -> Report:
    """Means and intervals over hearts; how the EF is obeyed where one was asked for."""
    numbers: dict[str, float] = {}
    for key in (key for key in rows[0] if key != "ef_asked"):
        values = np.array([row[key] for row in rows])
        numbers[key] = float(values.mean())
        if len(values) > 1:
            low, high = bootstrapped(lambda kept, v=values: float(v[kept].mean()), len(values))
            numbers[f"{key}_low"], numbers[f"{key}_high"] = low, high
    for key in ("ef_of_cavity", "ef_by_regressor"):
        measured_ef = [row.get(key, float("nan")) for row in rows]
        if "ef_asked" in rows[0] and np.isfinite(measured_ef).all():
            asked = [row["ef_asked"] for row in rows]
            numbers |= regression(asked, measured_ef).metrics(f"{key}_")
    return Report(name, numbers, len(rows), settings)


def networks(runs: Path, patients: int, steps: int) -> dict[str, FreeEcho]:
    """The two networks of Table 1, trained where they are not yet."""
    data = runs / "phantoms"
    if not data.is_dir():
        hearts = replace(TRAINING, patients=patients)
        write_layout("dynamic", hearts.clips(), data, hearts.spec())
    found = {}
    for name in RUNS:
        recipe = named(name).changed([f"engine.steps={steps}"])
        recipe = recipe.model_copy(update={"data": str(data)})

        def tell(step: int, logs: Mapping[str, float], name: str = name) -> None:
            print(f"\r{name}: {step} of {steps}", end="", flush=True)

        found[name.removeprefix("phantom-")] = model.load(trained(recipe, runs / name, tell).parent)
        print()
    return found


def in_pixels(arm: Arm, nets: Mapping[str, FreeEcho], heart: PhantomClip, seed: int, steps: int):
    """The video of one heart by one row of Table 1."""
    one = nets["Free-Echo-labels" if arm.method == "labels" else "Free-Echo"]
    plan = model.planned(steps, round(arm.start / model.PAPER.steps * steps), arm.method)
    ef = heart.clip.ef if arm.beats else None
    rate = heart.truth.parameters.get("heart_rate", 60.0)
    labels = labels_of(heart, one.size)
    return one.from_labels(
        labels,
        ef,
        View.A4C,
        seed,
        plan,
        heart_rate=rate,
        insertion=arm.insertion,
        method=arm.method,
    )


def pixels(args: argparse.Namespace, pipeline: Pipeline, kept: Collection[str]) -> Iterator[Report]:
    """A report for each row of `ARMS` that is not kept."""
    nets = networks(args.runs, args.patients, args.train_steps)
    one, steps = nets["Free-Echo"], args.steps or model.PAPER.steps
    hearts = unseen(args.n, (View.A4C,), one.shape[1], one.fps)
    shared = {"steps": steps, "n": args.n, "train_steps": args.train_steps, "size": one.size}
    for arm in ARMS:
        name = f"{arm.method} from {arm.start}" + " beating" * arm.beats
        name += " as released" * (arm.insertion == "released")
        if name in kept:
            continue
        rows, shown = [], []
        for seed, heart in enumerate(hearts):
            made = in_pixels(arm, nets, heart, seed, steps)
            row = measured(made, heart, pipeline)
            rows.append({**row, "ef_asked": float(heart.clip.ef or 0)} if arm.beats else row)
            shown.append(strip(made, heart))
        picture(args.pictures, name, shown)
        yield summed_up(name, rows, {**shared, **asdict(arm)})


def latent(args: argparse.Namespace, pipeline: Pipeline, kept: Collection[str]) -> Iterator[Report]:
    """A report for each start that is not kept, every heart asked for an EF that is not its own."""
    hearts = unseen(args.n, tuple(View), pipeline.frames, pipeline.fps)
    efs = np.linspace(*EFS, args.n)[np.random.default_rng(0).permutation(args.n)]
    steps = args.steps or pipeline.motion.steps
    for start in sorted({round(share * steps) for share in SHARES} - {steps}):
        plan = started(pipeline.motion, steps, start)
        name = f"latent from {start} of {steps}"
        if name in kept:
            continue
        rows, shown = [], []
        for seed, (heart, ef) in enumerate(zip(hearts, efs.tolist(), strict=True)):
            labels = labels_of(heart, SIZE)
            made = from_labels(pipeline, labels, ef, heart.clip.view, seed, plan)
            row = measured(made, heart, pipeline)
            del row["dice_true"], row["ssim"], row["psnr"]  # another heart than the phantom's
            video = torch.from_numpy(made.video)[None]
            told = float(pipeline.regressor(video)[0])
            rows.append({**row, "ef_asked": ef, "ef_by_regressor": told})
            shown.append(strip(made, heart))
        picture(args.pictures, name, shown)
        yield summed_up(name, rows, {"steps": steps, "n": args.n, "start": start})


def strip(made: FromLabels, heart: PhantomClip) -> np.ndarray:
    """The video, what it began from and the phantom, eight frames each, uint8 (h, w)."""
    moments = np.linspace(0, len(made.video) - 1, 8).round().astype(int)
    real = resize(heart.clip.video, *made.video.shape[1:])
    real = real[moments.clip(max=len(real) - 1)]
    return np.vstack(
        [np.hstack(list(v)) for v in (made.video[moments], made.pseudo[moments], real)]
    )


def picture(folder: Path | None, name: str, shown: list[np.ndarray]) -> None:
    """The first hearts of a row, to be looked at."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name.replace(' ', '-')}.png"
        Image.fromarray(np.vstack(shown[:4])).save(path)


def followed(part: str, args: argparse.Namespace) -> dict[str, object]:
    """What the rows of a part follow from: of weights and of networks the hash, not the name."""
    settings = {"n": args.n, "steps": args.steps}
    settings["weights"] = weights_print(args.weights)
    if part == "latent":
        return settings
    networks(args.runs, args.patients, args.train_steps)
    nets = {name: fingerprint(args.runs / name / "net") for name in RUNS}
    return {**settings, "networks": nets, "train_steps": args.train_steps}


def kept_rows(out: Path, settings: Mapping[str, object]) -> list[dict[str, Any]]:
    """The rows of a results file that follow from the same."""
    before = json.loads(out.read_text()) if out.is_file() else {}
    return before["reports"] if before.get("settings") == settings else []


def run(part: str, args: argparse.Namespace, pipeline: Pipeline) -> None:
    """The rows of one part, those that are missing measured, into its file and printed."""
    out = args.out or RESULTS / f"freeecho-{part}.json"
    settings = followed(part, args)
    reports = kept_rows(out, settings)
    names = {report["name"] for report in reports}
    for report in (pixels if part == "pixels" else latent)(args, pipeline, names):
        print(report.name, *(f"{k} {number(report.metrics[k])}" for k in report.names()))
        reports.append(json.loads(report.to_json()))
        card = {**where(), "settings": settings, "reports": reports}
        with atomic_file(out) as work:
            work.write_text(json.dumps(card, indent=2) + "\n")
    print(table([Report.from_json(json.dumps(report)) for report in reports]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS, nargs="?", help="default: see above")
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--runs", type=Path, default=Path("runs/freeecho"))
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--patients", type=int, default=TRAINING.patients)
    parser.add_argument("--train-steps", type=int, default=1_000)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.out is not None and args.part is None:
        parser.error("--out is the file of one part; name it: latent or pixels.")
    pipeline = load(args.weights)
    for part in PARTS if args.part is None else (args.part,):
        missing = [one for one in RUNS if not (args.runs / one / "net" / zoo.WEIGHTS).is_file()]
        if args.part is None and part == "pixels" and missing:
            print(
                f"pixels is left out: {args.runs} has no trained {' and '.join(missing)}. "
                "`python benchmarks/freeecho.py pixels` trains them."
            )
            continue
        run(part, args, pipeline)


def table(reports: list[Report]) -> str:
    """All rows as markdown."""
    names = [
        n for n in reports[0].names() if n in ("dice_first", "dice_asked", "dice_true", "ssim")
    ]
    wide = [*names, "psnr", "ef_of_cavity_mae", "ef_by_regressor_r2", "ef_by_regressor_mae"]
    shown = [n for n in wide if any(n in report.metrics for report in reports)]
    return "\n".join([reports[0].header(*shown), *(report.row(*shown) for report in reports)])


if __name__ == "__main__":
    main()
