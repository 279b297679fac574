"""A cascade on phantom hearts it was not trained on: EF asked and measured, and steps against time.

    echoflow train phantom-2SCM-1 data=runs/nano/videos --out runs/cascade/phantom-2SCM-1
    echoflow train phantom-2SCM-2 data=runs/nano/videos --out runs/cascade/phantom-2SCM-2
    python benchmarks/cascade.py [runs/cascade] [--hearts 24] [--sweep-hearts 8] [--device cuda]

The protocol is EchoDiffusion's (`echoflow evaluate draws`), with clips from the R wave on: 3 draws
factual and counterfactual, by the published rule and for a single draw. Then every stage by itself,
later ones given the recorded clip, reduced, in place of what the stage before makes: which of them
loses the EF? And one counterfactual draw of every solver at several numbers of steps, with the
seconds of a video. The EF is measured by nano's regressor, whose own error on these hearts, against
the exact EF, is the row `real clips` of the factual task. Writes results/cascade.json. Score files
and seconds are kept in FOLDER/scores, in a folder for all that they follow from, weights and number
of hearts included, so the same command goes on where it was stopped. Without an argument and
without a cascade in runs/cascade it says what to train, which is no error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from where import where

from echoflow.cascade import Cascade
from echoflow.cascade_files import fingerprint_of, holds_one
from echoflow.cascade_weights import load
from echoflow.data.manifest import Manifest
from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.data.pixels import unsigned
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.draws import Measure, Subject, Task, measured_by, score, some
from echoflow.files import atomic_file
from echoflow.judges import Regressor
from echoflow.lowres import resized
from echoflow.metrics.clinical import slope
from echoflow.metrics.scores import Draws, report
from echoflow.pipeline import NANO, weights_print
from echoflow.pipeline import load as load_pipeline
from echoflow.sampling import Churn, SamplingPlan
from echoflow.training.cascaded import PixelClips
from echoflow.types import INFERENCE, InputError

WEIGHTS = Path("runs/cascade")
RESULTS = Path(__file__).parent / "results" / "cascade.json"
TRAIN = " and ".join(
    f"`echoflow train phantom-2SCM-{i} data=runs/nano/videos --out {WEIGHTS}/phantom-2SCM-{i}`"
    for i in (1, 2)
)
EFS = (15.0, 75.0)
STRANGERS = 77  # the seed of hearts that no recipe trains on
SOLVERS = {  # the paper's is the first; 64 steps are its own
    "heun, churn": ("heun", Churn(160.0), (4, 8, 16, 32, 64)),
    "heun": ("heun", None, (4, 8, 16, 32)),
    "multistep": ("multistep", None, (4, 8, 16, 32)),
}


def strangers(folder: Path, cascade: Cascade, hearts: int) -> Manifest:
    """Gated phantoms, EF uniform in 15-75, as long as the cascade's clips and one frame more."""
    if not folder.exists():
        population = Population(
            hearts, STRANGERS, frames=cascade.shape[1] + 1, fps=cascade.fps, quality=1, phase=0.0
        )
        population = replace(population, ef=EFS)
        write_dynamic(population.clips(1), folder, population.spec())
    return open_source(folder)


@dataclass(frozen=True)
class Timed:
    """A subject's animation; the seconds of every video go into a file, a line each."""

    subject: Subject
    file: Path

    def __call__(self, stills: Tensor, ef: Tensor, seeds: Sequence[int]) -> Tensor:
        begun = time.perf_counter()
        made = self.subject.animate(stills, ef, seeds)  # comes back on the CPU
        with self.file.open("a") as file:
            file.write(f"{time.perf_counter() - begun:.4f}\n")
        return made

    def seconds(self) -> float | None:
        """The median of all videos, those of earlier runs included; None where none is known."""
        lines = self.file.read_text().split() if self.file.exists() else []
        return median(map(float, lines)) if lines else None


