"""The decoder of an A-VAE for inference: fewer products, a memory layout and a dtype of its own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


class FastDecoder(nn.Module):
    """What `avae.decode` computes, from a copy of its weights in `dtype`, channels last.

    Nearly all the time goes into convolutions that run at the speed of the processor, so bfloat16
    halves it where the processor multiplies it, and folding the upsampling saves an eighth.
    """

    def __init__(self, avae: AutoencoderKL, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        theirs = cast(Any, avae)
        self.first = copy.deepcopy(theirs.post_quant_conv) or nn.Identity()
        self.decoder = copy.deepcopy(theirs.decoder)
        _fold(self.decoder)
        self.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval().requires_grad_(False)
        self.dtype = dtype

    def forward(self, z: Tensor) -> Tensor:
        """Raw latents (n, c, h, w) -> frames (n, pixels, H, W), float32, in about [-1, 1]."""
        own = z.to(dtype=self.dtype, memory_format=torch.channels_last)
        return self.decoder(self.first(own)).float()


class FoldedUpsample(nn.Module):
    """Nearest doubling and the 3x3 convolution behind it, as four 2x2 convolutions.

    Of the nine taps on a doubled picture, those that fall on the same cell have the same input, so
    their weights can be added beforehand: each of the four places within a cell has a 2x2 kernel
    of its own, on the picture before doubling. The same sums with 4/9 of the products.
    """

    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        for i, rows in enumerate(_halves(conv.weight, 2)):
            for j, kernel in enumerate(_halves(rows, 3)):
                self.register_buffer(f"kernel{i}{j}", kernel.detach().contiguous())
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())

    def forward(self, x: Tensor, output_size: int | None = None) -> Tensor:
        """(n, c, h, w) -> (n, c', 2h, 2w); `output_size` is diffusers' and must be None."""
        if output_size is not None:
            raise ValueError("a folded upsampling doubles, whatever output_size says")
        out: Tensor | None = None
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            kernel = self.get_buffer(f"kernel{i}{j}")
            part = F.conv2d(F.pad(x, (1 - j, j, 1 - i, i)), kernel, self.bias)
            if out is None:
                n, c, h, w = part.shape
                out = torch.empty(
                    (n, c, 2 * h, 2 * w),
                    dtype=part.dtype,
                    device=part.device,
                    memory_format=torch.channels_last,
                )
            out[:, :, i::2, j::2] = part
        assert out is not None
        return out


def _halves(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Kernels (o, i, 3, ...) along `dim` -> the two kernels of length 2 of the doubled cells."""
    a, b, c = weight.unbind(dim)
    return torch.stack([a, b + c], dim), torch.stack([a + b, c], dim)


def _fold(decoder: nn.Module) -> None:
    """Put a folded upsampling in the place of every plain one of diffusers."""
    from diffusers.models.upsampling import Upsample2D

    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            conv = getattr(child, "conv", None)
            if isinstance(child, Upsample2D) and _plain(child, conv):
                parent.add_module(name, FoldedUpsample(cast(nn.Conv2d, conv)))


def _plain(layer: Any, conv: object) -> bool:
    """Nearest doubling and then a 3x3 convolution, nothing else."""
    return (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (3, 3)
        and conv.padding == (1, 1)
        and layer.interpolate
        and not layer.use_conv_transpose
        and layer.norm is None
    )
