"""The recipes that have a name."""

from __future__ import annotations

from typing import Any

from echoflow.training.recipes import AutoencoderOptions, Engine, FlowOptions, Recipe, Stage
from echoflow.types import choose


def named(name: str) -> Recipe:
    """A recipe of the table by name; the nearest names are offered otherwise."""
    return RECIPES[choose(name, RECIPES, "recipe")]


def _nano(stage: Stage, model: str, data: str, engine: Engine, **options: Any) -> Recipe:
    return Recipe(stage=stage, model=model, data=data, posterior="mean", engine=engine, **options)


RECIPES: dict[str, Recipe] = {
    "nano-avae": _nano(
        "avae",
        "A-VAE-nano",
        "videos",
        Engine(steps=2000, batch=8, lr=1.5e-3, warmup=100, decay=0.35, ema=0.995, weight_decay=0.0),
        avae=AutoencoderOptions(
            reconstruction="l1",
            kl=2e-7,
            adversary=0.1,
            adversary_from=1000,
            adversary_lead=150,
            adversary_rate=0.15,
            adversary_width=32,
        ),
    ),
    "nano-lifm": _nano(
        "lifm",
        "FMiT-nano",
        "latents",
        Engine(
            steps=2400,
            batch=32,
            lr=1e-3,
            warmup=50,
            decay=0.35,
            ema=0.998,
            optimiser="muon",
            compile=True,
        ),
        flow=FlowOptions(frames=1, shift=1.5),
    ),
    "nano-lvfm": _nano(
        "lvfm",
        "FMvT-nano",
        "latents",
        Engine(
            steps=12000,
            batch=8,
            lr=1e-3,
            warmup=50,
            decay=0.35,
            ema=0.999,
            optimiser="muon",
            compile=True,
        ),
        flow=FlowOptions(frames=32, anatomy="first", shift=3.0),
    ),
    "nano-reid": _nano(
        "reid", "ReId-nano", "latents", Engine(steps=300, batch=32, lr=1e-3, warmup=50)
    ),
    "nano-ef": _nano(
        "ef",
        "EF-nano",
        "videos",
        Engine(steps=1400, batch=16, lr=1.5e-3, warmup=50, decay=0.4),
    ),
    "nano-lv": _nano(
        "lv",
        "LV-nano",
        "videos",
        Engine(steps=1200, batch=16, lr=2e-3, warmup=50, decay=0.4, ema=0.99),
    ),
}