@dataclass(frozen=True)
class Bench:
    """A cascade, the hearts it is shown, what measures, and where all that is kept.

    `follows` is what every score follows from: other weights, hearts or judges have other files.
    """

    cascade: Cascade
    manifest: Manifest
    measure: Measure
    kept: Path
    follows: Mapping[str, str]

    def scored(
        self, name: str, task: Task, hearts: int, plans: Sequence[SamplingPlan]
    ) -> tuple[dict[str, float], float | None]:
        """The metrics of a score file, made now if need be, and the median seconds of a video."""
        told = {**self.follows, "plans": str(plans), "task": str(task), "hearts": str(hearts)}
        out = self.kept / _key(told) / f"{name}.csv"
        subject = Subject.of(self.cascade, plans)
        timed = Timed(subject, out.with_suffix(".seconds"))
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            subject = replace(subject, animate=timed)
            records = some(self.manifest.records, hearts)
            with tqdm(desc=name, total=hearts, disable=None) as bar:

                def progress(done: int, total: int) -> None:
                    bar.update(done - bar.n)

                asked = (subject, self.manifest, records, task, self.measure, None, out)
                score(*asked, progress, told)
        found, _ = report(out)
        known = {name: value for name, value in found.metrics.items() if isfinite(value)}
        every = Draws.read(out)
        known["single_slope"] = slope(every.asked.ravel(), every.measured.ravel())
        return known, timed.seconds()


