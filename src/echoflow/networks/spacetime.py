"""What STUNet changes inside diffusers' spatio-temporal UNet; the weights keep their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention


def adapt(unet: nn.Module) -> None:
    """No added time ids, and our transformer in the place of diffusers'; names stay the same."""
    from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

    unet.add_module("add_time_proj", nn.Identity())
    unet.add_module("add_embedding", NoIds())
    for parent in list(unet.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, TransformerSpatioTemporalModel):
                parent.add_module(name, Transformer(child))


class NoIds(nn.Module):
    """In place of the embedding of added time ids: adds nothing to the embedding of t."""

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros_like(ids)


class Transformer(nn.Module):
    """diffusers' TransformerSpatioTemporalModel, its modules under the same names.

    Some diffusers releases hand the temporal blocks the EF tokens in another order than the rows of
    the latent, so that the samples of a batch swap theirs. Here the order is one.
    """

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        for name, module in theirs.named_children():
            self.add_module(name, module)
        for attention in (m for n, m in self.named_modules() if n.endswith(".attn2")):
            cast("Attention", attention).set_processor(OneToken())  # type: ignore[arg-type]

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        image_only_indicator: Tensor,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """Features ((b t), c, h, w), one token per frame, and an indicator (b, t)."""
        h, w = hidden_states.shape[-2:]
        b, frames = image_only_indicator.shape
        per_frame = encoder_hidden_states
        per_place = per_frame[::frames].repeat_interleave(h * w, dim=0)
        own = cast(Any, self)
        x = own.proj_in(rearrange(own.norm(hidden_states), "n c h w -> n (h w) c"))
        steps = own.time_proj(torch.arange(frames, device=x.device)).to(x.dtype)
        place = repeat(own.time_pos_embed(steps), "t c -> (b t) 1 c", b=b)
        spatial = torch.sigmoid(own.time_mixer.mix_factor)
        blocks = zip(own.transformer_blocks, own.temporal_transformer_blocks, strict=True)
        for in_space, in_time in blocks:
            x = in_space(x, encoder_hidden_states=per_frame)
            moved = in_time(x + place, num_frames=frames, encoder_hidden_states=per_place)
            x = spatial * x + (1.0 - spatial) * moved
        out = rearrange(own.proj_out(x), "n (h w) c -> n c h w", h=h)
        return (out + hidden_states,)


class OneToken:
    """Cross-attention to a single token: softmax over one key is 1, so queries do not matter.

    The answer is the projected value of the token, one row for all queries. In training the full
    form runs, so that every parameter still takes part (with a gradient of zero).
    """

    def __init__(self) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self.full = AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Queries (n, q, c) and tokens (n, 1, k) -> (n, 1, c), which broadcasts over q."""
        if attn.training or encoder_hidden_states.shape[1] != 1:
            return self.full(attn, hidden_states, encoder_hidden_states, attention_mask)
        layers = cast(Any, attn)
        return layers.to_out[0](layers.to_v(encoder_hidden_states))
