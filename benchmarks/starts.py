"""EF asked and measured by what a video starts from: noise alone, or its anatomy warped to beat.

Usage: python benchmarks/starts.py [--weights nano] [--n 60] [--inference bf16] [--settings ...].
A setting is START,GUIDANCE,TEMPERATURE, such as 6,1,0.95; `0,4.5,1` starts from noise alone. Same
hearts of the weights' own image model, same EFs (15-75 %) and seeds in every row, nothing
calibrated. The last row is the warp itself, through no model at all.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from where import where

from echoflow.beating import beating_start
from echoflow.files import atomic_file
from echoflow.metrics.clinical import mae, r2
from echoflow.metrics.image import flicker, roughness
from echoflow.pipeline import Pipeline, load
from echoflow.synthesis import Anatomy, DatasetPlan, accepted, phantom_masks

SETTINGS = ("0,4.5,1", "4,1.5,1", "5,2,0.9", "6,1.5,1", "6,1,1", "6,1,0.95", "6,1,0.9", "7,1.5,1")
SEED = 7


def scored(pipeline: Pipeline, videos: list[Tensor], asked: np.ndarray) -> dict[str, float]:
    """EF by the regressor against that asked for, and how restless the pictures are."""
    found = np.array([float(pipeline.regressor(video[None])[0]) for video in videos])
    pixels = [video.numpy() for video in videos]
    bent = np.polyval(np.polyfit(asked, found, 2), asked)
    values = {
        "R2": r2(asked, found),
        "MAE": mae(asked, found),
        "bias": float((found - asked).mean()),
        "slope": float(np.polyfit(asked, found, 1)[0]),
        "about a curve": float(np.sqrt(np.mean((found - bent) ** 2))),
        "flicker": float(np.mean([flicker(video) for video in pixels])),
        "roughness": float(np.mean([roughness(video) for video in pixels])),
    }
    return {name: round(value, 3) for name, value in values.items()}


def animated(pipeline: Pipeline, hearts: list[Anatomy], ef: Tensor, setting: str) -> list[Tensor]:
    """A video of every heart, uint8 (t, h, w)."""
    start, guidance, temperature = setting.split(",")
    negative = None if float(guidance) == 1 else ("ef",)
    plan = replace(
        pipeline.motion, start_index=int(start), scale=float(guidance), negative=negative,
        temperature=float(temperature),
    )  # fmt: skip
    videos = []
    for i, heart in enumerate(hearts):
        z = pipeline.animate(heart.z[None], ef[i : i + 1], [heart.seed], plan, views=[heart.view])
        videos.append(pipeline.decode(z)[0].cpu())
    return videos


def films(pipeline: Pipeline, hearts: list[Anatomy], ef: Tensor) -> list[Tensor]:
    """What the videos start from."""
    given = (pipeline.space, pipeline.finder)
    rest = (pipeline.frames, pipeline.fps)
    starts = [
        beating_start(*given, h.z[None], ef[i : i + 1], [h.seed], *rest, [h.view])
        for i, h in enumerate(hearts)
    ]
    return [pipeline.decode(z)[0].cpu() for z in starts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--inference", default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--settings", nargs="*", default=SETTINGS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/starts.json"))
    args = parser.parse_args()
    pipeline = load(args.weights, args.device, inference=args.inference)
    pipeline = replace(pipeline, calibration=None)
    plan = DatasetPlan(n=args.n, seed=SEED)
    hearts = accepted(pipeline, plan, range(args.n), phantom_masks())[0]
    places = np.random.default_rng(SEED).permutation(args.n)
    asked = 15 + 60 * (places + 0.5) / args.n
    ef, rows = torch.from_numpy(asked).float(), []
    for setting in (*args.settings, "the warp alone"):
        begin = time.perf_counter()
        alone = setting == "the warp alone"
        made = films(pipeline, hearts, ef) if alone else animated(pipeline, hearts, ef, setting)
        seconds = round((time.perf_counter() - begin) / args.n, 2)
        rows.append({"start": setting, **scored(pipeline, made, asked), "s a video": seconds})
        if len(rows) == 1:
            print(" ".join(f"{name:>14s}" for name in rows[0]))
        print(" ".join(f"{value!s:>14s}" for value in rows[-1].values()), flush=True)
        card = {**where(), "n": args.n, "seed": SEED, "inference": args.inference, "rows": rows}
        with atomic_file(args.out) as work:
            work.write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
