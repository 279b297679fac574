"""Every claim about a bundle of weights, measured on phantom hearts that it was not trained on.

Usage: python benchmarks/bundle.py [--weights nano] [--n 96] [--latents runs/nano/latents]
                                   [--out benchmarks/results/bundle.json] [--dataset FOLDER]

`--latents` are the training latents; with them exact copies of training anatomies are tried on the
privacy filter. `--dataset` keeps the videos. Prints a table per report and writes them as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from where import where

from echoflow.data.phantom.population import Population
from echoflow.data.shards import Latents
from echoflow.evaluation import (
    adherence,
    evaluate,
    finder_dice,
    privacy_rates,
    reconstruction,
    regressor_error,
    sweep,
)
from echoflow.files import atomic_file
from echoflow.metrics.report import Report, number
from echoflow.pipeline import Pipeline, load, weights_print
from echoflow.synthesis import UNSEEN, DatasetPlan, accepted, phantom_masks, synthesise
from echoflow.types import Split, View

EFS = (15.0, 30.0, 45.0, 60.0, 75.0)


def strangers(pipeline: Pipeline, patients: int) -> Population:
    """Hearts of a population of their own, EF uniform in 15-75, as the bundle's clips are cut."""
    frames, views = pipeline.frames + 1, tuple(View)
    return Population(
        patients, UNSEEN + 1, ("adult",), views, frames, pipeline.fps, 1, 0.0, (15.0, 75.0)
    )


def copies(pipeline: Pipeline, folder: Path) -> Tensor:
    """The first frames of the training videos, as the gallery was made."""
    latents = Latents.read(folder, Split.TRAIN)
    mean = latents.moments[:, 0].float().chunk(2, dim=1)[0]
    return pipeline.space.stats.normalise(mean)


def known_hearts(pipeline: Pipeline, patients: int) -> list[Report]:
    """What is measured on phantom clips alone: A-VAE, regressor, and the cavity finder's floor."""
    made = list(strangers(pipeline, patients).clips())
    clips = [each.clip for each in made]
    floor = finder_dice(
        pipeline.finder,
        np.stack([clip.video[0] for clip in clips]),
        np.stack([m.truth.mask[0] for m in made]),
    )
    return [
        reconstruction(pipeline.space, clips, every=8),
        regressor_error(pipeline.regressor, clips),
        Report("finder", {"dice": float(floor.mean())}, len(floor)),
    ]


def filter_rates(pipeline: Pipeline, patients: int, latents: Path | None) -> Report:
    """The filter on unseen hearts, and on exact copies where there are training latents."""
    firsts = [each.clip.video[0] for each in strangers(pipeline, patients).clips()]
    unseen = pipeline.encode(torch.from_numpy(np.stack(firsts)))
    if latents is None:
        print("no --latents: exact copies are not tried")
    copied = None if latents is None else copies(pipeline, latents)
    return privacy_rates(pipeline.privacy, copied, unseen)


def obedience(pipeline: Pipeline, plan: DatasetPlan, folder: Path) -> tuple[Report, float]:
    """EF asked against measured of a dataset, single draws, and seconds per video."""
    start = time.perf_counter()
    synthesise(pipeline, plan, folder, progress=lambda done, total: print(f"\r{done}", end=""))
    print()
    return evaluate(folder), (time.perf_counter() - start) / plan.n


def swept(pipeline: Pipeline, plan: DatasetPlan) -> Report:
    """Two hearts of every view at five EFs."""
    hearts = accepted(pipeline, plan, range(6), phantom_masks())[0]
    z, views = torch.stack([a.z for a in hearts]), [a.view for a in hearts]
    result = sweep(pipeline, z, EFS, range(6), views=views)
    return result.report({"efs": EFS, "seed": plan.seed})


def same_bits(pipeline: Pipeline) -> Report:
    """Whether one seed gives the same video alone and in a batch of 8."""
    views, seeds = [View.A4C] * 8, list(range(8))
    mask = torch.from_numpy(np.stack([phantom_masks()(View.A4C, s) for s in seeds])).float()
    z = pipeline.anatomies(views, mask[:, None], seeds)
    alone = pipeline.anatomies(views[5:6], mask[5:6, None], [5])
    efs = torch.linspace(20, 70, 8)
    together = pipeline.decode(pipeline.animate(z, efs, seeds))[5]
    single = pipeline.decode(pipeline.animate(alone, efs[5:6], [5]))[0]
    equal = torch.equal(z[5], alone[0]) and torch.equal(together, single)
    return Report("same bits alone and in a batch of 8", {"equal": float(equal)}, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--n", type=int, default=96)
    parser.add_argument("--patients", type=int, default=48)
    parser.add_argument("--latents", type=Path)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bundle.json"))
    args = parser.parse_args()
    pipeline = load(args.weights, args.device)
    plan = DatasetPlan(n=args.n, seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        made, seconds = obedience(pipeline, plan, args.dataset or Path(scratch) / "dataset")
    reports = [
        *known_hearts(pipeline, args.patients),
        adherence(pipeline, plan, phantom_masks()),
        made,
        swept(pipeline, plan),
        filter_rates(pipeline, args.patients, args.latents),
        same_bits(pipeline),
        Report("speed", {"seconds_per_video": seconds}, args.n, {"device": args.device}),
    ]
    for report in reports:
        print(f"\n{report.name}, n = {report.n}")
        for name, value in report.metrics.items():
            print(f"  {name:28s} {number(value):>10s}")
    card = {
        **where(),
        "seed": plan.seed,
        "weights": args.weights,
        "fingerprint": weights_print(args.weights),
        "reports": [json.loads(report.to_json()) for report in reports],
    }
    with atomic_file(args.out) as work:
        work.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
