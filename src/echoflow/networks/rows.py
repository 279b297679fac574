"""The names of the zoo: `<family>-<size>[/<patch>]-<channels>f<factor>[-v2]` over small tables.

FMiT and UNet make anatomies, FMvT and STUNet animate one, in the latent space of an A-VAE such as
`4f4`: 4 channels, a cell for every 4 pixels. Without a suffix a name is the released architecture;
`-v2` is our own style of the transformers, and `nano` rows are the embedded bundle's. `2SCM-1` is
the first stage of EchoDiffusion's cascade of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.networks.trunks import DeepLabConfig, R2Plus1DConfig, ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.networks.unet3d_labels import LabelUNet3DConfig

Config = (
    AVAEConfig
    | FMiTConfig
    | FMvTConfig
    | FMiTv1Config
    | FMvTv1Config
    | UNetConfig
    | STUNetConfig
    | ReIdConfig
    | ReId18Config
    | EFRegressorConfig
    | R2Plus1DConfig
    | LVSegmenterConfig
    | DeepLabConfig
    | UNet3DConfig
    | LabelUNet3DConfig
)


@dataclass(frozen=True)
class Space:
    """A latent space: channels, cells per side at 112 pixels, widths of the levels of its A-VAE,
    and the patches that transformers cut it into."""

    channels: int
    size: int
    widths: tuple[int, ...]
    patches: tuple[int, ...]


SPACES = {
    "4f8": Space(4, 14, (128, 256, 256, 512), (2,)),
    "4f4": Space(4, 28, (128, 256, 512), (4, 2)),
    "16f8": Space(16, 14, (128, 256, 256, 512), (2,)),
}
TRANSFORMERS = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}  # width, depth, heads
UNETS = {"S": 96, "B": 160, "L": 320}  # width of the first level; the others are multiples
STUNETS = {"S": 64}
FRAMES = 64  # of a released clip: 2 s at 32 Hz

Shape = tuple[int, int, int]
# form of the name -> config, from channels and size of the latent, patch, and a row of TRANSFORMERS
STYLES: dict[str, Callable[[int, int, int, Shape], Config]] = {
    "FMiT-{}": lambda c, n, p, shape: FMiTv1Config(c, n, p, *shape),
    "FMvT-{}": lambda c, n, p, shape: FMvTv1Config(c, (n, n), FRAMES, (1, p, p), *shape),
    "FMiT-{}-v2": lambda c, n, p, shape: FMiTConfig(c, n, p, *shape),
    "FMvT-{}-v2": lambda c, n, p, shape: FMvTConfig(c, n, FRAMES, (1, p, p), *shape),
}

NANO: dict[str, Config] = {
    "A-VAE-nano": AVAEConfig(4, (16, 48, 96), 1, 8, False, 1),
    "FMiT-nano": FMiTConfig(4, 28, 2, 128, 6, 4, preconditioned=True),
    "FMvT-nano": FMvTConfig(4, 28, 32, (2, 4, 4), 128, 7, 4, preconditioned=True),
    "ReId-nano": ReIdConfig(4, 64, 2),
    "EF-nano": EFRegressorConfig(),
    "LV-nano": LVSegmenterConfig(),
}
BASE = UNet3DConfig(size=56, frames=16)
UPSAMPLER = replace(BASE, lowres=True, memory_saving=True)
SHARPENER = UNet3DConfig(
    size=112, frames=64, cross=(False, False, False), middle_attention=False, lowres=True
)
CASCADES: dict[str, tuple[UNet3DConfig, ...]] = {
    "1SCM": (replace(BASE, size=112, middle_attention=False),),
    "2SCM": (BASE, replace(UPSAMPLER, size=112, frames=64)),
    "4SCM": (BASE, replace(UPSAMPLER, frames=32), replace(UPSAMPLER, frames=64), SHARPENER),
}
"""The stages of EchoDiffusion, as published: 8 frames per second grow to 32, 56 pixels to 112."""
SMALL = UNet3DConfig(1, 28, 16, 32, blocks=(1, 1, 1), heads=4, head=16)
PHANTOM_CASCADE = (
    SMALL,
    replace(SMALL, size=56, frames=32, width=16, lowres=True, memory_saving=True),
)
JUDGES: dict[str, Config] = {"EF-R2+1D": R2Plus1DConfig(), "LV-DeepLabV3": DeepLabConfig()}


def _convolutional() -> Iterator[tuple[str, Config]]:
    for name, space in SPACES.items():
        yield f"A-VAE-{name}", AVAEConfig(space.channels, space.widths)
    for (name, space), (size, width) in product(SPACES.items(), UNETS.items()):
        yield f"UNet-{size}-{name}", UNetConfig(space.channels, space.size, _levels(width))
    for (name, space), (size, width) in product(SPACES.items(), STUNETS.items()):
        shape = (space.channels, space.size, FRAMES)
        yield f"STUNet-{size}-{name}", STUNetConfig(*shape, _levels(width))
    for name, space in SPACES.items():
        yield f"ReId-{name}", ReId18Config(space.channels)


def _levels(width: int) -> tuple[int, int, int, int]:
    """Widths of the four levels of a UNet."""
    return (width, 2 * width, 3 * width, 4 * width)


def _transformers() -> Iterator[tuple[str, Config]]:
    for form, make in STYLES.items():
        for name, space in SPACES.items():
            for p, (size, shape) in product(space.patches, TRANSFORMERS.items()):
                config = make(space.channels, space.size, p, shape)
                yield form.format(f"{size}/{p}-{name}"), config


def _cascades() -> Iterator[tuple[str, Config]]:
    for name, stages in CASCADES.items():
        for i, config in enumerate(stages, start=1):
            yield f"{name}-{i}", config


ROWS: dict[str, Config] = {
    **dict(_convolutional()),
    **JUDGES,
    **dict(_transformers()),
    **dict(_cascades()),
    "Free-Echo": LabelUNet3DConfig(),
    **{f"2SCM-phantom-{i}": config for i, config in enumerate(PHANTOM_CASCADE, start=1)},
    "Free-Echo-phantom": LabelUNet3DConfig(1, 56, 12, 16, heads=1, head=16),
    **NANO,
}


def cells_of(name: str) -> int:
    """The side of the latents that a name speaks of; those of 4f4 where it does not say."""
    sizes = [space.size for key, space in SPACES.items() if key in name.split("-")]
    return sizes[0] if sizes else SPACES["4f4"].size
