"""The released block style (v1) against our own (v2), trained alike on the phantom.

Usage: python benchmarks/styles.py [--task image|video|both] [--steps 400] [--seeds 3]
[--precision bf16] [--batch N] [--frames 32] [--latents FOLDER] [--styles NAME ...].

FOLDER comes from `echoflow encode` on a phantom dataset; without it 200 hearts are rendered and
encoded by nano's A-VAE first. Same width, depth, patches, batches, noises and steps; AdamW for all.
Every run starts from nothing; the table has the loss of the averaged weights on held-out patients,
mean and deviation over the seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from training import prepared
from where import where

from echoflow.data.clips import AnatomySource, ClipSource, Source
from echoflow.data.shards import Latents
from echoflow.files import atomic_file
from echoflow.networks import zoo
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.rows import Config
from echoflow.pipeline import weights_folder
from echoflow.training.fit import fit
from echoflow.training.generation import FlowTask
from echoflow.training.recipes import Engine, Recipe
from echoflow.training.table import named
from echoflow.types import Batch, Split

IMAGE: dict[str, Config] = {
    "v1, as released": FMiTv1Config(4, 28, 4, 128, 6, 4),
    "v2": FMiTConfig(4, 28, 4, 128, 6, 4),
    "v2, preconditioned": FMiTConfig(4, 28, 4, 128, 6, 4, preconditioned=True),
}


def video_configs(frames: int) -> dict[str, Config]:
    """The styles of the video model for clips of so many frames."""
    v1 = FMvTv1Config(4, (28, 28), frames, (2, 4, 4), 128, 7, 4)
    v2 = FMvTConfig(4, 28, frames, (2, 4, 4), 128, 7, 4)
    return {
        "v1, as released": v1,
        "v1, heads merged in order": replace(v1, scrambled_heads=False),
        "v2": v2,
        "v2, preconditioned": replace(v2, preconditioned=True),
    }


@dataclass(frozen=True)
class Contest:
    """Configs that train on one source, and the batches they are measured on."""

    name: str
    configs: dict[str, Config]
    recipe: Recipe
    source: Source
    held_out: list[Batch]


def contests(latents: Path, wanted: str, frames: int) -> list[Contest]:
    train, held = (Latents.read(latents, split) for split in (Split.TRAIN, Split.VAL))

    def image(part: Latents) -> Source:
        return AnatomySource(part, sampled=False)

    def video(part: Latents) -> Source:
        return ClipSource(part, frames, "first", False)

    found = [
        Contest("image", IMAGE, named("nano-lifm"), image(train), fixed(image(held), 64)),
        Contest(
            "video", video_configs(frames), named("nano-lvfm"), video(train), fixed(video(held), 16)
        ),
    ]
    return [contest for contest in found if wanted in (contest.name, "both")]


def fixed(source: Source, batch: int, batches: int = 4) -> list[Batch]:
    """The same held-out examples for everybody."""
    rng = np.random.default_rng(0)
    index = np.random.default_rng(1).permutation(len(source))[: batch * batches]
    return [source.batch(part, rng) for part in np.array_split(index, batches)]


def trained(contest: Contest, config: Config, engine: Engine) -> dict[str, float]:
    """The held-out losses of the averaged weights at the end of one run."""
    torch.manual_seed(engine.seed)
    recipe = contest.recipe.model_copy(update={"engine": engine})
    task = FlowTask(zoo.build(config), recipe.flow, contest.held_out)
    last: dict[str, float] = {}

    def keep(step: int, logs: dict[str, float]) -> None:
        last.update(logs)

    with tempfile.TemporaryDirectory() as folder:
        fit(task, contest.source, recipe, Path(folder) / "run", progress=keep)
    return {key: value for key, value in last.items() if key.startswith("val/")}


def row(contest: Contest, name: str, config: Config, engines: list[Engine]) -> dict[str, object]:
    losses = [trained(contest, config, engine) for engine in engines]
    values = [loss["val/loss"] for loss in losses]
    size = sum(p.numel() for p in zoo.build(config).parameters())
    found: dict[str, object] = {
        "task": contest.name,
        "style": name,
        "parameters": size,
        "loss": round(statistics.mean(values), 4),
        "sd": round(statistics.stdev(values), 4) if len(values) > 1 else None,
        "losses": [round(value, 4) for value in values],
    }
    if contest.name == "video":
        found["worse with a wrong EF"] = round(statistics.mean(x["val/ef"] for x in losses), 4)
    print(" ".join(f"{value!s:>26s}" for value in found.values()), flush=True)
    return found


def engines(args: argparse.Namespace, batch: int) -> list[Engine]:
    """One per seed."""
    return [
        Engine(
            steps=args.steps, batch=batch, lr=args.lr, warmup=50, decay=0.35, ema=0.99, seed=seed,
            validate_every=args.steps, checkpoint_every=args.steps, compile=args.compile,
            precision=args.precision,
        )
        for seed in range(args.seeds)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path)
    parser.add_argument("--styles", nargs="*", help="only these")
    parser.add_argument("--task", choices=("image", "video", "both"), default="both")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, help="default that of nano's recipe")
    parser.add_argument("--frames", type=int, default=32, help="of the video task")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/styles_TASK.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.latents is None:
            prepared(Path(folder), 200, weights_folder("nano") / "avae")
        rows = [
            row(contest, name, config, engines(args, args.batch or contest.recipe.engine.batch))
            for contest in contests(
                args.latents or Path(folder) / "latents", args.task, args.frames
            )
            for name, config in contest.configs.items()
            if not args.styles or name in args.styles
        ]
    told = ("steps", "seeds", "batch", "frames", "lr", "compile", "precision")
    settings = {key: getattr(args, key) for key in told}
    card = {**where(), **settings, "rows": rows}
    out = args.out or Path(f"benchmarks/results/styles_{args.task}.json")
    with atomic_file(out) as work:
        work.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
