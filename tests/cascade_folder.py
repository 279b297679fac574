"""Small cascades as they lie on disk: a published one of two stages, `config.yaml` and `merged.pt`,
and the finished run of a single stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from echoflow.interop.keymap import to_theirs
from echoflow.interop.unet3d import RULES
from echoflow.networks import zoo
from echoflow.networks.unet3d import UNet3D, UNet3DConfig
from echoflow.training.table import named

# What such a config says is written out here by hand.
STAGE = {
    "dim": 8,
    "num_resnet_blocks": 1,
    "dim_mults": [1, 2],
    "max_text_len": 1,
    "layer_attns": False,
    "layer_cross_attns": [False, True],
    "cond_images_channels": 3,
    "attn_heads": 2,
    "attn_dim_head": 4,
}
TREE: dict[str, Any] = {
    "unets": {"unet1": STAGE, "unet2": {**STAGE, "memory_efficient": True}},
    "imagen": {
        "elucidated": True,
        "condition_on_text": True,
        "image_sizes": [8, 16],
        "text_embed_dim": 1,
        "num_sample_steps": [32, 64],
        "random_crop_sizes": [None, 8],
        "temporal_downsample_factor": [4, 1],
        "sigma_min": 0.002,
        "sigma_max": 80,
        "sigma_data": 0.25,
        "rho": 7,
        "P_mean": -1.2,
        "P_std": 1.2,
        "S_churn": [80, 160],
        "S_tmin": 0.05,
        "S_tmax": 50,
        "S_noise": 1.003,
        "resize_mode": "trilinear",
    },
    "trainer": {"lr": "5e-4"},
    "dataset": {"fps": 32, "duration": 0.25},
}
FORM = UNet3DConfig(3, 8, 2, 8, (1, 2), (1, 1), (False, True), heads=2, head=4)
FORMS = (FORM, replace(FORM, size=16, frames=8, memory_saving=True, lowres=True))


def cascade(folder: Path, tree: Mapping[str, Any] = TREE, forms: Any = FORMS) -> list[UNet3D]:
    """Write `config.yaml`, and a `merged.pt` with all that a training of the release leaves."""
    torch.manual_seed(0)
    nets = [UNet3D(form) for form in forms]
    content: dict[str, Any] = {"version": "1.18.5", "steps": torch.tensor([5, 7]), "ema": {}}
    content |= {"time_elapsed": 3.5, "model": {}}
    for i, net in enumerate(nets):
        theirs = {key: v.clone() for key, v in to_theirs(RULES, net.state_dict()).items()}
        content["model"] |= {f"unets.{i}.{key}": value + 1 for key, value in theirs.items()}
        content["ema"] |= {f"{i}.ema_model.{key}": value for key, value in theirs.items()}
        content["ema"] |= {f"{i}.online_model.{key}": value + 1 for key, value in theirs.items()}
        content["ema"] |= {f"{i}.initted": torch.tensor([True]), f"{i}.step": torch.tensor([9])}
        content |= {f"scaler{i}": {}, f"optim{i}": {"state": {}, "param_groups": [{"lr": 5e-4}]}}
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(tree)))
    torch.save(content, folder / "merged.pt")
    return nets


def one_stage(root: Path) -> Path:
    """The finished run of the cascade `mine`, 8 frames of 16 pixels; other weights every time."""
    zoo.save(UNet3D(replace(FORM, channels=1, size=16, frames=8)), root / "mine-1" / "net")
    settings = ["cascade.frames=8", "cascade.size=16", "cascade.fps=8", "cascade.steps=1"]
    recipe = named("phantom-2SCM-1").changed(settings)
    (root / "mine-1" / "recipe.yaml").write_text(recipe.to_yaml())
    return root
