"""The predecessor's layout: diffusers folders and a ResNet50 in a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from echoflow.interop.echonet_synthetic import load
from echoflow.types import InputError

LEVELS = {"block_out_channels": (32, 32), "layers_per_block": 1, "sample_size": 14}


def write_image_model(folder: Path) -> Any:
    from diffusers import UNet2DModel

    blocks: Any = {"down": ("DownBlock2D", "AttnDownBlock2D"), "up": ("AttnUpBlock2D", "UpBlock2D")}
    net = UNet2DModel(
        in_channels=4,
        out_channels=4,
        down_block_types=blocks["down"],
        up_block_types=blocks["up"],
        **LEVELS,  # pyright: ignore[reportArgumentType]
    )
    net.save_pretrained(folder)
    return net


def write_video_model(folder: Path) -> Any:
    from diffusers import UNetSpatioTemporalConditionModel

    blocks: Any = {
        "down": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        "up": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    }
    net = UNetSpatioTemporalConditionModel(
        in_channels=8,
        out_channels=4,
        down_block_types=blocks["down"],
        up_block_types=blocks["up"],
        addition_time_embed_dim=1,
        projection_class_embeddings_input_dim=1,
        cross_attention_dim=1,
        num_attention_heads=(4, 4),
        num_frames=4,
        **LEVELS,  # pyright: ignore[reportArgumentType]
    )
    net.save_pretrained(folder)
    return net


@pytest.mark.parametrize("write", [write_image_model, write_video_model])
def test_diffusers_folders(write: Any, tmp_path: Path) -> None:
    net, again = write(tmp_path / "net"), load(tmp_path, "net")
    assert type(again) is type(net)
    theirs, ours = net.state_dict(), again.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    path = tmp_path / "net" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sample_sise": 3}))
    with pytest.raises(InputError, match="Did you mean sample_size"):
        load(tmp_path / "net")


@pytest.mark.slow
def test_re_identification(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    net = resnet50()
    net.conv1 = torch.nn.Conv2d(4, 64, 7, 2, 3, bias=False)
    net.fc = torch.nn.Linear(2048, 128)
    folder = tmp_path / "reidentification_dynamic"
    folder.mkdir()
    config = {"siamese_architecture": "ResNet-50", "n_channels": 4, "n_features": 128}
    (folder / "config.json").write_text(json.dumps(config))
    table = {f"model.{key}": value for key, value in net.state_dict().items()}
    table |= {"fc_end.weight": torch.zeros(1, 128), "fc_end.bias": torch.zeros(1)}
    torch.save(table, folder / "reidentification_dynamic_best_network.pth")
    z = torch.randn(1, 4, 14, 14)
    assert torch.equal(load(folder)(z), net.eval()(z))
    table["model.fc2.bias"] = torch.zeros(3)
    torch.save(table, folder / "reidentification_dynamic_best_network.pth")
    with pytest.raises(InputError, match=r"has unknown fc2\.bias"):
        load(folder)
