"""Schedules against their closed forms and torch's own; which weights an optimiser decays."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import nn

from echoflow.training.optimisers import SHARES, learning_rate, optimisers
from echoflow.training.recipes import Engine, Schedule


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule_warms_up_and_never_rises_afterwards(schedule: Schedule) -> None:
    engine = Engine(steps=200, warmup=20, lr=1e-3, schedule=schedule, fall_every=50)
    rates = [learning_rate(engine, step) for step in range(200)]
    assert rates[:20] == pytest.approx([1e-3 * (step + 1) / 20 for step in range(20)])
    assert all(later <= earlier for earlier, later in pairwise(rates[19:]))
    assert rates[-1] > 0
    assert schedule in SHARES


def test_linear_decays_over_its_share() -> None:
    engine = Engine(steps=100, warmup=0, lr=2.0, decay=0.2)
    assert [learning_rate(engine, step) for step in (0, 80, 90, 99)] == [2, 2, 1, 0.1]


def test_inverse_square_root_has_the_values_of_the_lineage() -> None:
    engine = Engine(steps=500_000, warmup=2_000, lr=1e-4, schedule="inverse-sqrt")
    assert learning_rate(engine, 2_000) == 1e-4
    assert learning_rate(engine, 252_000) == pytest.approx(1e-4 / math.sqrt(2))
    held = engine.model_copy(update={"floor": 9e-5})
    assert learning_rate(held, 400_000) == pytest.approx(9e-5)


def test_step_falls_as_torch_does() -> None:
    engine = Engine(steps=12, warmup=0, lr=1e-2, schedule="step", fall_every=5, fall=0.1)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1e-2)
    theirs = torch.optim.lr_scheduler.StepLR(optimiser, 5, 0.1)
    for step in range(12):
        assert learning_rate(engine, step) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()


@pytest.mark.parametrize("kind", ["adam", "sgd", "adamw"])
def test_the_engine_reaches_the_optimiser(kind: str) -> None:
    engine = Engine(
        optimiser=kind,  # type: ignore[arg-type]
        betas=(0.5, 0.9),
        momentum=0.8,
        weight_decay=0.1,
    )
    (name,), (found,) = zip(*optimisers(nn.Linear(3, 2), engine).items(), strict=True)
    assert name == kind
    decays = [group["weight_decay"] for group in found.param_groups]
    assert decays == ([0.1, 0.0] if kind == "adamw" else [0.1])
    assert found.defaults.get("betas", (0.5, 0.9)) == (0.5, 0.9)
    assert found.defaults.get("momentum", 0.8) == 0.8


def test_sgd_with_momentum_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, start := 0.5)  # a random one may end near 0, and then be inexact
    engine = Engine(optimiser="sgd", lr=0.1, momentum=0.9, weight_decay=0.0)
    (optimiser,) = optimisers(net, engine).values()
    for _ in range(2):  # constant gradient 1: velocities 1 and 1.9
        net.weight.grad = torch.ones_like(net.weight)
        optimiser.step()
    assert net.weight.item() == pytest.approx(start - 0.1 * (1 + 1.9))
