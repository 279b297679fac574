"""Gradient checkpointing: a block keeps its input and computes its inside again when asked back."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from echoflow.types import InputError

# of the transformers, of the UNets, of an A-VAE, and of the pixel-space UNets
BLOCKS = re.compile(
    r"blocks\.\d+"
    r"|unet\.(down_blocks\.\d+|mid_block|up_blocks\.\d+)"
    r"|(en|de)coder\.(down_blocks\.\d+|mid_block|up_blocks\.\d+)"
    r"|start|last|stem_time"
    r"|((downs|ups)\.\d+|middle)\.(first|last|blocks\.\d+|block\d|time|everywhere|space)"
)


def recompute(net: nn.Module) -> list[str]:
    """Make every block of `net` compute twice in training; returns their names.

    Only the inputs of blocks stay in memory between the passes. The gradients are the same, and
    so are names of weights and everything that runs without gradients.
    """
    blocks = {name: block for name, block in net.named_modules() if BLOCKS.fullmatch(name)}
    if not blocks:
        raise InputError(
            f"{type(net).__name__} has no blocks to compute again; set engine.recompute=false."
        )
    for block in blocks.values():
        block.forward = _twice(block.forward)
    return list(blocks)


def _twice(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return called
