"""Seconds per generated video, and EF error, by solver, number of steps and inference setting.

Usage: python benchmarks/steps.py [--weights nano] [--n 12]. One video at a time, decoding included.
The same hearts, noises and EFs in every row; the bf16 rows at the end repeat settings of the exact.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from where import where

from echoflow.files import atomic_file
from echoflow.metrics.clinical import mae, r2
from echoflow.pipeline import Pipeline, load
from echoflow.synthesis import Anatomy, DatasetPlan, accepted, phantom_masks

SETTINGS = (
    ("euler", 5), ("euler", 10), ("euler", 25), ("euler", 50),
    ("multistep", 5), ("multistep", 10), ("multistep", 25),
    ("heun", 5), ("heun", 10), ("heun", 25),
)  # fmt: skip
HALF = (("multistep", 5), ("multistep", 10), ("multistep", 25))


def measure(
    pipeline: Pipeline, plan: DatasetPlan, hearts: list[Anatomy], solver: str, steps: int
) -> dict[str, object]:
    """Median seconds and EF error over the plan's items."""
    items = [plan.item(index) for index in range(plan.n)]
    sampling = pipeline.motion.tuned(steps, solver=solver)
    seconds, decoding, measured = [], [], []
    for item, heart in zip(items, hearts, strict=True):
        start = time.perf_counter()
        z = pipeline.animate(
            heart.z[None], torch.tensor([item.ef]), [item.seed], sampling, views=[item.view]
        )
        middle = time.perf_counter()
        video = pipeline.decode(z)
        seconds.append(time.perf_counter() - start)
        decoding.append(time.perf_counter() - middle)
        measured.append(float(pipeline.regressor(video)[0]))
    asked = [item.ef for item in items]
    return {
        "solver": solver,
        "steps": steps,
        "seconds": round(statistics.median(seconds), 3),
        "of which decoding": round(statistics.median(decoding), 3),
        "EF MAE": round(mae(asked, measured), 2),
        "EF R2": round(r2(asked, measured), 3),
        "slope": round(float(np.polyfit(asked, measured, 1)[0]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/steps.json"))
    args = parser.parse_args()
    pipeline = load(args.weights)
    plan = DatasetPlan(n=args.n, seed=2)
    hearts = accepted(pipeline, plan, range(args.n), phantom_masks())[0]
    half = load(args.weights, inference="bf16")
    rows = [
        {"inference": name, **measure(player, plan, hearts, *setting)}
        for name, player, settings in (("exact", pipeline, SETTINGS), ("bf16", half, HALF))
        for setting in settings
    ]
    print(" ".join(f"{name:>18s}" for name in rows[0]))
    for row in rows:
        print(" ".join(f"{value!s:>18s}" for value in row.values()))
    card = {**where(), "threads": torch.get_num_threads(), "n": args.n, "rows": rows}
    with atomic_file(args.out) as work:
        work.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
