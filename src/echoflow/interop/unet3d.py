"""The class of EchoDiffusion's networks, Unet3D, is our `UNet3D`: its config and its names.

A `Unet3D` of the authors' library has many more switches; those that no release turns are accepted
at their defaults and refused otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoflow.interop.keymap import Foreign, Rename, Rules, completed
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.types import InputError

NAME = "Unet3D"

# What the constructor takes where a config leaves it out. None takes any kind of value: what may be
# one for all levels, or a list of one for each, stands in OPEN.
FIELDS: Mapping[str, Any] = {
    "dim": 64,
    "dim_mults": (1, 2, 4, 8),
    "num_resnet_blocks": None,
    "layer_cross_attns": None,
    "attend_at_middle": True,
    "memory_efficient": False,
    "lowres_cond": False,
    "channels": 3,
    "cond_images_channels": 0,
    "attn_heads": 8,
    "attn_dim_head": 64,
    "resnet_groups": 8,
    "max_text_len": 256,  # one EF is one token, so this changes nothing
    "layer_attns": None,
    "text_embed_dim": 1,
    "cond_dim": None,
    "out_dim": None,
    "channels_out": None,
    "init_dim": None,
    "num_time_tokens": 2,
    "learned_sinu_pos_emb_dim": 16,
    "time_causal_attn": True,
    "cond_on_text": True,
    "init_cross_embed": True,
    "init_cross_embed_kernel_sizes": (3, 7, 15),
    "attn_pool_text": True,
    "attn_pool_num_latents": 32,
    "use_global_context_attn": True,
    "scale_skip_connection": True,
    "final_resnet_block": True,
    "final_conv_kernel_size": 3,
    "init_conv_to_final_conv_residual": False,
    "cross_embed_downsample": False,
    "combine_upsample_fmaps": False,
    "pixel_shuffle_upsample": True,
    "use_linear_attn": False,
    "use_linear_cross_attn": False,
    "self_cond": False,
}
OPEN: Mapping[str, Any] = {"num_resnet_blocks": 1, "layer_attns": False, "layer_cross_attns": True}
NEEDED = ("dim", "cond_images_channels")
FIXED = tuple(FIELDS)[list(FIELDS).index("text_embed_dim") :]
"""Fields that no release changes: another value is another network."""

CROSS = {
    "fn.null_kv": "null",
    "fn.norm.g": "norm.gain",
    "fn.to_q.{p}": "q.{p}",
    "fn.to_kv.{p}": "kv.{p}",
    "fn.to_out.0.{p}": "out.{p}",
    "fn.to_out.1.g": "norm_out.gain",
}
MULTI_QUERY = {**CROSS, "fn.null_attn_bias": "null_bias"}
DISTANCE = {
    "0.0.{p}": "fc1.{p}",
    "0.1.g": "norm1.gain",
    "1.0.{p}": "fc2.{p}",
    "1.1.g": "norm2.gain",
    "2.{p}": "fc3.{p}",
}
BLOCK = {
    "time_mlp.1.{p}": "ada.{p}",
    "block{n}.groupnorm.{p}": "norm{n}.{p}",
    "block{n}.project.spatial_conv.{p}": "conv{n}.space.{p}",
    "block{n}.project.temporal_conv.{p}": "conv{n}.time.{p}",
    **{f"cross_attn.{theirs}": f"cross.{ours}" for theirs, ours in CROSS.items()},
    "gca.to_k.{p}": "gate.where.{p}",
    "gca.net.0.{p}": "gate.fc1.{p}",
    "gca.net.2.{p}": "gate.fc2.{p}",
    "res_conv.{p}": "skip.{p}",
}
ALONG_TIME = {
    **{f"fn.{theirs}": f"attn.{ours}" for theirs, ours in MULTI_QUERY.items()},
    **{f"fn.fn.rel_pos_bias.mlp.{theirs}": f"distance.{o}" for theirs, o in DISTANCE.items()},
}
NOISE = {"hiddens.0.weights": "rates", "hiddens.1.{p}": "fc.{p}", "cond.0.{p}": "vector.{p}"}
NOISE |= {"tokens.0.{p}": "tokens.{p}"}
ASK = {
    "norm.{p}": "norm.{p}",
    "norm_latents.{p}": "norm_latents.{p}",
    "to_q.{p}": "q.{p}",
    "to_kv.{p}": "kv.{p}",
    "to_out.0.{p}": "out.{p}",
    "to_out.1.{p}": "norm_out.{p}",
}
EF = {
    "null_text_embed": "null_token",
    "null_text_hidden": "null_vector",
    "text_to_cond.{p}": "token.{p}",
    "to_text_non_attn_cond.0.{p}": "norm.{p}",
    "to_text_non_attn_cond.1.{p}": "fc1.{p}",
    "to_text_non_attn_cond.3.{p}": "fc2.{p}",
    "attn_pool.latents": "resample.latents",
    "attn_pool.pos_emb.weight": "resample.place",
    "attn_pool.to_latents_from_mean_pooled_seq.0.g": "resample.norm.gain",
    "attn_pool.to_latents_from_mean_pooled_seq.1.{p}": "resample.fc.{p}",
    "attn_pool.layers.{i}.1.0.g": "resample.mlps.{i}.norm1.gain",
    "attn_pool.layers.{i}.1.1.{p}": "resample.mlps.{i}.fc1.{p}",
    "attn_pool.layers.{i}.1.3.g": "resample.mlps.{i}.norm2.gain",
    "attn_pool.layers.{i}.1.4.{p}": "resample.mlps.{i}.fc2.{p}",
    **{f"attn_pool.layers.{{i}}.0.{t}": f"resample.asks.{{i}}.{o}" for t, o in ASK.items()},
}
PLACES: tuple[tuple[Mapping[str, str], Mapping[str, str]], ...] = (
    # where such a part sits with them and with us, and its tensors
    ({"": "condition.ef."}, EF),
    ({"to_time_": "condition.noise.", "to_lowres_time_": "condition.lowres."}, NOISE),
    ({"": ""}, {"norm_cond.{p}": "condition.norm.{p}", "final_conv.{p}": "head.{p}"}),
    ({"init_conv.": "stem."}, {"convs.{i}.{p}": "convs.{i}.{p}"}),
    (
        {
            "init_resnet_block.": "start.",
            "downs.{l}.1.": "downs.{l}.first.",
            "downs.{l}.2.{k}.": "downs.{l}.blocks.{k}.",
            "mid_block1.": "middle.first.",
            "mid_block2.": "middle.last.",
            "ups.{l}.0.": "ups.{l}.first.",
            "ups.{l}.1.{k}.": "ups.{l}.blocks.{k}.",
            "final_res_block.": "last.",
        },
        BLOCK,
    ),
    (
        {
            "init_temporal_peg.": "stem_time.",
            "downs.{l}.4.": "downs.{l}.time.",
            "mid_temporal_peg.": "middle.time.",
            "ups.{l}.3.": "ups.{l}.time.",
        },
        {"fn.1.{p}": "peg.{p}"},
    ),
    (
        {
            "init_temporal_attn.": "stem_time.",
            "downs.{l}.5.": "downs.{l}.time.",
            "mid_temporal_attn.": "middle.time.",
            "ups.{l}.4.": "ups.{l}.time.",
        },
        ALONG_TIME,
    ),
    ({"mid_attn.fn.": "middle.everywhere.attn."}, MULTI_QUERY),
    ({"downs.{l}.0.": "downs.{l}.before."}, {"1.{p}": "conv.{p}"}),
    (
        {"downs.{l}.7.": "downs.{l}.after."},
        {"1.{p}": "conv.{p}", "fns.0.{p}": "near.{p}", "fns.1.{p}": "same.{p}"},
    ),
    ({"ups.{l}.6.": "ups.{l}.after."}, {"net.0.{p}": "conv.{p}"}),
)
RULES: Rules = tuple(
    Rename(there + theirs, here + ours)
    for places, parts in PLACES
    for there, here in places.items()
    for theirs, ours in parts.items()
)


def read(fields: Mapping[str, Any]) -> UNet3DConfig:
    """Our config of the fields of one released `Unet3D`."""
    k = completed(NAME, {**OPEN, **fields}, FIELDS, NEEDED)
    for name in FIXED:
        if _plain(k[name]) != _plain(FIELDS[name]):
            raise InputError(f"{name} of {NAME} is {FIELDS[name]} in all releases; got {k[name]}.")
    levels = len(k["dim_mults"])
    if any(_each(k["layer_attns"], levels, "layer_attns", bool)):
        raise InputError(f"layer_attns of {NAME} is off in all releases; got {k['layer_attns']}.")
    if k["cond_images_channels"] != k["channels"]:
        raise InputError(
            f"{NAME} animates a frame of its own {k['channels']} channels; cond_images_channels "
            f"is {k['cond_images_channels']}."
        )
    return UNet3DConfig(
        channels=k["channels"],
        width=k["dim"],
        multiples=tuple(k["dim_mults"]),
        blocks=_each(k["num_resnet_blocks"], levels, "num_resnet_blocks", int),
        cross=_each(k["layer_cross_attns"], levels, "layer_cross_attns", bool),
        middle_attention=k["attend_at_middle"],
        memory_saving=k["memory_efficient"],
        lowres=k["lowres_cond"],
        heads=k["attn_heads"],
        head=k["attn_dim_head"],
        groups=k["resnet_groups"],
    )


def write(config: UNet3DConfig) -> dict[str, Any]:
    """The released fields of our config. Size and frames stand elsewhere in `config.yaml`."""
    blocks = set(config.blocks)
    return {
        "dim": config.width,
        "num_resnet_blocks": blocks.pop() if len(blocks) == 1 else list(config.blocks),
        "dim_mults": list(config.multiples),
        "max_text_len": 1,
        "text_embed_dim": 1,
        "layer_attns": False,
        "layer_cross_attns": list(config.cross),
        "cond_images_channels": config.channels,
        "channels": config.channels,
        "attend_at_middle": config.middle_attention,
        "memory_efficient": config.memory_saving,
        "lowres_cond": config.lowres,
        "attn_heads": config.heads,
        "attn_dim_head": config.head,
        "resnet_groups": config.groups,
    }


FOREIGN = Foreign(NAME, UNet3DConfig, read, write, RULES)


def _each(value: Any, levels: int, name: str, kind: type) -> tuple[Any, ...]:
    """One value for each level, from one for all or a list."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * levels
    if len(values) != levels or any(type(one) is not kind for one in values):
        raise InputError(
            f"{name} of {NAME} must be {kind.__name__}, or one for each of {levels} levels; "
            f"got {value!r}."
        )
    return values


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
