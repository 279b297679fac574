"""What a video UNet is told besides its input: noise levels and EF, as one vector and as tokens.

As released with EchoDiffusion: the vector scales and shifts features, the tokens are asked by
cross-attention.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from echoflow.networks.unet3d_layers import Gain

LATENTS, POOLED = 32, 4  # tokens of the resampler: learned ones, and from the mean
PLACES = 512  # rows of the table of positions, of which a single token uses the first


class Told(NamedTuple):
    """The condition of every step: `vector` (b, hidden) and `tokens` (b, n, width)."""

    vector: Tensor
    tokens: Tensor


class NoiseEmbedding(nn.Module):
    """A noise level (b,), any real number, to a vector and two tokens."""

    def __init__(self, width: int, hidden: int, bands: int = 8) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.randn(bands))
        self.fc = nn.Linear(2 * bands + 1, hidden)
        self.vector = nn.Linear(hidden, hidden)
        self.tokens = nn.Linear(hidden, 2 * width)

    def forward(self, level: Tensor) -> Told:
        angle = 2 * math.pi * level.float()[:, None] * self.rates.float()
        features = torch.cat([level.float()[:, None], angle.sin(), angle.cos()], dim=-1)
        h = F.silu(self.fc(features.to(self.fc.weight.dtype)))
        return Told(self.vector(h), rearrange(self.tokens(h), "b (n d) -> b n d", n=2))


class Ask(nn.Module):
    """Latent tokens attend to the tokens and to themselves (the resampler of Flamingo)."""

    def __init__(self, width: int, heads: int, head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q = nn.Linear(width, heads * head, bias=False)
        self.kv = nn.Linear(width, 2 * heads * head, bias=False)
        self.out = nn.Linear(heads * head, width, bias=False)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        y = self.norm_latents(latents)
        kv = self.kv(torch.cat([self.norm(tokens), y], dim=1))
        k, v = rearrange(kv, "b n (two g d) -> two b g n d", two=2, g=self.heads)
        q = rearrange(self.q(y), "b n (g d) -> b g n d", g=self.heads)
        z = rearrange(F.scaled_dot_product_attention(q, k, v), "b g n d -> b n (g d)")
        return self.norm_out(self.out(z))


class FeedForward(nn.Module):
    """Two layers, each after a norm of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.fc1 = Gain(width), nn.Linear(width, 4 * width, bias=False)
        self.norm2, self.fc2 = Gain(4 * width), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm2(F.gelu(self.fc1(self.norm1(x)))))


class Resampler(nn.Module):
    """Any number of tokens (b, n, d) to 36 (b, 36, d)."""

    def __init__(self, width: int, heads: int, head: int, depth: int = 2) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(LATENTS, width))
        self.place = nn.Parameter(torch.randn(PLACES, width))
        self.norm, self.fc = Gain(width), nn.Linear(width, POOLED * width)
        self.asks = nn.ModuleList(Ask(width, heads, head) for _ in range(depth))
        self.mlps = nn.ModuleList(FeedForward(width) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Tensor:
        pooled = rearrange(self.fc(self.norm(tokens.mean(1))), "b (n d) -> b n d", n=POOLED)
        x = torch.cat([pooled, self.latents.expand(len(tokens), -1, -1)], dim=1)
        placed = tokens + self.place[: tokens.shape[1]]
        for ask, mlp in zip(self.asks, self.mlps, strict=True):
            x = x + ask(x, placed)
            x = x + mlp(x)
        return x


class EFEmbedding(nn.Module):
    """An EF to a vector and 36 tokens, with learned nulls for both.

    The token has its null before the resampler, the vector after the pooling.
    """

    def __init__(self, width: int, hidden: int, heads: int, head: int) -> None:
        super().__init__()
        self.token = nn.Linear(1, width)
        self.null_token = nn.Parameter(torch.randn(1, 1, width))
        self.resample = Resampler(width, heads, head)
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
        self.null_vector = nn.Parameter(torch.randn(1, hidden))

    def forward(self, fraction: Tensor, token_absent: Tensor) -> Told:
        """An EF (b,) as a fraction, nan where absent, and where its token alone is (b,)."""
        absent = fraction.isnan()[:, None]
        known = self.token(fraction.nan_to_num().to(self.token.weight.dtype)[:, None, None])
        null = (absent | token_absent[:, None])[..., None]
        tokens = self.resample(torch.where(null, self.null_token, known))
        vector = self.fc2(F.silu(self.fc1(self.norm(tokens.mean(1)))))
        return Told(torch.where(absent, self.null_vector, vector), tokens)


class Conditioning(nn.Module):
    """Noise of the video, noise of the low-resolution video if there is one, and the EF."""

    def __init__(self, width: int, hidden: int, heads: int, head: int, lowres: bool) -> None:
        super().__init__()
        self.noise = NoiseEmbedding(width, hidden)
        self.lowres = NoiseEmbedding(width, hidden) if lowres else None
        self.ef = EFEmbedding(width, hidden, heads, head)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        noise: Tensor,
        fraction: Tensor | None,
        token_absent: Tensor | None = None,
        lowres_noise: Tensor | None = None,
    ) -> Told:
        """Noise levels (b,) and an EF (b,) as a fraction, nan for its null.

        Without any EF (None) nothing is said of it, which differs from its null. `token_absent`
        (b,) takes the null for the token alone.
        """
        parts = [self.noise(noise)]
        if self.lowres is not None and lowres_noise is not None:
            parts.append(self.lowres(lowres_noise))
        if fraction is not None:
            none = torch.zeros_like(fraction, dtype=torch.bool)
            parts.append(self.ef(fraction, none if token_absent is None else token_absent))
        vector = torch.stack([part.vector for part in parts]).sum(0)
        return Told(vector, self.norm(torch.cat([part.tokens for part in parts], dim=1)))
