"""Training the A-VAE: reconstruction, KL and a patch adversary (EchoFlow eq. 1-7).

Two terms more are off by default: a perceptual loss, and equivariance of the latents (EQ-VAE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from echoflow.data.pixels import to_uint8
from echoflow.networks.avae import PatchDiscriminator
from echoflow.training.draws import Draws
from echoflow.training.equivariance import moved, plan
from echoflow.training.options import AutoencoderOptions
from echoflow.training.perceptual import perceptual
from echoflow.training.task import Logs, Loss
from echoflow.training.together import mean_of_all
from echoflow.types import Batch


class AutoencoderTask:
    """Two players: `avae` and, from step `adversary_from`, the `critic` (hinge loss).

    A critic that has learnt nothing yet pushes the A-VAE nowhere in particular, so it first learns
    alone for `adversary_lead` steps, and at a rate of its own.
    """

    def __init__(self, avae: Any, options: AutoencoderOptions, held_out: Tensor) -> None:
        critic = PatchDiscriminator(avae.config["in_channels"], options.adversary_width)
        self.nets: dict[str, nn.Module] = {"avae": avae, "critic": critic}
        self.rates: Mapping[str, float] = {"critic": options.adversary_rate}
        self.options = options
        self.held_out = held_out  # (n, 1, h, w) in [-1, 1]
        self.perceptual = perceptual() if options.lpips > 0 else None
        self._pixels: int = avae.config["in_channels"]
        self._last: Tensor = avae.get_parameter("decoder.conv_out.weight")

    def players(self, step: int) -> Sequence[str]:
        learning = self.options.adversary > 0 and step >= self.options.adversary_from
        return ("avae", "critic") if learning else ("avae",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        avae: Any = self.nets["avae"]
        x = batch.x.expand(-1, self._pixels, -1, -1)
        if player == "critic":
            return self._critic_loss(x, rng)
        heard = "critic" in self.players(step - self.options.adversary_lead)
        z, kl = encode(avae, x, rng)
        recon = avae.decode(z).sample.float()
        like, logs = self._likeness(recon, x)
        total = like + self.options.kl * kl
        logs["kl"] = kl.item()
        if self.options.eq > 0:
            uneven = self._unevenness(avae, z, x, rng)
            total = total + self.options.eq * uneven
            logs["eq"] = uneven.item()
        if heard:
            fool = -self.nets["critic"](recon).float().mean()
            weight = self._balance(like, fool) * self.options.adversary
            total = total + weight * fool
            logs |= {"fool": fool.item(), "weight": weight.item()}
        return Loss(total, logs)

    def _likeness(self, recon: Tensor, x: Tensor) -> tuple[Tensor, Logs]:
        """How badly images come back, pixel by pixel and to the eye."""
        pixel = self._error(recon, x).mean()
        if self.perceptual is None:
            return pixel, {"pixel": pixel.item()}
        felt = self.perceptual(recon, x).mean()
        return pixel + self.options.lpips * felt, {"pixel": pixel.item(), "lpips": felt.item()}

    def _error(self, made: Tensor, x: Tensor) -> Tensor:
        """Reconstruction error of each sample, (b,)."""
        error = (made - x).flatten(1)
        return (error.abs() if self.options.reconstruction == "l1" else error.square()).mean(1)

    def _unevenness(self, avae: Any, z: Tensor, x: Tensor, rng: Draws) -> Tensor:
        """How far moved latents decode from moved images: the mean over the rows that take part.

        The implicit form of EQ-VAE (Kouzelis et al. 2025), beside the loss of the images as they
        are instead of in its place; the adversary sees only those.
        """
        share = self.options.eq_share
        rows, turns, cells = plan(z, share, rng)
        if not len(rows):
            return x.new_zeros(())
        pixels = [side * x.shape[2] // z.shape[2] for side in cells]
        made = avae.decode(moved(z[rows], turns, cells)).sample.float()
        return self._error(made, moved(x[rows], turns, pixels)).sum() / (share * len(x))

    def _critic_loss(self, x: Tensor, rng: Draws) -> Loss:
        """Hinge loss (EchoFlow eq. 5-6): real above 1, reconstructed below -1."""
        with torch.no_grad():
            recon = reconstruct(self.nets["avae"], x, rng)
        real, fake = self.nets["critic"](x).float(), self.nets["critic"](recon).float()
        loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        return Loss(loss, {"real": real.mean().item(), "fake": fake.mean().item()})

    def _balance(self, like: Tensor, fool: Tensor) -> Tensor:
        """Adaptive weight: gradients of both terms are equally large at the last layer.

        Esser et al. 2021 (VQGAN), eq. 7, as in the released ancestor's training code; at most
        `adversary_most`, since a critic at chance has next to no gradient, and would be heard all
        the same.
        """
        (a,) = torch.autograd.grad(like, self._last, retain_graph=True)
        (b,) = torch.autograd.grad(fool, self._last, retain_graph=True)
        a, b = mean_of_all(a), mean_of_all(b)
        return (a.norm() / (b.norm() + 1e-4)).clamp(0.0, self.options.adversary_most).detach()

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """PSNR in dB (on [0, 1], per image, then mean) of held-out frames, from posterior means.

        `val/eq` is that of latents turned by a quarter and halved, against the frames so moved.
        """
        avae: Any = averaged["avae"]
        device = next(avae.parameters()).device
        x = self.held_out.to(device).expand(-1, self._pixels, -1, -1)
        plain, turned = [], []
        for part in x.split(16):
            z = avae.encode(part).latent_dist.mean
            plain.append(psnr(avae.decode(z).sample, part))
            small, seen = ([side // 2 for side in each.shape[2:]] for each in (z, part))
            made = avae.decode(moved(z, [1] * len(z), small)).sample
            turned.append(psnr(made, moved(part, [1] * len(z), seen)))
        return {"val/psnr": mean_of(plain), "val/eq": mean_of(turned)}

    @torch.no_grad()
    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        """Eight held-out frames above their reconstructions."""
        avae: Any = averaged["avae"]
        x = self.held_out[:8].to(next(avae.parameters()).device).expand(-1, self._pixels, -1, -1)
        recon = avae.decode(avae.encode(x).latent_dist.mean).sample
        rows = torch.stack([x, recon]).float().mean(2).cpu()
        return to_uint8(rearrange(rows, "r n h w -> (r h) (n w)").numpy())


def reconstruct(avae: Any, x: Tensor, rng: Draws) -> Tensor:
    """Reconstruction from a posterior draw, float32."""
    return avae.decode(encode(avae, x, rng)[0]).sample.float()


def encode(avae: Any, x: Tensor, rng: Draws) -> tuple[Tensor, Tensor]:
    """A posterior draw, and the KL per sample, both float32.

    The KL is summed over the latent and averaged over samples, as in the released ancestor.
    """
    posterior = avae.encode(x).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1).mean()
    return mean + (0.5 * logvar).exp() * rng.normal(mean), kl


def psnr(made: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each sample in dB, (b,); images in [-1, 1]."""
    return -10 * ((made.clamp(-1, 1) - x).float().square().flatten(1).mean(1) / 4).log10()


def mean_of(parts: Sequence[Tensor]) -> float:
    """The mean of all values."""
    return float(torch.cat(list(parts)).mean())
