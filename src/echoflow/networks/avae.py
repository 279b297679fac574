"""The adversarial VAE: diffusers' AutoencoderKL and a patch discriminator (EchoFlow eq. 1-7)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from echoflow.types import InputError, choose

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@dataclass(frozen=True)
class AVAEConfig:
    """Widths of the encoder levels (mirrored in the decoder); the factor is 2^(levels - 1)."""

    channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512)
    layers: int = 2
    groups: int = 32
    mid_attention: bool = True
    pixels: int = 3

    @property
    def factor(self) -> int:
        """Pixels per latent cell along each side."""
        return 2 ** (len(self.widths) - 1)


def build_avae(config: AVAEConfig) -> AutoencoderKL:
    """An untrained A-VAE: frames (b, pixels, h, w) in [-1, 1] to (b, channels, h/f, w/f)."""
    from diffusers import AutoencoderKL

    levels = len(config.widths)
    return AutoencoderKL(
        in_channels=config.pixels,
        out_channels=config.pixels,
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        block_out_channels=config.widths,  # pyright: ignore[reportArgumentType]
        layers_per_block=config.layers,
        latent_channels=config.channels,
        norm_num_groups=config.groups,
        sample_size=112,
        mid_block_add_attention=config.mid_attention,
    )


def from_fields(kind: Any, fields: Mapping[str, Any], place: str) -> nn.Module:
    """An untrained network of a diffusers class from the fields of its config.json at `place`.

    diffusers itself passes over fields that it does not know; here they are refused.
    """
    public = {key: value for key, value in fields.items() if not key.startswith("_")}
    known = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    for key in public:
        choose(key, known, f"field in {place}:")
    try:
        return kind.from_config(public)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError) as error:
        raise InputError(f"{place}: this {kind.__name__} cannot be built ({error}).") from error


class PatchDiscriminator(nn.Module):
    """Real or generated, for every patch: (b, c, h, w) -> logits (b, 1, h', w').

    Strided 4x4 convolutions as in pix2pix (Isola et al. 2017, section 3.2.2), spectrally normalised
    (Miyato et al. 2018). With norms of activations in their place critics of phantoms fell to
    chance (docs/decisions.md).
    """

    def __init__(self, pixels: int = 3, width: int = 64, levels: int = 3) -> None:
        super().__init__()
        widths = [pixels, *(width * min(2**level, 8) for level in range(levels + 1))]
        layers: list[nn.Module] = []
        for level, (into, out) in enumerate(pairwise(widths)):
            stride = 2 if level < levels else 1
            layers += [spectral_norm(nn.Conv2d(into, out, 4, stride, 1)), nn.LeakyReLU(0.2)]
        layers.append(spectral_norm(nn.Conv2d(widths[-1], 1, 4, 1, 1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
