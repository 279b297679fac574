"""The latent space: an A-VAE and the statistics of its latents, both directions in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from echoflow.condition import over
from echoflow.data.pixels import to_uint8
from echoflow.networks.decoding import FastDecoder
from echoflow.types import InputError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@dataclass(frozen=True)
class Moments:
    """Posterior of the A-VAE, *not* normalised: mean and std (b, c, h, w)."""

    mean: Tensor
    std: Tensor

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """A raw latent: the mean, plus std x noise when noise is given (EchoFlow eq. 7)."""
        return self.mean if noise is None else self.mean + self.std * noise


@dataclass(frozen=True)
class LatentStats:
    """Per-channel mean and std (c,) of the training latents (EchoFlow eq. 8-10)."""

    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.std.shape or self.mean.ndim != 1:
            raise InputError(
                f"latent statistics need mean (c,) and std (c,); got {tuple(self.mean.shape)} "
                f"and {tuple(self.std.shape)}."
            )
        if not bool(torch.isfinite(self.mean).all()) or not bool((self.std > 0).all()):
            raise InputError("latent statistics must be finite with positive std; encode again.")

    def normalise(self, z: Tensor) -> Tensor:
        """Raw latents (b, c, ...) -> zero mean, unit variance per channel over the training set."""
        return (z - self._along(self.mean, z)) / self._along(self.std, z)

    def restore(self, z: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return z * self._along(self.std, z) + self._along(self.mean, z)

    def _along(self, stat: Tensor, z: Tensor) -> Tensor:
        return over(stat.to(z), z[0]) if z.ndim > 2 else stat.to(z)


@dataclass(frozen=True)
class LatentSpace:
    """An A-VAE with its statistics. Latents outside `Moments` are always normalised."""

    avae: AutoencoderKL
    stats: LatentStats
    chunk: int = 32
    decoder: FastDecoder | None = None

    def fast(self, dtype: torch.dtype = torch.float32, chunk: int = 4) -> LatentSpace:
        """The same space with a `FastDecoder`: float32 agrees to 1e-4, bfloat16 to 2 grey levels.

        Chunks do not change the speed on a CPU, only the memory.
        """
        return replace(self, decoder=FastDecoder(self.avae, dtype), chunk=chunk)

    @property
    def channels(self) -> int:
        return self.avae.config["latent_channels"]

    @property
    def device(self) -> torch.device:
        return self.avae.device

    @torch.no_grad()
    def encode(self, x: Tensor) -> Moments:
        """Grey frames in [-1, 1], (b, h, w) or (b, 1, h, w) -> posterior moments, float32."""
        return encode(self.avae, x, self.chunk)

    def draw(self, moments: Moments, noise: Tensor | None = None) -> Tensor:
        """Normalised latents (b, c, h, w) from the posterior; its mean when no noise is given."""
        return self.stats.normalise(moments.draw(noise))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Normalised latents (b, c, h, w) or (b, c, t, h, w) -> uint8 (b, H, W) or (b, t, H, W)."""
        if z.ndim not in (4, 5) or z.shape[1] != self.channels:
            raise InputError(
                f"decode takes (b, {self.channels}, h, w) or (b, {self.channels}, t, h, w); "
                f"got {tuple(z.shape)}."
            )
        if z.ndim == 4:
            return torch.cat([self._pixels(one[None]) for one in z])
        return torch.stack([self._pixels(rearrange(one, "c t h w -> t c h w")) for one in z])

    def _pixels(self, z: Tensor) -> Tensor:
        """One sample's frames (t, c, h, w), never mixed with another's: its bits are its own."""
        raw = self.stats.restore(z.float().to(self.device))
        decode = self.decoder or (lambda part: self.avae.decode(part).sample)  # type: ignore
        return torch.cat([to_uint8(decode(part).mean(dim=1)) for part in raw.split(self.chunk)])


@torch.no_grad()
def encode(avae: AutoencoderKL, x: Tensor, chunk: int = 32) -> Moments:
    """`LatentSpace.encode` for an A-VAE that has no statistics yet."""
    frames = x[:, None] if x.ndim == 3 else x
    if frames.ndim != 4 or frames.shape[1] != 1:
        raise InputError(
            f"encode takes grey frames (b, h, w) or (b, 1, h, w); got {tuple(x.shape)}."
        )
    grey = frames.to(avae.device).expand(-1, avae.config["in_channels"], -1, -1)
    means, stds = [], []
    for part in grey.split(chunk):
        posterior = avae.encode(part.to(avae.dtype)).latent_dist  # type: ignore[union-attr]
        means.append(posterior.mean.float())
        stds.append(posterior.std.float())
    return Moments(torch.cat(means), torch.cat(stds))
