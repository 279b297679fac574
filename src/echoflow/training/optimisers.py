"""What moves the weights: AdamW, or Muon for the matrices inside, and how fast."""

from __future__ import annotations

import torch
from torch import nn

from echoflow.training.recipes import Engine
from echoflow.types import InputError


def learning_rate(engine: Engine, step: int) -> float:
    """Linear warm-up, constant, then linear decay to zero over the last share of the steps."""
    warm = min(1.0, (step + 1) / max(engine.warmup, 1))
    tail = max(1, round(engine.decay * engine.steps))
    return engine.lr * warm * min(1.0, (engine.steps - step) / tail)


def optimisers(net: nn.Module, engine: Engine) -> dict[str, torch.optim.Optimizer]:
    """AdamW for everything, or Muon (Jordan et al. 2024) for the matrices inside and AdamW for the
    rest: embeddings, head, vectors, convolutions. Vectors are never decayed."""
    matrices = {n: p for n, p in net.named_parameters() if p.ndim > 1}
    inner = {
        n: p
        for n, p in matrices.items()
        if engine.optimiser == "muon" and p.ndim == 2 and n.startswith("blocks.")
    }
    groups = [
        {
            "params": [p for n, p in matrices.items() if n not in inner],
            "weight_decay": engine.weight_decay,
        },
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    found: dict[str, torch.optim.Optimizer] = {
        "adamw": torch.optim.AdamW(groups, lr=engine.lr, betas=engine.betas, foreach=True)
    }
    if inner:
        found["muon"] = _muon(list(inner.values()), engine)
    return found


def _muon(params: list[nn.Parameter], engine: Engine) -> torch.optim.Optimizer:
    """Muon scaled so that AdamW's learning rate serves both (Liu et al. 2025, section 2.2)."""
    if not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"optimiser muon needs torch >= 2.9, this is {torch.__version__}; use adamw."
        )
    return torch.optim.Muon(params, engine.lr, engine.weight_decay, adjust_lr_fn="match_rms_adamw")
