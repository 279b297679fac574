"""The convolutional backbones: UNet for anatomies, STUNet for videos, thin over diffusers.

Both are the released architectures: they take the raw t in [0, 1], pad the latent circularly to the
next power of two (28 -> 32) and crop the velocity back. Neither is tied to one size, and STUNet to
no number of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.spacetime import adapt
from echoflow.types import InputError, View

M = TypeVar("M", bound=nn.Module)
NULL_EF = -1.0  # the EF token of the released models where no EF is asked for


@dataclass(frozen=True)
class UNetConfig:
    """`widths` of the levels, `head` channels per attention head, `groups` of the norms.

    `views` rows of the class table, and one more at its end for no view if there is a `null_view`
    (the released tables may lack it). The fields with long names are diffusers' own; the defaults
    are those of EchoFlow, whose attention and residual samplers sit in all levels but the deepest.
    """

    channels: int = 4
    size: int | tuple[int, int] | None = 28
    widths: tuple[int, ...] = (96, 192, 288, 384)
    layers: int = 2
    head: int | None = 8
    groups: int = 32
    views: int = len(View)
    null_view: bool = True
    masks: int = 1
    down_block_types: tuple[str, ...] = ("AttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("AttnUpBlock2D",) * 3
    downsample_type: str = "resnet"
    upsample_type: str = "resnet"
    downsample_padding: int = 1
    add_attention: bool = True
    attn_norm_num_groups: int | None = None
    mid_block_scale_factor: float = 1.0
    act_fn: str = "silu"
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    dropout: float = 0.0
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    num_train_timesteps: int | None = None

    def arguments(self) -> dict[str, Any]:
        """What diffusers' `UNet2DModel` is built from: the mask counts among its channels."""
        return {
            "sample_size": self.size,
            "in_channels": self.channels + self.masks,
            "out_channels": self.channels,
            "block_out_channels": self.widths,
            "layers_per_block": self.layers,
            "attention_head_dim": self.head,
            "norm_num_groups": self.groups,
            "num_class_embeds": self.views + self.null_view or None,
            "down_block_types": self.down_block_types,
            "up_block_types": self.up_block_types,
            "downsample_type": self.downsample_type,
            "upsample_type": self.upsample_type,
            "downsample_padding": self.downsample_padding,
            "add_attention": self.add_attention,
            "attn_norm_num_groups": self.attn_norm_num_groups,
            "mid_block_scale_factor": self.mid_block_scale_factor,
            "act_fn": self.act_fn,
            "norm_eps": self.norm_eps,
            "resnet_time_scale_shift": self.resnet_time_scale_shift,
            "dropout": self.dropout,
            "center_input_sample": self.center_input_sample,
            "flip_sin_to_cos": self.flip_sin_to_cos,
            "freq_shift": self.freq_shift,
            "num_train_timesteps": self.num_train_timesteps,
        }


class UNet(nn.Module):
    """v(x, t | view, mask) of a latent anatomy (b, c, h, w): diffusers' UNet2DModel."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.config = config
        self.unet = built(lambda: UNet2DModel(**config.arguments()), "UNet")

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        _expect(x, self.config.channels, "b c h w")
        mask = _absent(cond.mask, x, (self.config.masks, *x.shape[-2:]), "mask")
        return self.velocity(x, t, self.rows(cond.view, x), mask)

    def velocity(self, x: Tensor, t: Tensor, rows: Tensor | None, mask: Tensor) -> Tensor:
        """From plain tensors: `rows` (b,) of the class table, mask (b, masks, h, w)."""
        _expect(x, self.config.channels, "b c h w")
        wide, inside = padded(torch.cat([x, mask], dim=1), len(self.config.widths))
        return inside(self.unet(wide, _times(t, x), rows).sample)

    def rows(self, view: Tensor | None, x: Tensor) -> Tensor | None:
        """Views (b,), -1 where absent, as rows of the class table; None if there is no table."""
        config, view = self.config, _given(view, x, -1, "view")
        _check_views(view, config)
        if not config.views + config.null_view:
            return None
        return torch.where(view < 0, config.views, view).long()


@dataclass(frozen=True)
class STUNetConfig:
    """`widths` of the levels and their attention `heads`; `token` is the width of the EF token.

    `frames` and `size` say what the weights were trained for and change nothing. The fields with
    long names are diffusers' own; the last two belong to an embedding that is left out.
    """

    channels: int = 4
    size: int | tuple[int, int] | None = 28
    frames: int = 64
    widths: tuple[int, ...] = (64, 128, 192, 256)
    heads: int | tuple[int, ...] = (8, 16, 16, 32)
    layers: int | tuple[int, ...] = 2
    token: int | tuple[int, ...] = 1
    transformer_layers_per_block: int | tuple[int, ...] = 1
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlockSpatioTemporal",) * 3 + (
        "DownBlockSpatioTemporal",
    )
    up_block_types: tuple[str, ...] = ("UpBlockSpatioTemporal",) + (
        "CrossAttnUpBlockSpatioTemporal",
    ) * 3
    addition_time_embed_dim: int = 1
    projection_class_embeddings_input_dim: int = 1

    def arguments(self) -> dict[str, Any]:
        """What diffusers' `UNetSpatioTemporalConditionModel` is built from."""
        return {
            "sample_size": self.size,
            "in_channels": 2 * self.channels,
            "out_channels": self.channels,
            "num_frames": self.frames,
            "block_out_channels": self.widths,
            "num_attention_heads": self.heads,
            "layers_per_block": self.layers,
            "cross_attention_dim": self.token,
            "transformer_layers_per_block": self.transformer_layers_per_block,
            "down_block_types": self.down_block_types,
            "up_block_types": self.up_block_types,
            "addition_time_embed_dim": self.addition_time_embed_dim,
            "projection_class_embeddings_input_dim": self.projection_class_embeddings_input_dim,
        }


