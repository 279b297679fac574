"""A whole bundle with untrained networks of a few thousand weights, on disk."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from echoflow.networks import zoo
    from echoflow.networks.avae import AVAEConfig
    from echoflow.networks.dit import FMiTConfig, FMvTConfig
    from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
    from echoflow.privacy import Gallery, PrivacyFilter

    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    stages = {
        "avae": AVAEConfig(4, (8, 8, 8), 1, 4, False, 1),
        "lifm": FMiTConfig(4, 28, 14, 32, 1, 2),
        "lvfm": FMvTConfig(4, 28, 8, (2, 14, 14), 32, 1, 2),
        "reid": ReIdConfig(4, 16, 1),
        "ef": EFRegressorConfig((8, 8, 8), 28, 8),
        "lv": LVSegmenterConfig((8, 16)),
    }
    for stage, config in stages.items():
        zoo.save(zoo.build(config), folder / stage)
    gallery = Gallery(torch.randn(5, 16), tuple(f"0X{i:016X}" for i in range(5)))
    PrivacyFilter(torch.nn.Identity(), gallery, 0.99).save(folder / "privacy.safetensors")
    plan = {"steps": 2, "solver": "euler", "scale": 1.0, "negative": ["ef"]}
    card = {
        "mean": [0.0] * 4,
        "std": [1.0] * 4,
        "size": 28,
        "frames": 8,
        "fps": 16.0,
        "shift": {"lifm": 1.0, "lvfm": 1.0},
        "anatomy": plan,
        "motion": plan,
    }
    (folder / "bundle.json").write_text(json.dumps(card))
    return folder
