"""The released transformers: SegDiTTransformer2DModel is our FMiTv1, DiffuserSTDiT our FMvTv1.

What a config says about training only (dropouts) or about nothing (fields that the released code
never reads) is accepted, and written as its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoflow.interop.keymap import Foreign, Fuse, Rename, Rules, completed
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.types import InputError

IMAGE = "SegDiTTransformer2DModel"
VIDEO = "DiffuserSTDiT"

# fields of the constructor of SegDiTTransformer2DModel, a diffusers DiT with one mask channel
IMAGE_DEFAULTS: Mapping[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "norm_num_groups": 32,
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "upcast_attention": False,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
}
IMAGE_NEEDED = ("num_attention_heads", "attention_head_dim", "in_channels", "out_channels")
IMAGE_NEEDED += ("num_layers", "sample_size", "patch_size", "num_embeds_ada_norm")
IMAGE_FIXED = ("activation_fn", "norm_type", "norm_elementwise_affine")

VIDEO_DEFAULTS: Mapping[str, Any] = {
    "input_size": (1, 32, 32),
    "in_channels": 4,
    "out_channels": 4,
    "patch_size": (1, 2, 2),
    "hidden_size": 1152,
    "depth": 28,
    "num_heads": 16,
    "mlp_ratio": 4.0,
    "class_dropout_prob": 0.1,
    "drop_path": 0.0,
    "no_temporal_pos_emb": False,
    "caption_channels": 4096,
    "model_max_length": 120,
    "space_scale": 1.0,
    "time_scale": 1.0,
    "enable_flashattn": False,
}
VIDEO_NEEDED = ("input_size", "in_channels", "out_channels", "patch_size", "hidden_size")
VIDEO_NEEDED += ("depth", "num_heads", "caption_channels", "model_max_length")


def read_image(fields: Mapping[str, Any]) -> FMiTv1Config:
    """Our config of a released image transformer."""
    k = completed(IMAGE, fields, IMAGE_DEFAULTS, IMAGE_NEEDED)
    for name in IMAGE_FIXED:
        if k[name] != IMAGE_DEFAULTS[name]:
            raise InputError(
                f"{IMAGE} has {name} {IMAGE_DEFAULTS[name]} in all releases; got {k[name]}."
            )
    if k["out_channels"] != k["in_channels"] - 1:
        raise InputError(
            f"{IMAGE} reads the latent and one mask channel: in_channels {k['in_channels']} needs "
            f"out_channels {k['in_channels'] - 1}; got {k['out_channels']}."
        )
    return FMiTv1Config(
        channels=k["out_channels"],
        size=k["sample_size"],
        patch=k["patch_size"],
        width=k["num_attention_heads"] * k["attention_head_dim"],
        depth=k["num_layers"],
        heads=k["num_attention_heads"],
        views=k["num_embeds_ada_norm"],
        qkv_bias=k["attention_bias"],
        norm_eps=k["norm_eps"],
    )


def write_image(k: FMiTv1Config) -> dict[str, Any]:
    """The released fields of our config."""
    if k.mask_channels != 1:
        raise InputError(f"{IMAGE} reads 1 mask channel; this model has {k.mask_channels}.")
    return {
        **IMAGE_DEFAULTS,
        "num_attention_heads": k.heads,
        "attention_head_dim": k.width // k.heads,
        "in_channels": k.channels + 1,
        "out_channels": k.channels,
        "num_layers": k.depth,
        "attention_bias": k.qkv_bias,
        "sample_size": k.size,
        "patch_size": k.patch,
        "num_embeds_ada_norm": k.views,
        "norm_eps": k.norm_eps,
    }


def read_video(fields: Mapping[str, Any]) -> FMvTv1Config:
    """Our config of a released video transformer."""
    k = completed(VIDEO, fields, VIDEO_DEFAULTS, VIDEO_NEEDED)
    for name in ("input_size", "patch_size"):
        if len(k[name]) != 3 or not all(isinstance(n, int) for n in k[name]):
            raise InputError(f"{name} of {VIDEO} must be frames, rows and columns; got {k[name]}.")
    if k["in_channels"] != 2 * k["out_channels"]:
        raise InputError(
            f"{VIDEO} reads the latent and an anatomy: out_channels {k['out_channels']} needs "
            f"in_channels {2 * k['out_channels']}; got {k['in_channels']}."
        )
    frames, rows, columns = k["input_size"]
    return FMvTv1Config(
        channels=k["out_channels"],
        size=(rows, columns),
        frames=frames,
        patch=tuple(k["patch_size"]),
        width=k["hidden_size"],
        depth=k["depth"],
        heads=k["num_heads"],
        mlp_ratio=k["mlp_ratio"],
        tokens=k["model_max_length"],
        token_width=k["caption_channels"],
        space_scale=k["space_scale"],
        time_scale=k["time_scale"],
    )


def write_video(k: FMvTv1Config) -> dict[str, Any]:
    """The released fields of our config. The dropouts of training are off."""
    if not k.scrambled_heads:
        raise InputError(f"{VIDEO} merges heads out of order; this model was made without that.")
    return {
        **VIDEO_DEFAULTS,
        "input_size": [k.frames, *k.size],
        "in_channels": 2 * k.channels,
        "out_channels": k.channels,
        "patch_size": list(k.patch),
        "hidden_size": k.width,
        "depth": k.depth,
        "num_heads": k.heads,
        "mlp_ratio": k.mlp_ratio,
        "class_dropout_prob": 0.0,
        "caption_channels": k.token_width,
        "model_max_length": k.tokens,
        "space_scale": k.space_scale,
        "time_scale": k.time_scale,
    }


IMAGE_RULES: Rules = (
    Rename("pos_embed.proj.{p}", "embed.{p}"),
    *(
        Rename(f"transformer_blocks.{{i}}.{theirs}.{{p}}", f"blocks.{{i}}.{ours}.{{p}}")
        for theirs, ours in {
            "norm1.emb.timestep_embedder.linear_1": "time.fc1",
            "norm1.emb.timestep_embedder.linear_2": "time.fc2",
            "norm1.emb.class_embedder.embedding_table": "view",
            "norm1.linear": "ada",
            "attn1.to_out.0": "attn.proj",
            "ff.net.0.proj": "mlp.fc1",
            "ff.net.2": "mlp.fc2",
        }.items()
    ),
    Fuse(
        tuple(f"transformer_blocks.{{i}}.attn1.to_{n}.{{p}}" for n in "qkv"),
        "blocks.{i}.attn.qkv.{p}",
    ),
    Rename("proj_out_1.{p}", "ada.{p}"),
    Rename("proj_out_2.{p}", "head.{p}"),
)

VIDEO_RULES: Rules = tuple(
    Rename(f"model.{theirs}", ours)
    for theirs, ours in {
        "pos_embed": "place",
        "pos_embed_temporal": "place_time",
        "x_embedder.proj.{p}": "embed.{p}",
        "t_embedder.mlp.0.{p}": "time.fc1.{p}",
        "t_embedder.mlp.2.{p}": "time.fc2.{p}",
        "t_block.1.{p}": "ada.{p}",
        "y_embedder.y_embedding": "token_null",
        "y_embedder.y_proj.{fc}.{p}": "token.{fc}.{p}",
        "blocks.{i}.scale_shift_table": "blocks.{i}.table",
        "blocks.{i}.attn.{part}.{p}": "blocks.{i}.attn.{part}.{p}",
        "blocks.{i}.attn_temp.{part}.{p}": "blocks.{i}.attn_temp.{part}.{p}",
        "blocks.{i}.cross_attn.q_linear.{p}": "blocks.{i}.cross.q.{p}",
        "blocks.{i}.cross_attn.kv_linear.{p}": "blocks.{i}.cross.kv.{p}",
        "blocks.{i}.cross_attn.proj.{p}": "blocks.{i}.cross.proj.{p}",
        "blocks.{i}.mlp.{fc}.{p}": "blocks.{i}.mlp.{fc}.{p}",
        "final_layer.scale_shift_table": "table",
        "final_layer.linear.{p}": "head.{p}",
    }.items()
)

FOREIGN: tuple[Foreign, ...] = (
    Foreign(IMAGE, FMiTv1Config, read_image, write_image, IMAGE_RULES),
    Foreign(VIDEO, FMvTv1Config, read_video, write_video, VIDEO_RULES),
)
