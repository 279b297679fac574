"""Examples per second of every stage, against the matrix products that this machine can do.

Usage: python benchmarks/training.py [--size nano] [--steps 40] [--processes 2]. Renders and encodes
a few simulated hearts, trains every stage for some steps with the settings of its recipe, each in a
process of its own, and reads the second half of the log: examples per second, share of the time
spent waiting for data. Operations per second are 6 x the multiply-adds of a forward pass (backward
costs two more) x examples; their ceiling is a large product in the recipe's precision, measured in
the same process. The last rows train with one thread in one process and in several.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from where import where

from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.files import atomic_file
from echoflow.networks.counting import cost
from echoflow.networks.zoo import STAGES
from echoflow.training.nano import POPULATION, encode_dataset
from echoflow.training.recipes import Recipe
from echoflow.training.stages import train
from echoflow.training.table import named

SCALED = ("lvfm", "reid")  # trained by several processes too


def prepared(root: Path, patients: int, avae: Path) -> None:
    """Videos and latents of a few hearts of the nano population."""
    hearts = Population(**{**vars(POPULATION), "patients": patients})
    write_dynamic(hearts.clips(os.cpu_count() or 1), root / "videos", hearts.spec())
    encode_dataset(root / "videos", avae, root / "latents")


def recipe_of(name: str, stage: str, root: Path, steps: int) -> Recipe:
    data = root / ("videos" if stage in ("avae", "ef", "lv") else "latents")
    changes = [f"data={data}", f"engine.steps={steps}", f"engine.validate_every={steps // 2}"]
    changes += [f"engine.checkpoint_every={steps}", "engine.picture_every=0"]
    if stage == "avae":  # both players, from the first step
        changes += ["avae.adversary_from=0", "avae.adversary_lead=0"]
    return named(f"{name}-{stage}").changed(changes)


def measure(name: str, stage: str, root: Path, run: Path, steps: int) -> dict[str, object]:
    """One stage in this process; of several processes the first one reports."""
    recipe = recipe_of(name, stage, root, steps)
    train(recipe, run)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    rate = last["samples/s"]
    products = 6 * cost(recipe.model).macs * rate
    top = ceiling(recipe.engine.precision)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "stage": stage,
        "model": recipe.model,
        "batch": recipe.engine.batch,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "threads": torch.get_num_threads(),
        "examples/s": round(rate, 2),
        "waiting %": round(100 * last["waiting"], 2),
        "Gop/s": round(products / 1e9, 1),
        "of ceiling %": round(100 * products / top, 1),
        "peak MB": round(peak / 1024),
    }


def ceiling(precision: str, n: int = 1536) -> float:
    """Operations per second of an n x n matrix product, the best of five."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(n, n, device=device, dtype=getattr(torch, DTYPES[precision]))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


DTYPES = {"bf16": "bfloat16", "fp32": "float32"}


def child(stage: str, args: argparse.Namespace, root: Path, processes: int, threads: int) -> str:
    """The JSON line of a measurement in processes of its own."""
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone"]
        launch += ["--nproc-per-node", str(processes)]
    words = [__file__, "--size", args.size, "--steps", str(args.steps), "--stage", stage]
    run = root / f"run-{stage}-{processes}-{threads}"
    words += ["--root", str(root), "--folder", str(run)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([*launch, *words], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(done.stderr[-3000:])
    return done.stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="nano")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training.json"))
    args = parser.parse_args()
    if args.stage:
        row = measure(args.size, args.stage, args.root, args.folder, args.steps)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(row), flush=True)
        return
    from echoflow.pipeline import weights_folder

    cores = os.cpu_count() or 1
    jobs = [(stage, 1, cores) for stage in STAGES]
    jobs += [(stage, n, 1) for stage in SCALED for n in (1, args.processes)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepared(root, args.patients, weights_folder("nano") / "avae")
        for stage, processes, threads in jobs:
            rows.append(json.loads(child(stage, args, root, processes, threads)))
            if len(rows) == 1:
                print(" ".join(f"{key:>12s}" for key in rows[0]))
            print(" ".join(f"{value!s:>12s}" for value in rows[-1].values()), flush=True)
    card = {**where(), "steps": args.steps, "patients": args.patients, "rows": rows}
    with atomic_file(args.out) as work:
        work.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
