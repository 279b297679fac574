"""A cascade on phantom hearts it was not trained on: EF asked and measured, and steps against time.

    echoflow train phantom-2SCM-1 data=runs/nano/videos --out runs/cascade/phantom-2SCM-1
    echoflow train phantom-2SCM-2 data=runs/nano/videos --out runs/cascade/phantom-2SCM-2
    python benchmarks/cascade.py runs/cascade [--hearts 24] [--sweep-hearts 8] [--device cuda]

The protocol is EchoDiffusion's (`echoflow evaluate draws`), with clips from the R wave on: 3 draws
factual and counterfactual, by the published rule and for a single draw. Then one counterfactual
draw of every solver at several numbers of steps, with the seconds of a video. The EF is measured by
nano's regressor, whose own error on these hearts, against the exact EF, is the row `real clips` of
the factual task. Writes results/cascade.json; score files are kept in FOLDER/scores, so the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from where import where

from echoflow.cascade import Cascade
from echoflow.cascade_weights import load
from echoflow.data.manifest import Manifest
from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.data.sources import open_source
from echoflow.draws import Measure, Subject, Task, measured_by, score, some
from echoflow.files import atomic_file
from echoflow.judges import Regressor
from echoflow.metrics.scores import report
from echoflow.pipeline import load as load_pipeline
from echoflow.sampling import Churn, SamplingPlan
from echoflow.types import INFERENCE

RESULTS = Path(__file__).parent / "results" / "cascade.json"
STRANGERS = 77  # the seed of hearts that no recipe trains on
STEPS = (4, 8, 16, 32, 64)
SOLVERS = {"heun, churn": ("heun", Churn(160.0)), "heun": ("heun", None)}
SOLVERS |= {"multistep": ("multistep", None)}


def strangers(folder: Path, cascade: Cascade, hearts: int) -> Manifest:
    """Gated phantoms, EF uniform in 15-75, as long as the cascade's clips and one frame more."""
    if not folder.exists():
        population = Population(
            hearts, STRANGERS, frames=cascade.shape[1] + 1, fps=cascade.fps, quality=1, phase=0.0
        )
        population = replace(population, ef=(15.0, 75.0))
        write_dynamic(population.clips(1), folder, population.spec())
    return open_source(folder)


class Timed:
    """A subject's animation, and the seconds that each video took."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.seconds: list[float] = []

    def __call__(self, stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        begun = time.perf_counter()
        made = self.subject.animate(stills, ef, seeds)  # comes back on the CPU
        self.seconds.append(time.perf_counter() - begun)
        return made


def scored(
    cascade: Cascade,
    plans: Sequence[SamplingPlan],
    manifest: Manifest,
    hearts: int,
    task: Task,
    out: Path,
    measure: Measure,
) -> tuple[dict[str, float], float | None]:
    """The metrics of a score file, made now if need be, and the median seconds of a video."""
    timed = Timed(Subject.of(cascade, plans))
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        subject = replace(timed.subject, animate=timed)
        with tqdm(desc=out.stem, total=hearts, disable=None) as bar:

            def progress(done: int, total: int) -> None:
                bar.update(done - bar.n)

            records = some(manifest.records, hearts)
            score(subject, manifest, records, task, measure, None, out, progress)
    found, _ = report(out)
    seconds = sorted(timed.seconds)
    return dict(found.metrics), seconds[len(seconds) // 2] if seconds else None


def sweeps(cascade: Cascade) -> Iterator[tuple[str, int, list[SamplingPlan]]]:
    """Every solver at every number of steps, the same in all stages."""
    for name, (solver, churn) in SOLVERS.items():
        for steps in STEPS:
            plans = [replace(p, churn=None) for p in cascade.plans()]
            yield name, steps, [replace(p, steps=steps, solver=solver, churn=churn) for p in plans]


def main() -> None:
    asked = argparse.ArgumentParser(description="a cascade on phantom hearts")
    asked.add_argument("weights", type=Path)
    asked.add_argument("--model", default="phantom-2SCM")
    asked.add_argument("--hearts", type=int, default=24)
    asked.add_argument("--sweep-hearts", type=int, default=8)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--inference", default="exact", choices=INFERENCE)
    words = asked.parse_args()
    cascade = load(words.weights, words.model, device=words.device, inference=words.inference)
    kept = words.weights / "scores"
    manifest = strangers(kept / "hearts", cascade, words.hearts)
    regressor = load_pipeline("nano").regressor
    assert isinstance(regressor, Regressor)
    measure = measured_by(regressor)
    tables, rows = {}, []
    for name, ef in {"factual": None, "counterfactual": (15.0, 75.0)}.items():
        task = Task(3, ef, "first")
        out = kept / f"{name}.csv"
        metrics, _ = scored(cascade, cascade.plans(), manifest, words.hearts, task, out, measure)
        tables[name] = metrics
        for rule in ("published", "selected", "single", "real"):
            line = [f"{metrics[f'{rule}_{m}']:8.2f}" for m in ("r2", "mae", "rmse", "ssim")]
            print(f"{name:<16}{rule:<12}{''.join(line)}")
    for name, steps, plans in sweeps(cascade):
        out = kept / f"{name.replace(', ', '-')}-{steps}.csv"
        task, few = Task(1, (15.0, 75.0), "first"), words.sweep_hearts
        metrics, seconds = scored(cascade, plans, manifest, few, task, out, measure)
        rows.append({"solver": name, "steps": steps, "calls": cascade.calls(plans)})
        rows[-1] |= {m: metrics[f"single_{m}"] for m in ("r2", "mae", "ssim")}
        rows[-1]["seconds"] = seconds
        told = "-" if seconds is None else f"{seconds:.1f} s"
        print(f"{name:<14}{steps:4} steps  MAE {metrics['single_mae']:6.2f}  {told}")
    content = {**where(), "device": words.device, "inference": words.inference}
    content |= {"threads": torch.get_num_threads()}
    content |= {"hearts": words.hearts, "sweep_hearts": words.sweep_hearts, "draws": tables}
    content |= {"plans": [asdict(plan) for plan in cascade.plans()], "sweep": rows}
    with atomic_file(RESULTS) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
