"""A stand-in for the published release: its layout on disk, with random weights.

Names and shapes of the transformers' tensors are written out here, so that nothing of the code
under test decides what a published file looks like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
WEIGHTS = "diffusion_pytorch_model.safetensors"
DATASETS = ("dynamic", "ped_a4c", "ped_psax", "lvh")
REIDS = ("dynamic", "ped_psax", "lvh")


@dataclass(frozen=True)
class Scale:
    """How large the stand-in is; `vae` are block_out_channels, `reid` features and base width."""

    width: int
    depth: int
    heads: int
    patch: int
    frames: int
    vae: tuple[int, ...]
    groups: int
    reid: tuple[int, int]


TINY = Scale(32, 1, 2, 14, 4, (8, 8, 8), 4, (16, 8))
S = Scale(384, 12, 6, 4, 64, (128, 256, 512), 32, (256, 64))


def write_release(root: Path, scale: Scale = TINY, seed: int = 0) -> Path:
    """A complete release under `root`: one model per role, three judges, all assets."""
    torch.manual_seed(seed)
    write_vae(root / "vae" / "avae-4f4", scale)
    image = segdit_config(scale)
    write_model(
        root / "lifm" / f"FMiT-S{scale.patch}-4f4",
        "SegDiTTransformer2DModel",
        image,
        tensors(segdit_shapes(image)),
    )
    write_video_model(root, scale)
    for name in REIDS:
        write_reid(root / "reid" / f"{name}-4f4", scale)
    write_assets(root, scale)
    return root


def write_video_model(root: Path, scale: Scale) -> None:
    config = stdit_config(scale)
    folder = root / "lvfm" / f"FMvT-S{scale.patch}-4f4"
    write_model(folder, "DiffuserSTDiT", config, tensors(stdit_shapes(config)))


def write_assets(root: Path, scale: Scale) -> None:
    mean, std = torch.tensor([1.0, -10.0, -6.0, -4.0]), torch.tensor([6.0, 13.0, 10.0, 7.0])
    torch.save({"mean": mean, "std": std}, root / "scaling.pt")
    for name in DATASETS:
        torch.save(torch.rand(5, scale.reid[0]), root / f"anatomies_{name}.pt")


def write_model(
    folder: Path, name: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"_class_name": name, "_diffusers_version": "0.30.0", **config}
    (folder / "config.json").write_text(json.dumps(fields))
    save_file(dict(weights), str(folder / WEIGHTS))
    return folder


def tensors(shapes: Shapes) -> dict[str, Tensor]:
    """Small random weights of these names and shapes."""
    return {key: 0.05 * torch.randn(shape) for key, shape in shapes.items()}


def write_vae(folder: Path, scale: Scale) -> None:
    from diffusers import AutoencoderKL

    levels: Any = len(scale.vae)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        block_out_channels=scale.vae,  # pyright: ignore[reportArgumentType]
        layers_per_block=2 if scale is S else 1,
        latent_channels=4,
        norm_num_groups=scale.groups,
        sample_size=112,
    ).save_pretrained(folder)


def write_reid(folder: Path, scale: Scale) -> None:
    from torchvision.models import resnet18
    from torchvision.models.resnet import BasicBlock, ResNet

    features, base = scale.reid
    net = resnet18() if base == 64 else ResNet(BasicBlock, [2, 2, 2, 2])
    assert isinstance(net, ResNet)
    folder.mkdir(parents=True)
    shapes: dict[str, list[int]] = {k: list(v.shape) for k, v in net.state_dict().items()}
    shapes["conv1.weight"][1], shapes["fc.bias"], shapes["fc.weight"][0] = 4, [features], features
    if base != 64:  # every axis of channels shrinks alike
        shrink: dict[int, int] = {64: base, 128: 2 * base, 256: 4 * base, 512: 8 * base}
        shapes = {key: [shrink.get(n, n) for n in shape] for key, shape in shapes.items()}
    weights = {f"model.{key}": _batch_norm(key, shape) for key, shape in shapes.items()}
    args = {"in_channels": 4, "out_channels": features}
    if base != 64:
        args["base_width"] = base
    backbone = {"target": "echoflow.common.models.ResNet18", "args": {"weights": None}}
    tree = {"backbone": backbone, "model": {"args": args}}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    save_file(weights, str(folder / "backbone.safetensors"))


def _batch_norm(key: str, shape: list[int]) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    if key.endswith("running_var"):
        return 1 + torch.rand(shape)
    return torch.randn(shape) * (0.05 if len(shape) > 1 else 0.5)


def segdit_config(scale: Scale) -> dict[str, Any]:
    return {
        "num_attention_heads": scale.heads,
        "attention_head_dim": scale.width // scale.heads,
        "in_channels": 5,
        "out_channels": 4,
        "num_layers": scale.depth,
        "sample_size": 28,
        "patch_size": scale.patch,
        "num_embeds_ada_norm": 3,
    }


def stdit_config(scale: Scale) -> dict[str, Any]:
    return {
        "input_size": [scale.frames, 28, 28],
        "in_channels": 8,
        "out_channels": 4,
        "patch_size": [1, scale.patch, scale.patch],
        "hidden_size": scale.width,
        "depth": scale.depth,
        "num_heads": scale.heads,
        "caption_channels": 1,
        "model_max_length": 1,
        "class_dropout_prob": 0.0,
    }


def segdit_shapes(config: Mapping[str, Any]) -> Shapes:
    """Names and shapes of SegDiTTransformer2DModel."""
    d = config["num_attention_heads"] * config["attention_head_dim"]
    p, out = config["patch_size"], config["out_channels"]
    shapes: Shapes = {
        "pos_embed.proj.weight": (d, config["in_channels"], p, p),
        "pos_embed.proj.bias": (d,),
        **_linear("proj_out_1", d, 2 * d),
        **_linear("proj_out_2", d, p * p * out),
    }
    for i in range(config["num_layers"]):
        block = f"transformer_blocks.{i}"
        norm, rows = f"{block}.norm1", config["num_embeds_ada_norm"] + 1
        shapes |= {
            **_linear(f"{norm}.emb.timestep_embedder.linear_1", 256, d),
            **_linear(f"{norm}.emb.timestep_embedder.linear_2", d, d),
            f"{norm}.emb.class_embedder.embedding_table.weight": (rows, d),
            **_linear(f"{norm}.linear", d, 6 * d),
            **_linear(f"{block}.ff.net.0.proj", d, 4 * d),
            **_linear(f"{block}.ff.net.2", 4 * d, d),
        }
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            shapes |= _linear(f"{block}.attn1.{part}", d, d)
    return shapes


def stdit_shapes(config: Mapping[str, Any]) -> Shapes:
    """Names and shapes of DiffuserSTDiT, the position tables and the token buffer included."""
    d, c = config["hidden_size"], config["caption_channels"]
    (t, h, w), (pt, ph, pw) = config["input_size"], config["patch_size"]
    shapes: Shapes = {
        "pos_embed": (1, (h // ph) * (w // pw), d),
        "pos_embed_temporal": (1, t // pt, d),
        "x_embedder.proj.weight": (d, config["in_channels"], pt, ph, pw),
        "x_embedder.proj.bias": (d,),
        **_linear("t_embedder.mlp.0", 256, d),
        **_linear("t_embedder.mlp.2", d, d),
        **_linear("t_block.1", d, 6 * d),
        "y_embedder.y_embedding": (config["model_max_length"], c),
        **_linear("y_embedder.y_proj.fc1", c, d),
        **_linear("y_embedder.y_proj.fc2", d, d),
        "final_layer.scale_shift_table": (2, d),
        **_linear("final_layer.linear", d, pt * ph * pw * config["out_channels"]),
    }
    for i in range(config["depth"]):
        block = f"blocks.{i}"
        shapes |= {
            f"{block}.scale_shift_table": (6, d),
            **_linear(f"{block}.cross_attn.q_linear", d, d),
            **_linear(f"{block}.cross_attn.kv_linear", d, 2 * d),
            **_linear(f"{block}.cross_attn.proj", d, d),
            **_linear(f"{block}.mlp.fc1", d, 4 * d),
            **_linear(f"{block}.mlp.fc2", 4 * d, d),
        }
        for attention in ("attn", "attn_temp"):
            shapes |= _linear(f"{block}.{attention}.qkv", d, 3 * d)
            shapes |= _linear(f"{block}.{attention}.proj", d, d)
    return {f"model.{key}": shape for key, shape in shapes.items()}


def _linear(name: str, into: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
