"""Our own recipes: `nano` for a laptop, `phantom-S` for one GPU, both on simulated hearts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoflow.training.provenance import Preset, Says
from echoflow.training.recipes import Stage

Row = tuple[str, Mapping[str, Any]]
"""The model, and what its recipe says of engine and options."""

NANO: dict[Stage, Row] = {
    "avae": (
        "A-VAE-nano",
        {
            "engine.steps": 2000,
            "engine.batch": 8,
            "engine.lr": 1.5e-3,
            "engine.warmup": 100,
            "engine.decay": 0.35,
            "engine.ema": 0.995,
            "engine.weight_decay": 0.0,
            "avae.reconstruction": "l1",
            "avae.kl": 2e-7,
            "avae.adversary": 0.3,
            "avae.adversary_from": 1600,
            "avae.adversary_lead": 100,
            "avae.adversary_most": 0.3,
            "avae.adversary_width": 32,
        },
    ),
    "lifm": (
        "FMiT-nano",
        {
            "engine.steps": 4000,
            "engine.batch": 32,
            "engine.lr": 1e-3,
            "engine.warmup": 50,
            "engine.decay": 0.35,
            "engine.ema": 0.998,
            "engine.optimiser": "muon",
            "engine.compile": True,
            "flow.shift": 1.5,
        },
    ),
    "lvfm": (
        "FMvT-nano",
        {
            "engine.steps": 6000,
            "engine.batch": 8,
            "engine.lr": 1e-3,
            "engine.warmup": 50,
            "engine.decay": 0.35,
            "engine.ema": 0.999,
            "engine.optimiser": "muon",
            "engine.compile": True,
            "flow.frames": 32,
            "flow.anatomy": "first",
            "flow.shift": 3.0,
        },
    ),
    "reid": (
        "ReId-nano",
        {"engine.steps": 300, "engine.batch": 32, "engine.lr": 1e-3, "engine.warmup": 50},
    ),
    "ef": (
        "EF-nano",
        {
            "engine.steps": 1400,
            "engine.batch": 16,
            "engine.lr": 1.5e-3,
            "engine.warmup": 50,
            "engine.decay": 0.4,
        },
    ),
    "lv": (
        "LV-nano",
        {
            "engine.steps": 2400,
            "engine.batch": 16,
            "engine.lr": 2e-3,
            "engine.warmup": 50,
            "engine.decay": 0.4,
            "engine.ema": 0.99,
        },
    ),
}

PHANTOM: dict[Stage, Row] = {
    "avae": (
        "A-VAE-4f4",
        {
            "engine.steps": 40_000,
            "engine.batch": 32,
            "engine.lr": 2e-4,
            "engine.betas": (0.5, 0.9),
            "engine.weight_decay": 0.0,
            "avae.reconstruction": "l1",
            "avae.kl": 2e-7,
            "avae.adversary": 0.3,
            "avae.adversary_from": 15_000,
            "avae.adversary_lead": 500,
            "avae.adversary_most": 0.3,
        },
    ),
    "lifm": (
        "FMiT-S/2-4f4-v2",
        {"engine.steps": 60_000, "engine.batch": 256, "engine.lr": 2e-4, "flow.shift": 1.5},
    ),
    "lvfm": (
        "FMvT-S/2-4f4-v2",
        {"engine.steps": 80_000, "engine.batch": 64, "engine.lr": 2e-4, "flow.shift": 3.0},
    ),
    "reid": ("ReId-4f4", {"engine.steps": 5_000, "engine.batch": 128}),
    "ef": (
        "EF-R2+1D",
        {"engine.steps": 12_000, "engine.batch": 32, "engine.lr": 3e-4, "ef.augment": "crop"},
    ),
    "lv": ("LV-DeepLabV3", {"engine.steps": 6_000, "engine.batch": 64, "engine.lr": 3e-4}),
}
_GPU = {
    "engine.warmup": 1_000,
    "engine.decay": 0.3,
    "engine.betas": (0.9, 0.95),
    "engine.ema": 0.9995,
    "engine.workers": 8,
    "engine.validate_every": 1_000,
    "engine.checkpoint_every": 1_000,
    "engine.picture_every": 5_000,
}

ABOUT: dict[Stage, str] = {
    "avae": "autoencoder of frames",
    "lifm": "anatomies",
    "lvfm": "videos from an anatomy and an EF",
    "reid": "re-identification",
    "ef": "the EF of a clip",
    "lv": "the left ventricle of a frame",
}


def presets() -> dict[str, Preset]:
    """`nano-<stage>` and `phantom-S-<stage>`."""
    found = {}
    for stage, (model, values) in NANO.items():
        found[f"nano-{stage}"] = _preset("nano, on a CPU", stage, model, {}, values)
    for stage, (model, values) in PHANTOM.items():
        found[f"phantom-S-{stage}"] = _preset("phantom-S, on one GPU", stage, model, _GPU, values)
    return found


def _preset(
    group: str, stage: Stage, model: str, shared: Mapping[str, Any], values: Mapping[str, Any]
) -> Preset:
    data = "videos" if stage in ("avae", "ef", "lv") else "latents"
    what = {"stage": stage, "model": model, "data": data, "posterior": "mean"}
    return Preset(group, f"{ABOUT[stage]} ({model})", (Says("ours", {**what, **shared, **values}),))
