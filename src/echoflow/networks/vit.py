"""The vision transformer of DINOv2, for looking at pictures: inference, in the published layout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from echoflow.networks.layers import attend
from echoflow.types import InputError

OFFSET = 0.1  # in cells: the published code adds it to the size that positions are resized to


@dataclass(frozen=True)
class ViTConfig:
    """The default is ViT-B/14, whose positions were learned on a `grid` of 37 x 37 patches."""

    patch: int = 14
    width: int = 768
    depth: int = 12
    heads: int = 12
    grid: int = 37


class ViT(nn.Module):
    """Pictures (b, 3, h, w), normalised, sides multiples of the patch -> features (b, width).

    The class token after the last norm (Oquab et al. 2023). Names are those of the published file;
    `mask_token` serves its training only.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, width, config.patch, stride=config.patch)}
        )
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        patch = self.config.patch
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % patch or x.shape[3] % patch:
            raise InputError(
                f"the vision transformer takes pictures (b, 3, h, w) with sides that are multiples "
                f"of {patch}; got {tuple(x.shape)}."
            )
        cells = self.patch_embed["proj"](x)
        tokens = rearrange(cells + self.positions(*cells.shape[2:]), "b d h w -> b (h w) d")
        first = self.cls_token + self.pos_embed[:, :1]
        tokens = torch.cat([first.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]

    def positions(self, height: int, width: int) -> Tensor:
        """The learned positions for a grid of that size (1, d, height, width)."""
        grid = self.config.grid
        learned = rearrange(self.pos_embed[:, 1:], "b (h w) d -> b d h w", h=grid)
        if (height, width) == (grid, grid):
            return learned
        scale = (height + OFFSET) / grid, (width + OFFSET) / grid
        return F.interpolate(learned, scale_factor=scale, mode="bicubic")


class Block(nn.Module):
    """Attention and MLP before norms, each scaled per channel (LayerScale, Touvron et al. 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.ls1, self.ls2 = (
            nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))}) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        heads = rearrange(
            self.attn["qkv"](self.norm1(x)),
            "b n (three h d) -> three b h n d",
            three=3,
            h=self.heads,
        )
        seen = rearrange(attend(*heads), "b h n d -> b n (h d)")
        x = x + self.ls1["gamma"] * self.attn["proj"](seen)
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
