"""The published layout of Free-Echo (Nguyen et al. 2024): one pickle, of which nothing but tensors
is taken.

    step  model  ema  scaler     `ema`: the averaged weights, the ones to sample with

Its network is our `LabelUNet3D`; keys carry the prefix `denoise_fn.`. No config lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from echoflow.interop.echoflow import tensors_only
from echoflow.interop.keymap import Foreign, Rename, Rules, completed, to_ours, to_theirs
from echoflow.networks import weights
from echoflow.networks.unet3d_labels import LabelUNet3D, LabelUNet3DConfig
from echoflow.types import InputError, choose

NAME, PREFIX = "Unet3D", "denoise_fn."
FIELDS: Mapping[str, Any] = {
    "dim": 32,
    "dim_mults": (1, 2, 4),
    "channels": 3,
    "num_semantic_map_channels": 5,
    "attn_heads": 8,
    "attn_dim_head": 32,
    "init_kernel_size": 7,
    "resnet_groups": 8,
}
ATTENTION = {
    "fn.fn.fn.to_qkv.{p}": "qkv.{p}",
    "fn.fn.fn.to_out.{p}": "out.{p}",
    "fn.norm.gamma": "norm.gain",
}
ALONG_TIME = {**ATTENTION, "fn.fn.fn.rotary_emb.freqs": "rates"}
LINEAR = {
    "fn.fn.to_qkv.{p}": "qkv.{p}",
    "fn.fn.to_out.{p}": "out.{p}",
    "fn.norm.gamma": "norm.gain",
}
BLOCK = {
    "mlp.1.{p}": "ada.{p}",
    "block{n}.proj.{p}": "conv{n}.{p}",
    "block{n}.norm.{p}": "norm{n}.{p}",
    "res_conv.{p}": "skip.{p}",
}
UNREAD = {
    "init_conv.weight": "conv_weight",
    "init_conv.bias": "conv_bias",
    "init_temporal_attn.fn.fn.fn.rotary_emb.freqs": "rates",
    "init_temporal_attn.fn.fn.fn.to_qkv.weight": "qkv",
    "init_temporal_attn.fn.fn.fn.to_out.weight": "out",
    "init_temporal_attn.fn.norm.gamma": "gain",
}
SINGLE = {
    "time_rel_pos_bias.relative_attention_bias.weight": "bias.table.weight",
    "init_conv.{p}": "stem.{p}",
    "time_mlp.1.{p}": "fc1.{p}",
    "time_mlp.3.{p}": "fc2.{p}",
    "final_conv.1.{p}": "head.{p}",
}
WAYS = ("downs", "ups")
PLACES: tuple[tuple[Mapping[str, str], Mapping[str, str]], ...] = (
    # where such a part sits with them and with us, and its tensors
    ({"": ""}, SINGLE),
    ({"semantic_map_embedding.": "unread."}, UNREAD),
    (
        {
            **{f"{way}.{{l}}.0.": f"{way}.{{l}}.block1." for way in WAYS},
            **{f"{way}.{{l}}.1.": f"{way}.{{l}}.block2." for way in WAYS},
            "mid_block1.": "middle.first.",
            "mid_block2.": "middle.last.",
            "final_conv.0.": "last.",
        },
        BLOCK,
    ),
    ({f"{way}.{{l}}.2.": f"{way}.{{l}}.space." for way in WAYS}, LINEAR),
    (
        {
            **{f"{way}.{{l}}.3.": f"{way}.{{l}}.time." for way in WAYS},
            "init_temporal_attn.": "stem_time.",
            "mid_temporal_attn.": "middle.time.",
        },
        ALONG_TIME,
    ),
    ({"mid_spatial_attn.": "middle.space."}, ATTENTION),
    ({f"{way}.{{l}}.4.": f"{way}.{{l}}.after." for way in WAYS}, {"{p}": "{p}"}),
)
RULES: Rules = tuple(
    Rename(there + theirs, here + ours)
    for places, parts in PLACES
    for there, here in places.items()
    for theirs, ours in parts.items()
)


def load(
    path: str | Path,
    config: LabelUNet3DConfig | None = None,
    kind: Literal["averaged", "raw"] = "averaged",
) -> LabelUNet3D:
    """The network of a checkpoint: float32, in eval mode, without gradients. Strict.

    The released settings are those of `LabelUNet3DConfig`; give another config for other weights.
    """
    groups = {"averaged": "ema", "raw": "model"}
    path, group = Path(path), groups[choose(kind, groups, "kind of weights")]
    content = tensors_only(path)
    table = content.get(group) if isinstance(content, Mapping) else None
    if not isinstance(table, Mapping) or not all(isinstance(v, Tensor) for v in table.values()):
        raise InputError(f"{path} must hold a dict with the tensors of {group}; it does not.")
    if strange := [str(key) for key in table if not str(key).startswith(PREFIX)]:
        raise InputError(
            f"{path} has unknown {weights.first_three(strange)} in {group}, where every name "
            f"begins with {PREFIX}; it holds the weights of another model."
        )
    found = {key.removeprefix(PREFIX): value for key, value in table.items()}
    net = LabelUNet3D(config or LabelUNet3DConfig())
    weights.check(found, path)
    weights.match(found, to_theirs(RULES, net.state_dict()), path)
    weights.fill(net, to_ours(RULES, found), path)
    return net.eval().requires_grad_(False)


def read(fields: Mapping[str, Any]) -> LabelUNet3DConfig:
    """Our config of the arguments of the released constructor."""
    k = completed(NAME, fields, FIELDS)
    return LabelUNet3DConfig(
        channels=k["channels"],
        width=k["dim"],
        multiples=tuple(k["dim_mults"]),
        labels=k["num_semantic_map_channels"],
        heads=k["attn_heads"],
        head=k["attn_dim_head"],
        groups=k["resnet_groups"],
        kernel=k["init_kernel_size"],
    )


def write(config: LabelUNet3DConfig) -> dict[str, Any]:
    """The released arguments of our config."""
    return {
        "dim": config.width,
        "dim_mults": list(config.multiples),
        "channels": config.channels,
        "num_semantic_map_channels": config.labels,
        "attn_heads": config.heads,
        "attn_dim_head": config.head,
        "init_kernel_size": config.kernel,
        "resnet_groups": config.groups,
    }


FOREIGN = Foreign(NAME, LabelUNet3DConfig, read, write, RULES)
