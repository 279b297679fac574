"""The embedded bundle from nothing: videos -> A-VAE -> latents -> the other networks -> bundle.

Every step leaves its result under a name of its own and is skipped when that is there, so the chain
goes on where it was stopped, inside a stage too.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.data.shards import Latents, encode_clips, labelled
from echoflow.data.sources import open_source
from echoflow.files import new_folder, sha256
from echoflow.networks import zoo
from echoflow.networks.dit import FMvTConfig
from echoflow.privacy import Gallery, PrivacyFilter
from echoflow.sampling import SamplingPlan
from echoflow.training.abreast import Tell, train_all
from echoflow.training.folder import RECIPE, changes
from echoflow.training.recipes import Recipe, read
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
    train_set, val = (Latents.read(out / "latents", s) for s in (Split.TRAIN, Split.VAL))
    with new_folder(bundle) as work:
        for stage in zoo.STAGES:
            zoo.save(zoo.load(_network(out, stage)), work / stage, torch.bfloat16)
            recipe = (out / stage / RECIPE).read_text()
            (work / stage / RECIPE).write_text(recipe.replace(f"{out}/", ""))
        reid = zoo.load(work / "reid")
        seen, held_out = _gallery(reid, train_set), _gallery(reid, val)
        PrivacyFilter.calibrated(reid, seen, held_out).save(work / "privacy.safetensors")
        recipes = {stage: read(out / stage / RECIPE) for stage in zoo.STAGES}
        card = _card(train_set, recipes, population)
        (work / zoo.BUNDLE).write_text(json.dumps(card, indent=1) + "\n")


def _gallery(reid: Any, latents: Latents) -> Gallery:
    """First frames, which are end-diastolic, grouped by view; features rounded to float16."""
    mean = latents.moments[:, 0].float().chunk(2, dim=1)[0]
    uids = [record.uid for record in latents.records]
    views = [record.view.name for record in latents.records]
    found = Gallery.of(reid, latents.stats.normalise(mean), uids, views)
    return dataclasses.replace(found, features=found.features.half().float())


def _card(latents: Latents, recipes: dict[str, Recipe], population: Population) -> dict[str, Any]:
    video = zoo.config_of(recipes["lvfm"].model)
    assert isinstance(video, FMvTConfig)
    return {
        "name": "nano",
        "data": "phantom hearts only; no patient was involved",
        "population": population.spec(),
        "mean": latents.stats.mean.tolist(),
        "std": latents.stats.std.tolist(),
        "size": video.size,
        "frames": video.frames,
        "fps": population.fps,
        "shift": {stage: recipes[stage].flow.shift for stage in ("lifm", "lvfm")},
        "anatomy": dataclasses.asdict(ANATOMY),
        "motion": dataclasses.asdict(MOTION),
        "models": {stage: recipes[stage].model for stage in zoo.STAGES},
    }


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