class STUNet(nn.Module):
    """v(x, t | EF, anatomy) of a latent video (b, c, t, h, w), any number of frames.

    diffusers' UNetSpatioTemporalConditionModel without its added time ids, and with transformers
    in which a sample always sees its own EF.
    """

    def __init__(self, config: STUNetConfig) -> None:
        super().__init__()
        from diffusers import UNetSpatioTemporalConditionModel

        self.config = config
        make = lambda: UNetSpatioTemporalConditionModel(**config.arguments())  # noqa: E731
        self.unet = built(make, "STUNet")
        adapt(self.unet)

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        if self.config.token not in (1, (1,) * len(self.config.widths)):
            raise InputError(
                f"an EF is a token of 1 number; this STUNet takes tokens of {self.config.token}."
            )
        _expect(x, self.config.channels, "b c t h w")
        ef = _given(cond.ef, x, torch.nan, "ef")
        token = torch.where(ef.isnan(), NULL_EF, ef / 100.0).to(x.dtype)[:, None, None]
        c, _, h, w = x.shape[1:]
        anatomy = _absent(cond.frame, x, (c, h, w), "frame")
        return self.velocity(x, t, token, repeat(anatomy, "b c h w -> b c t h w", t=x.shape[2]))

    def velocity(self, x: Tensor, t: Tensor, token: Tensor, frames: Tensor) -> Tensor:
        """From plain tensors: EF as a token (b, 1, 1), the anatomy at every frame, like x."""
        _expect(x, self.config.channels, "b c t h w")
        both = rearrange(torch.cat([x, frames], dim=1), "b c t h w -> (b t) c h w")
        wide, inside = padded(both, len(self.config.widths))
        wide = rearrange(wide, "(b t) c h w -> b t c h w", b=len(x))
        no_ids = x.new_zeros(len(x), 1)
        out = self.unet(wide, _times(t, x), token, no_ids).sample
        return rearrange(inside(out), "b t c h w -> b c t h w")


def padded(x: Tensor, levels: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """`x` (..., h, w) continued circularly to the next powers of two, and the way back.

    It joins the left with the right of the sector and the top with the bottom, as released.
    """
    (top, h), (left, w) = (_margin(n, levels, x) for n in x.shape[-2:])
    around = F.pad(x, (left, left, top, top), mode="circular")
    return around, lambda y: y[..., top : top + h, left : left + w]


def built(make: Callable[[], M], what: str) -> M:
    """The module of another library; what it says against a config becomes an `InputError`."""
    try:
        return make()
    except (ValueError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"this {what} config cannot be built: {error}") from error


def _margin(side: int, levels: int, x: Tensor) -> tuple[int, int]:
    """Cells to add on each of two sides, and the side itself."""
    wide = 1 << max(side - 1, 0).bit_length()
    if (wide - side) % 2 or wide % 2 ** (levels - 1):
        raise InputError(
            f"a UNet of {levels} levels takes latents with even sides of more than "
            f"{2 ** max(levels - 2, 0)} cells; got {tuple(x.shape[-2:])}."
        )
    return (wide - side) // 2, side


def _times(t: Tensor | float, x: Tensor) -> Tensor:
    """t as float32 (b,): diffusers would make a whole number of a Python float."""
    return torch.as_tensor(t, dtype=torch.float32, device=x.device).expand(len(x))


def _expect(x: Tensor, channels: int, axes: str) -> None:
    """Refuse a latent with other axes than `axes`, say "b c h w", or another number of channels."""
    names = axes.split()
    if x.ndim != len(names) or x.shape[1] != channels:
        wanted = ", ".join(str(channels) if name == "c" else name for name in names)
        raise InputError(f"this model takes latents ({wanted}); got {tuple(x.shape)}.")


def _given(field: Tensor | None, x: Tensor, null: float, what: str) -> Tensor:
    """A condition (b,); its null for every sample where the field is not given."""
    if field is None:
        return torch.full((len(x),), null, device=x.device)
    if tuple(field.shape) != (len(x),):
        raise InputError(f"{what} must have shape ({len(x)},); got {tuple(field.shape)}.")
    return field


def _absent(field: Tensor | None, x: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """A conditioning map in x's dtype; zeros, its null, where the field is not given."""
    if field is None:
        return x.new_zeros((len(x), *shape))
    if tuple(field.shape) != (len(x), *shape):
        raise InputError(f"{what} must have shape {(len(x), *shape)}; got {tuple(field.shape)}.")
    return field.to(x.dtype)


def _check_views(view: Tensor, config: UNetConfig) -> None:
    """Refuse a view that has no row (skipped inside a compiled graph, which cannot ask values)."""
    if torch.compiler.is_compiling():
        return
    highest, lowest = int(view.max()), int(view.min())
    if highest >= config.views:
        raise InputError(
            f"view index {highest} is out of range: this model knows {config.views} views, from 0."
        )
    if lowest < 0 < config.views and not config.null_view:
        raise InputError(
            f"this model has {config.views} rows for {config.views} views and none for no view; "
            "give every sample a view, and keep it in the negative branch of the guidance."
        )
