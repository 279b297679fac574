"""Recipes of Free-Echo: its two datasets, its classifier-free baseline, and phantoms for a CPU.

Where the paper differs from the released code, `Free-Echo-camus` is the paper's and
`Free-Echo-camus-code` the code's.
"""

from __future__ import annotations

from collections.abc import Mapping

from echoflow.training.provenance import Preset, Says

GROUP = "Free-Echo, Table 1: videos from a segmentation, FID and FVD in the paper"
GROUP_CODE = "Free-Echo, trained as its released code has it where the paper differs"
RELEASED = "released code, Free-Echo"
BASELINE = (
    Says("paper, Free-Echo, Table 1: classifier-free", {"freeecho.told": "labels"}),
    Says("ours: the paper gives no share", {"freeecho.drop": 0.1}),
)

SHARED = (
    Says("paper, Free-Echo", {"stage": "freeecho", "model": "Free-Echo"}),
    Says("paper, Free-Echo: first 24 frames; 16 in the code", {"freeecho.frames": 24}),
    Says("paper, Free-Echo; 6 x 2 in the code", {"engine.batch": 16}),
    Says(
        "paper, Free-Echo",
        {
            "engine.optimiser": "adam",
            "engine.lr": 1e-3,
            "engine.steps": 100_000,
            "freeecho.sigma_data": 0.5,
        },
    ),
    Says(
        RELEASED,
        {
            "engine.betas": (0.9, 0.999),
            "engine.weight_decay": 0.0,
            "engine.schedule": "constant",
            "engine.warmup": 0,
            "engine.clip": 0.0,
        },
    ),
    Says(f"{RELEASED}: 0.995 every 10 steps", {"engine.ema": 0.9995}),
    Says("ours: float16 in the code", {"engine.precision": "bf16"}),
    Says(
        "ours",
        {
            "engine.workers": 8,
            "engine.validate_every": 2_500,
            "engine.checkpoint_every": 1_000,
            "engine.picture_every": 10_000,
        },
    ),
)
DATASETS: Mapping[str, tuple[Says, ...]] = {
    "camus": (
        Says(f"{RELEASED}: the sector alone", {"freeecho.told": "sector"}),
        Says("ours, a name to replace", {"data": "camus"}),
        Says("paper, Free-Echo: 400, 50 and 50 patients", {"splits": "freeecho"}),
    ),
    "dynamic": (
        Says(f"{RELEASED}: nothing", {"freeecho.told": "nothing"}),
        Says("ours, a name to replace", {"data": "echonet-dynamic"}),
        Says("paper, Free-Echo: 8024, 1003 and 1003 videos", {"splits": "freeecho"}),
    ),
}
CODE = (
    Says(f"{RELEASED}: first 16 frames; 24 in the paper", {"freeecho.frames": 16}),
    Says(f"{RELEASED}: 6 x 2; 16 in the paper", {"engine.batch": 12}),
)
CODE_LABELS = Says(f"{RELEASED}: labels are always told", {"freeecho.drop": 0.0})
SCORES = {
    "camus": "26.31  195.41",
    "dynamic": "24.22  180.39",
    "camus-labels": "22.50  150.80",
    "dynamic-labels": "18.56  130.85",
}

PHANTOM = Says(
    "ours",
    {
        "stage": "freeecho",
        "model": "Free-Echo-phantom",
        "data": "videos",
        "engine.steps": 1_000,
        "engine.batch": 4,
        "engine.precision": "fp32",
        "engine.optimiser": "adam",
        "engine.lr": 1e-3,
        "engine.weight_decay": 0.0,
        "engine.warmup": 100,
        "engine.decay": 0.4,
        "engine.ema": 0.998,
        "freeecho.frames": 12,
        "freeecho.fps": 12.0,
        "freeecho.told": "sector",
    },
)


def presets() -> dict[str, Preset]:
    """`Free-Echo-<dataset>`, `phantom-Free-Echo`, and the baseline of each, `...-labels`; those of
    a dataset also as `...-code`."""
    found: dict[str, Preset] = {}
    for name, own in DATASETS.items():
        for suffix, last, code in (("", (), CODE), ("-labels", BASELINE, (*CODE, CODE_LABELS))):
            full, said = f"{name}{suffix}", (*SHARED, *own, *last)
            found[f"Free-Echo-{full}"] = Preset(GROUP, SCORES[full], said)
            found[f"Free-Echo-{full}-code"] = Preset(GROUP_CODE, "", (*said, *code))
    group, labels = "Free-Echo on phantoms, on a CPU", "told of all labels, the baseline"
    found["phantom-Free-Echo"] = Preset(group, "told of the sector alone", (PHANTOM,))
    found["phantom-Free-Echo-labels"] = Preset(group, labels, (PHANTOM, *BASELINE))
    return found
