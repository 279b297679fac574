"""The convolutional classes of the release: SegUnet2DModel, UNetSTIC and ResNet18.

Their tensors are ours under another prefix, since both sides are the same library modules.
AutoencoderKL needs no table: diffusers' own class is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoflow.interop.keymap import Foreign, Rename, completed
from echoflow.networks.trunks import ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.types import InputError, View

# Defaults of the constructors, for fields that a config.json leaves out. None takes any kind of
# value, so what may be a number or a list of them, or null, stands in OPEN.
UNET = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D",) + ("AttnDownBlock2D",) * 3,
    "up_block_types": ("AttnUpBlock2D",) * 3 + ("UpBlock2D",),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1.0,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": None,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
STUNET = {
    "sample_size": None,
    "in_channels": 8,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlockSpatioTemporal",) * 3 + ("DownBlockSpatioTemporal",),
    "up_block_types": ("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "layers_per_block": None,
    "cross_attention_dim": None,
    "transformer_layers_per_block": None,
    "num_attention_heads": None,
    "num_frames": 25,
}
OPEN_UNET = {"attention_head_dim": 8}
OPEN_STUNET = {
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "transformer_layers_per_block": 1,
    "num_attention_heads": (5, 10, 20, 20),
}
RESNET18 = {"in_channels": 4, "out_channels": 128, "base_width": 64}

SHAPING = ("in_channels", "out_channels", "block_out_channels")
OUR_NAMES = {
    "sample_size": "size",
    "block_out_channels": "widths",
    "layers_per_block": "layers",
    "attention_head_dim": "head",
    "norm_num_groups": "groups",
    "num_attention_heads": "heads",
    "cross_attention_dim": "token",
    "num_frames": "frames",
}


def _read_unet(config: Mapping[str, Any]) -> UNetConfig:
    name = "SegUnet2DModel"
    fields = completed(name, {**OPEN_UNET, **config}, UNET, SHAPING)
    _refuse_other(name, fields, {"time_embedding_type": "positional", "class_embed_type": None})
    given, out = fields.pop("in_channels"), fields.pop("out_channels")
    if given < out:
        raise InputError(
            f"{name} takes the latent and masks, so in_channels must be at least out_channels; "
            f"got {given} and {out}."
        )
    views, null_view = _views(fields.pop("num_class_embeds"))
    own = _renamed(fields)
    return UNetConfig(channels=out, masks=given - out, views=views, null_view=null_view, **own)


def _write_unet(config: UNetConfig) -> dict[str, Any]:
    fixed = {"time_embedding_type": "positional", "class_embed_type": None}
    return _plain({**config.arguments(), **fixed})


def _views(rows: Any) -> tuple[int, bool]:
    """Views and whether a null row follows them: the last, of more rows than there are views."""
    if rows is None:
        return 0, False
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise InputError(f"num_class_embeds must be a whole number above 0 or null, not {rows!r}.")
    return (rows - 1, True) if rows > len(View) else (rows, False)


def _read_stunet(config: Mapping[str, Any]) -> STUNetConfig:
    fields = completed("UNetSTIC", {**OPEN_STUNET, **config}, STUNET, SHAPING)
    given, out = fields.pop("in_channels"), fields.pop("out_channels")
    if given != 2 * out:
        raise InputError(
            f"UNetSTIC takes the latent and an anatomy, so in_channels must be twice out_channels; "
            f"got {given} and {out}."
        )
    return STUNetConfig(channels=out, **_renamed(fields))


def _write_stunet(config: STUNetConfig) -> dict[str, Any]:
    return _plain(config.arguments())


def _read_resnet18(config: Mapping[str, Any]) -> ReId18Config:
    fields = completed("ResNet18", config, RESNET18, ("in_channels", "out_channels"))
    channels, features, width = (fields[name] for name in RESNET18)
    return ReId18Config(channels, features, width, head=False)


def _write_resnet18(config: ReId18Config) -> dict[str, Any]:
    if config.head:
        raise InputError("the published layout has no pair head; save net.released() instead.")
    fields = {"in_channels": config.channels, "out_channels": config.features}
    return fields if config.width == 64 else {**fields, "base_width": config.width}


def _refuse_other(name: str, fields: dict[str, Any], fixed: Mapping[str, Any]) -> None:
    """Take out fields of which only one value has a meaning here; refuse the others."""
    for field, only in fixed.items():
        value = fields.pop(field)
        if value != only:
            raise InputError(f"{field} of {name} must be {only!r}; got {value!r}.")


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields under our names; lists, as JSON has them, become tuples."""
    return {
        OUR_NAMES.get(name, name): tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}


FOREIGN: tuple[Foreign, ...] = (
    Foreign(
        name="SegUnet2DModel",
        config=UNetConfig,
        read=_read_unet,
        write=_write_unet,
        rules=(Rename("{key...}", "unet.{key...}"),),
    ),
    Foreign(
        name="UNetSTIC",
        config=STUNetConfig,
        read=_read_stunet,
        write=_write_stunet,
        rules=(Rename("{key...}", "unet.{key...}"),),
    ),
    Foreign(
        name="ResNet18",
        config=ReId18Config,
        read=_read_resnet18,
        write=_write_resnet18,
        rules=(Rename("model.{key...}", "trunk.{key...}"),),
    ),
)
