"""The embedded bundle from nothing: videos -> A-VAE -> latents -> the other networks -> bundle.

Every step leaves its result under a name of its own and is skipped when that is there, so the chain
goes on where it was stopped, inside a stage too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.data.shards import encode_clips, labelled
from echoflow.data.sources import open_source
from echoflow.files import sha256
from echoflow.networks import zoo
from echoflow.sampling import SamplingPlan
from echoflow.training.abreast import Tell, train_all
from echoflow.training.bundling import bundled
from echoflow.training.folder import changes
from echoflow.training.recipes import Recipe
from echoflow.training.stages import NETWORKS
from echoflow.training.table import named
from echoflow.types import InputError, Split, View

POPULATION = Population(
    patients=1500,
    seed=1,
    cohorts=("adult", "adult", "adult", "adult", "dilated", "hypertrophic"),
    views=tuple(View),
    frames=33,
    fps=16.0,
    quality=1,
    phase=0.0,
    ef=(10.0, 80.0),
)
ANATOMY = SamplingPlan(steps=20, solver="multistep", scale=1.0)
MOTION = SamplingPlan(12, "multistep", negative=("ef",), start_index=8, temperature=0.9)


def train_nano(
    out: str | Path,
    population: Population = POPULATION,
    settings: dict[str, list[str]] | None = None,
    tell: Tell = lambda what, done, total: None,
    at_once: int = 1,
) -> Path:
    """Run or continue the chain in `out`; returns the bundle's folder.

    `settings` holds dotted changes per stage, such as {"lvfm": ["engine.steps=100"]}. Of the stages
    that need the latents only, `at_once` are trained at a time. `InputError`: a stage that is
    finished was trained with other settings.
    """
    out = Path(out)
    recipes = {
        stage: recipe_of(stage, out, (settings or {}).get(stage, [])) for stage in zoo.STAGES
    }
    _refuse_other_settings(out, recipes)
    if not (out / "videos").exists():
        clips = population.clips(os.cpu_count() or 1)
        write_dynamic(_counted(clips, len(population), tell), out / "videos", population.spec())
    train_all([(recipes["avae"], out / "avae")], 1, tell)
    if not (out / "latents").exists():
        encode_dataset(out / "videos", out / "avae" / "avae", out / "latents", tell=tell)
    others = ("lvfm", "lifm", "reid", "ef", "lv")  # the longest first
    train_all([(recipes[stage], out / stage) for stage in others], at_once, tell)
    bundle = out / "bundle"
    if not bundle.exists():
        write_bundle(out, population, bundle)
    return bundle


def _refuse_other_settings(out: Path, recipes: Mapping[str, Recipe]) -> None:
    for stage, recipe in recipes.items():
        run = out / stage
        differing = changes(run, recipe) if (_network(out, stage) / zoo.WEIGHTS).is_file() else []
        if differing:
            raise InputError(
                f"stage {stage} is finished, with other settings ({', '.join(differing[:3])}); "
                f"give those it was trained with, or another folder than {out}."
            )


def encode_dataset(
    dataset: str | Path,
    avae: str | Path,
    out: str | Path,
    splits: tuple[Split, ...] = (Split.TRAIN, Split.VAL),
    tell: Tell = lambda what, done, total: None,
) -> None:
    """The latents of a dataset's videos, with the LV masks of phantoms."""
    manifest = open_source(dataset)
    records = [r for r in manifest.records if r.split in splits]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = zoo.load(avae).to(device)

    def progress(done: int) -> None:
        tell("encode", done, len(records))

    encode_clips(
        labelled(manifest, records), net, out, sha256(Path(avae) / zoo.WEIGHTS), progress=progress
    )


def write_bundle(out: Path, population: Population, bundle: Path) -> None:
    """The averaged networks in bfloat16, the gallery with its thresholds, recipes and the card."""
    said = {
        "name": "nano",
        "data": "phantom hearts only; no patient was involved",
        "population": population.spec(),
        "anatomy": dataclasses.asdict(ANATOMY),
        "motion": dataclasses.asdict(MOTION),
    }
    bundled([out / stage for stage in zoo.STAGES], bundle, said, torch.bfloat16)


def recipe_of(stage: str, out: Path, settings: list[str]) -> Recipe:
    """What the chain in `out` trains at a stage."""
    data = out / ("videos" if stage in ("avae", "ef", "lv") else "latents")
    seen = [f"decoder={out / 'avae' / 'avae'}"] if stage in ("lifm", "lvfm") else []
    return named(f"nano-{stage}").changed([f"data={data}", *seen, *settings])


def _network(out: Path, stage: str) -> Path:
    """Where a stage's finished, averaged network lies."""
    return out / stage / NETWORKS[stage]


def _counted(clips: Iterator[Any], total: int, tell: Tell) -> Iterator[Any]:
    for done, clip in enumerate(clips, 1):
        yield clip
        tell("render", done, total)
