"""What moves the weights, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from echoflow.training.recipes import Engine, Schedule
from echoflow.types import InputError


def learning_rate(engine: Engine, step: int) -> float:
    """The rate of a step, counted from 0: a linear warm-up times the share of the schedule."""
    warm = min(1.0, (step + 1) / max(engine.warmup, 1))
    return engine.lr * warm * SHARES[engine.schedule](engine, step)


def _linear(engine: Engine, step: int) -> float:
    """Constant, then in a straight line to zero over the last `decay` of the steps."""
    tail = max(1, round(engine.decay * engine.steps))
    return min(1.0, (engine.steps - step) / tail)


def _inverse_sqrt(engine: Engine, step: int) -> float:
    """1 / sqrt(1 + slope * s / steps), s steps after the warm-up; the rate stays above `floor`.

    As in MRFlow, whose training code descends from EchoFlow's.
    """
    after = max(0, step - engine.warmup)
    share = 1.0 / math.sqrt(1.0 + engine.slope * after / engine.steps)
    return max(share, min(1.0, engine.floor / engine.lr))


def _constant(engine: Engine, step: int) -> float:
    return 1.0


def _step(engine: Engine, step: int) -> float:
    """Multiplied by `fall` every `fall_every` steps, as `StepLR` of torch does."""
    return engine.fall ** (step // engine.fall_every)


SHARES: Mapping[Schedule, Callable[[Engine, int], float]] = {
    "linear": _linear,
    "inverse-sqrt": _inverse_sqrt,
    "constant": _constant,
    "step": _step,
}


def optimisers(net: nn.Module, engine: Engine) -> dict[str, torch.optim.Optimizer]:
    """The optimisers of a network, by kind.

    `muon` (Jordan et al. 2024) is for the matrices inside, with AdamW for the rest: embeddings,
    head, vectors, convolutions. `adamw` and `muon` never decay vectors; `adam` and `sgd`, which
    are there for published protocols, treat all weights alike, as those do.
    """
    if engine.optimiser in ("adam", "sgd"):
        return {engine.optimiser: _plain(net, engine)}
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


def _plain(net: nn.Module, engine: Engine) -> torch.optim.Optimizer:
    weights, rate, decay = net.parameters(), engine.lr, engine.weight_decay
    if engine.optimiser == "sgd":
        return torch.optim.SGD(weights, rate, engine.momentum, weight_decay=decay, foreach=True)
    return torch.optim.Adam(weights, rate, engine.betas, weight_decay=decay, foreach=True)


def _muon(params: list[nn.Parameter], engine: Engine) -> torch.optim.Optimizer:
    """Muon scaled so that AdamW's learning rate serves both (Liu et al. 2025, section 2.2)."""
    if not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"optimiser muon needs torch >= 2.9, this is {torch.__version__}; use adamw."
        )
    return torch.optim.Muon(params, engine.lr, engine.weight_decay, adjust_lr_fn="match_rms_adamw")