def _key(told: Mapping[str, str]) -> str:
    """The folder of what follows from all this."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def sweeps(cascade: Cascade) -> Iterator[tuple[str, int, list[SamplingPlan]]]:
    """Every solver at every one of its numbers of steps, the same in all stages."""
    for name, (solver, churn, counts) in SOLVERS.items():
        for steps in counts:
            plans = [replace(p, churn=None) for p in cascade.plans()]
            yield name, steps, [replace(p, steps=steps, solver=solver, churn=churn) for p in plans]


def opened(words: argparse.Namespace) -> Bench:
    """The bench of a command line."""
    cascade = load(words.weights, words.model, device=words.device, inference=words.inference)
    kept = words.weights / "scores"
    _, frames, _, _ = cascade.shape
    hearts = kept / f"hearts-{words.hearts}-of-{frames}-at-{cascade.fps:g}"
    regressor = load_pipeline(NANO).regressor
    assert isinstance(regressor, Regressor)
    follows = {
        "weights": fingerprint_of(words.weights, words.model),
        "judge": weights_print(NANO),
        "strangers": f"{STRANGERS} {hearts.name}",
        "where": f"{where()['machine']} {words.device} {words.inference}",
    }
    manifest = strangers(hearts, cascade, words.hearts)
    return Bench(cascade, manifest, measured_by(regressor), kept, follows)


def draws(bench: Bench, hearts: int) -> dict[str, dict[str, float]]:
    """The published protocol, factual and counterfactual: printed, and its metrics."""
    tables = {}
    for name, ef in {"factual": None, "counterfactual": EFS}.items():
        metrics, _ = bench.scored(name, Task(3, ef, "first"), hearts, bench.cascade.plans())
        tables[name] = metrics
        for rule in ("published", "selected", "single", "real"):
            line = [
                f"{metrics.get(f'{rule}_{m}', nan):8.2f}" for m in ("r2", "mae", "rmse", "ssim")
            ]
            print(f"{name:<16}{rule:<12}{''.join(line)}")
    return tables


def apart(bench: Bench, hearts: int) -> list[dict[str, float]]:
    """A row for every stage by itself, asked for the EF of each recording: printed, and kept.

    `recorded_` is of the clip as that stage would make it. All are enlarged to the last one's size.
    """
    told = {**bench.follows, "apart": f"{hearts} {bench.cascade.plans()}"}
    file = bench.kept / _key(told) / "stages.json"
    rows: list[dict[str, float]] = json.loads(file.read_text()) if file.exists() else []
    for number in range(len(rows) + 1, len(bench.cascade.stages) + 1):
        rows.append({"stage": number, **_by_itself(bench, number, hearts)})
        with atomic_file(file) as part:
            part.write_text(json.dumps(rows))
    for row in rows:
        print("by itself:", *(f"{name} {value:.2f}" for name, value in row.items()))
    return rows


def _by_itself(bench: Bench, number: int, hearts: int) -> dict[str, float]:
    """Slope and MAE of the EF in what one stage makes, and in what was recorded, of its size."""
    whole = bench.cascade
    stage, (c, t, h, _) = whole.stages[number - 1], whole.shape
    records = tuple(some(bench.manifest.records, hearts))
    window = Window(t, whole.fps, h, short="black", time="zoom")
    clips = PixelClips(bench.manifest, records, window, "first", c)
    batch = clips.batch(np.arange(len(records)), np.random.default_rng(0))
    assert batch.cond.ef is not None
    asked = batch.cond.ef.double().numpy()
    last, before = whole.stages[-1].lowres, None
    resize = "trilinear" if last is None else last.resize
    if stage.lowres is not None:
        before = resized(batch.x, whole.stages[number - 2].shape[1:], resize)
    made = []
    for k in range(len(records)):
        one = slice(k, k + 1)
        given = None if before is None else before[one]
        made.append(stage.sample(batch.cond.select(one), [k], given).cpu())
    found = {}
    videos = {"made": torch.cat(made), "recorded": resized(batch.x, stage.shape[1:], resize)}
    for name, video in videos.items():
        grown = unsigned(resized(video, (t, h, h), "trilinear").mean(1)).numpy()
        measured = np.array([bench.measure(each, whole.fps) for each in grown])
        found[f"{name}_slope"] = slope(asked, measured)
        found[f"{name}_mae"] = float(np.abs(asked - measured).mean())
    return found


def swept(bench: Bench, hearts: int) -> list[dict[str, object]]:
    """A row for every solver at every number of steps: printed, and kept."""
    rows = []
    for name, steps, plans in sweeps(bench.cascade):
        task, file = Task(1, EFS, "first"), f"{name.replace(', ', '-')}-{steps}"
        metrics, seconds = bench.scored(file, task, hearts, plans)
        row: dict[str, object] = {"solver": name, "steps": steps}
        row |= {"calls": bench.cascade.calls(plans)}
        row |= {m: metrics[f"single_{m}"] for m in ("r2", "mae", "ssim")}
        rows.append({**row, "seconds": seconds})
        told = "-" if seconds is None else f"{seconds:.1f} s"
        print(f"{name:<14}{steps:4} steps  MAE {metrics['single_mae']:6.2f}  {told}")
    return rows


def main() -> None:
    asked = argparse.ArgumentParser(description="a cascade on phantom hearts")
    asked.add_argument("weights", type=Path, nargs="?", default=WEIGHTS)
    asked.add_argument("--model", default="phantom-2SCM")
    asked.add_argument("--hearts", type=int, default=24)
    asked.add_argument("--sweep-hearts", type=int, default=8)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--inference", default="exact", choices=INFERENCE)
    asked.add_argument("--out", type=Path, default=RESULTS)
    words = asked.parse_args()
    if words.weights == WEIGHTS and not holds_one(WEIGHTS):
        print(f"Nothing to measure: there is no cascade in {WEIGHTS}. Train one: {TRAIN}")
        return
    try:
        bench = opened(words)
    except InputError as error:
        if words.weights != WEIGHTS:
            asked.error(str(error))
        print(f"Nothing to measure yet: {error}")
        return
    content = {**where(), "device": words.device, "inference": words.inference}
    content |= {"threads": torch.get_num_threads(), "weights": bench.follows["weights"]}
    content |= {"hearts": words.hearts, "sweep_hearts": words.sweep_hearts}
    content |= {"draws": draws(bench, words.hearts)}
    content |= {"plans": [asdict(plan) for plan in bench.cascade.plans()]}
    content |= {"stages": apart(bench, words.hearts)}
    content |= {"sweep": swept(bench, words.sweep_hearts)}
    with atomic_file(words.out) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
