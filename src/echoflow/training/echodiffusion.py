"""Recipes of EchoDiffusion: every stage of its three cascades, and a small one of two for phantoms.

Stages train independently, on the same clips. The paper trained each for 48 hours on 8 A100 and
says no steps. Where it differs from the released code, `2SCM-1` is the paper's and `2SCM-code-1`
the code's, so that the runs of either are a cascade of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoflow.networks.rows import CASCADES, PHANTOM_CASCADE
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.training.provenance import Preset, Says

GROUP = "EchoDiffusion, Table 1: stages of cascades; R2, MAE, RMSE of the whole, factual, best of 3"
GROUP_CODE = "EchoDiffusion, trained as its released code has it where the paper differs"
RELEASED = "released code, EchoDiffusion"
PAPER = "paper, EchoDiffusion"

SHARED = (
    Says(PAPER, {"stage": "cascade"}),
    Says("ours, a name to replace", {"data": "echonet-dynamic"}),
    Says(
        RELEASED,
        {
            "engine.optimiser": "adam",
            "engine.lr": 5e-4,
            "engine.betas": (0.9, 0.99),
            "engine.weight_decay": 0.0,
            "engine.schedule": "constant",
            "engine.warmup": 0,
            "engine.clip": 0.0,
            "engine.precision": "fp32",
            "cascade.sigma_data": 0.25,
            "cascade.p_mean": -1.2,
            "cascade.p_std": 1.2,
            "cascade.lowres_most": 1.0,
            "cascade.lowres_level": 0.2,
            "cascade.drop_ef": 0.1,
            "cascade.scale": 5.0,
        },
    ),
    Says(f"{RELEASED}: 0.99965 every 10 steps at its end", {"engine.ema": 0.999965}),
    Says("ours, a guess: 48 hours of 8 GPUs in the paper", {"engine.steps": 150_000}),
    Says(f"{PAPER}: a quarter of the steps; every fourth in the code", {"cascade.still": 0.25}),
    Says(f"{PAPER}: any frame; of the clip in the code", {"cascade.frame": "video"}),
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
CROP = (
    Says(RELEASED, {"cascade.crop": 56}),
    Says("ours: each picture has its own in the code, by mistake", {"cascade.crops": "clip"}),
)
CODE = Says(f"{RELEASED}: any of the clip; of the video in the paper", {"cascade.frame": "clip"})
CODE_CROP = Says(f"{RELEASED}: a place for each picture, by mistake", {"cascade.crops": "frame"})
# clips of a process, and S_churn
STAGES: Mapping[str, tuple[tuple[int, float], ...]] = {
    "1SCM": ((4, 160.0),),
    "2SCM": ((16, 80.0), (10, 160.0)),
    "4SCM": ((16, 40.0), (20, 80.0), (8, 160.0), (5, 160.0)),
}
RESIZE = {"1SCM": "nearest", "2SCM": "trilinear", "4SCM": "nearest"}
SCORES = {"1SCM": "0.76  4.51  6.07", "2SCM": "0.93  2.22  3.35", "4SCM": "0.90  2.42  3.87"}

PHANTOM: Mapping[str, Any] = {
    "stage": "cascade",
    "data": "videos",
    "engine.batch": 4,
    "engine.precision": "fp32",
    "engine.optimiser": "adam",
    "engine.lr": 1e-3,
    "engine.weight_decay": 0.0,
    "engine.warmup": 100,
    "engine.decay": 0.4,
    "engine.ema": 0.998,
    "cascade.sigma_data": 0.4,
    "cascade.frames": 32,
    "cascade.fps": 16.0,
    "cascade.size": 56,
    "cascade.resize": "trilinear",
    "cascade.frame": "first",
    "cascade.p_std": 1.5,
    "cascade.churn": 0.0,
    "cascade.scale": 2.0,
}
PHANTOM_STAGES: tuple[Mapping[str, Any], ...] = (
    {
        "engine.steps": 3_000,
        "cascade.p_mean": 0.5,
        "cascade.still": 0.0,
        "cascade.steps": 16,
    },
    {
        "engine.steps": 3_200,
        "cascade.p_mean": 0.0,
        "cascade.crop": 32,
        "cascade.lowres_most": 0.5,
        "cascade.lowres_level": 0.1,
        "cascade.still": 0.25,
        "cascade.steps": 12,
    },
)


def presets() -> dict[str, Preset]:
    """`<cascade>-<stage>`, `<cascade>-code-<stage>` and `phantom-2SCM-<stage>`."""
    found: dict[str, Preset] = {}
    for name, configs in CASCADES.items():
        for i, config in enumerate(configs, start=1):
            said = _said(name, i)
            found[f"{name}-{i}"] = Preset(GROUP, _about(name, i, config), said)
            code = (*said, CODE, *([CODE_CROP] if _cropped(name, i) else []))
            found[f"{name}-code-{i}"] = Preset(GROUP_CODE, _makes(config), code)
    group = "EchoDiffusion on phantoms, small"
    for i, own in enumerate(PHANTOM_STAGES, start=1):
        model, config = f"2SCM-phantom-{i}", PHANTOM_CASCADE[i - 1]
        values = {**PHANTOM, **own, "model": model, "cascade.before": _before(PHANTOM_CASCADE, i)}
        found[f"phantom-2SCM-{i}"] = Preset(group, _makes(config), (Says("ours", values),))
    return found


def _said(name: str, i: int) -> tuple[Says, ...]:
    """What differs between the stages."""
    clips, churn = STAGES[name][i - 1]
    configs = CASCADES[name]
    last = configs[-1]
    return (
        *SHARED,
        Says(
            f"{PAPER}, Table 3",
            {
                "model": f"{name}-{i}",
                "cascade.frames": last.frames,
                "cascade.fps": last.frames / 2,
                "cascade.size": last.size,
                "cascade.before": _before(configs, i),
                "cascade.steps": 64 if configs[i - 1].size == last.size else 32,
                "cascade.churn": churn,
            },
        ),
        Says(f"{RELEASED}: 8 GPUs x {clips}", {"engine.batch": 8 * clips}),
        Says(RELEASED, {"cascade.resize": RESIZE[name]}),
        *(CROP if _cropped(name, i) else ()),
    )


def _cropped(name: str, i: int) -> bool:
    """Whether stage i trains on crops: the later one that makes the full size."""
    configs = CASCADES[name]
    return i > 1 and configs[i - 1].size == configs[-1].size


def _before(configs: tuple[UNet3DConfig, ...], i: int) -> tuple[int, int] | None:
    """Frames and size of the stage before stage i, counted from 1."""
    return None if i == 1 else (configs[i - 2].frames, configs[i - 2].size)


def _about(name: str, i: int, config: UNet3DConfig) -> str:
    scores = SCORES[name] if i == len(CASCADES[name]) else ""
    return f"{_makes(config):<24}{scores}".rstrip()


def _makes(config: UNet3DConfig) -> str:
    return f"{config.frames} frames of {config.size} px"
