"""Training the A-VAE: reconstruction, KL and a patch adversary (EchoFlow eq. 1-7)."""

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
from echoflow.training.recipes import AutoencoderOptions
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
        recon, kl = reconstruct(avae, x, rng)
        pixel = F.l1_loss(recon, x) if self.options.reconstruction == "l1" else F.mse_loss(recon, x)
        total = pixel + self.options.kl * kl
        logs = {"pixel": pixel.item(), "kl": kl.item()}
        if heard:
            fool = -self.nets["critic"](recon).float().mean()
            weight = self._balance(pixel, fool) * self.options.adversary
            total = total + weight * fool
            logs |= {"fool": fool.item(), "weight": weight.item()}
        return Loss(total, logs)

    def _critic_loss(self, x: Tensor, rng: Draws) -> Loss:
        """Hinge loss (EchoFlow eq. 5-6): real above 1, reconstructed below -1."""
        with torch.no_grad():
            recon, _ = reconstruct(self.nets["avae"], x, rng)
        real, fake = self.nets["critic"](x).float(), self.nets["critic"](recon).float()
        loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        return Loss(loss, {"real": real.mean().item(), "fake": fake.mean().item()})

    def _balance(self, pixel: Tensor, fool: Tensor) -> Tensor:
        """Adaptive weight: gradients of both terms are equally large at the last layer.

        Esser et al. 2021 (VQGAN), eq. 7, as in the released ancestor's training code.
        """
        (a,) = torch.autograd.grad(pixel, self._last, retain_graph=True)
        (b,) = torch.autograd.grad(fool, self._last, retain_graph=True)
        a, b = mean_of_all(a), mean_of_all(b)
        return (a.norm() / (b.norm() + 1e-4)).clamp(0.0, 1e4).detach()

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """PSNR in dB (on [0, 1], per image, then mean) of held-out frames, from posterior means."""
        avae: Any = averaged["avae"]
        device = next(avae.parameters()).device
        x = self.held_out.to(device).expand(-1, self._pixels, -1, -1)
        parts = [avae.decode(avae.encode(p).latent_dist.mean).sample for p in x.split(16)]
        error = (torch.cat(parts).clamp(-1, 1) - x).float().square().flatten(1).mean(1) / 4
        return {"val/psnr": float((-10 * error.log10()).mean())}

    @torch.no_grad()
    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        """Eight held-out frames above their reconstructions."""
        avae: Any = averaged["avae"]
        x = self.held_out[:8].to(next(avae.parameters()).device).expand(-1, self._pixels, -1, -1)
        recon = avae.decode(avae.encode(x).latent_dist.mean).sample
        rows = torch.stack([x, recon]).float().mean(2).cpu()
        return to_uint8(rearrange(rows, "r n h w -> (r h) (n w)").numpy())


def reconstruct(avae: Any, x: Tensor, rng: Draws) -> tuple[Tensor, Tensor]:
    """Reconstruction from a posterior draw, and the KL per sample, both float32.

    The KL is summed over the latent and averaged over samples, as in the released ancestor.
    """
    posterior = avae.encode(x).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    recon = avae.decode(mean + (0.5 * logvar).exp() * rng.normal(mean)).sample.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1).mean()
    return recon, kl
