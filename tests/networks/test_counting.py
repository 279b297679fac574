"""Counts against closed forms, torch's own counter, recorded counts, and the paper."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from closed_forms import GOLDEN
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.counting import KINDS, Cost, Counting, cost
from echoflow.networks.dit import FMvTConfig
from echoflow.networks.published import PAPER, TOLERANCE, line
from echoflow.networks.rows import cells_of
from echoflow.networks.trunks import ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig


def recorded() -> dict[str, dict[str, Any]]:
    """The variants of every manifest by their zoo names; none where there are no golden data."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(GOLDEN.glob("*.manifest.json")):
        found |= json.loads(path.read_text())
    return {name.replace("reid", "ReId"): row for name, row in found.items()}


RECORDED = recorded()


def quick(names: list[str]) -> list[Any]:
    """The large sizes, and everything that needs diffusers, are for `make test-slow`."""
    slow = [name for name in names if "-L" in name or "Net" in name or "VAE" in name]
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


def qkv() -> tuple[Tensor, Tensor, Tensor]:
    return torch.zeros(2, 1, 3, 8), torch.zeros(2, 1, 5, 8), torch.zeros(2, 1, 5, 4)


@pytest.mark.parametrize(
    ("call", "kind", "expected"),
    [
        (lambda: nn.Linear(8, 5)(torch.zeros(2, 3, 8)), "linear", 2 * 3 * 8 * 5),
        (lambda: nn.Conv2d(4, 6, 3, groups=2)(torch.zeros(1, 4, 7, 7)), "linear", 6 * 25 * 2 * 9),
        (lambda: nn.Conv3d(2, 3, (3, 1, 1))(torch.zeros(1, 2, 5, 2, 2)), "linear", 3 * 12 * 2 * 3),
        (lambda: nn.ConvTranspose2d(4, 6, 2)(torch.zeros(1, 4, 3, 3)), "linear", 4 * 9 * 6 * 4),
        (lambda: torch.zeros(3, 4) @ nn.Parameter(torch.zeros(5, 4)).T, "linear", 3 * 4 * 5),
        (lambda: torch.zeros(2, 3, 4) @ torch.zeros(2, 4, 5), "attention", 2 * 3 * 4 * 5),
        (lambda: F.scaled_dot_product_attention(*qkv()), "attention", 2 * 3 * 5 * (8 + 4)),
        (lambda: nn.LayerNorm(8)(torch.zeros(3, 8)), "norms", 3 * 8 * 5),
        (lambda: nn.GroupNorm(2, 8, affine=False)(torch.zeros(3, 8, 2)), "norms", 3 * 8 * 2 * 4),
    ],
)
def test_every_rule(call: Callable[[], Tensor], kind: str, expected: int) -> None:
    with Counting() as counter:
        call()
    assert counter.found == {kind: expected}


def test_conventions() -> None:
    found = Cost(parameters=7, linear=100, attention=20, norms=3)
    assert (found.macs, found.fvcore(False), found.fvcore(True)) == (120, 103, 123)


def test_depth_is_continued_exactly() -> None:
    config = FMvTConfig(2, 8, 4, (2, 4, 4), 16, 5, 2)
    net = zoo.build(config)
    with Counting() as counter:
        net(torch.zeros(1, 2, 4, 8, 8), torch.zeros(1), Condition())
    found = cost(config)
    assert {kind: getattr(found, kind) for kind in KINDS} == {
        kind: counter.found[kind] for kind in KINDS
    }
    assert found.parameters == sum(p.numel() for p in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        AVAEConfig(2, (8, 16), 1, 8),
        UNetConfig(2, 8, (32, 32, 32, 32), head=8, groups=8),
        STUNetConfig(2, 8, 3, (32, 32, 32, 32), (4, 4, 4, 4)),
        ReId18Config(2, 8, 8, head=False),
    ],
    ids=lambda config: type(config).__name__,
)
def test_torch_counts_the_same(config: zoo.Config) -> None:
    """torch's counter sees the kernels that were called, ours the functions."""
    from torch.utils.flop_counter import FlopCounterMode

    net, cond = zoo.build(config).eval(), Condition()
    inputs = {
        AVAEConfig: (torch.zeros(1, 3, 16, 16),),
        UNetConfig: (torch.zeros(1, 2, 8, 8), torch.zeros(1), cond),
        STUNetConfig: (torch.zeros(1, 2, 3, 8, 8), torch.zeros(1), cond),
        ReId18Config: (torch.zeros(1, 2, 28, 28),),
    }[type(config)]
    with Counting() as ours:
        net(*inputs)
    with FlopCounterMode(display=False) as theirs:
        net(*inputs)
    assert 2 * (ours.found["linear"] + ours.found["attention"]) == theirs.get_total_flops()


@pytest.mark.parametrize("name", quick(list(RECORDED)))
def test_recorded_counts(name: str) -> None:
    config, row = zoo.config_of(name), RECORDED[name]
    if isinstance(config, ReId18Config):
        config = replace(config, head=False)  # published without
    found, macs = cost(config), row.get("macs_G", {})
    assert found.parameters == row["num_parameters"]
    if macs:
        without = macs.get(
            "without_attention_matmuls", macs["total"] - macs.get("attention_matmuls", 0)
        )
        assert found.macs / 1e9 == pytest.approx(macs["total"], rel=1e-4, abs=2e-3)
        assert found.linear / 1e9 == pytest.approx(without, rel=1e-4, abs=2e-3)
        fvcore = found.fvcore("attention_matmuls" in macs) / 1e9
        assert fvcore == pytest.approx(macs["fvcore_convention"], rel=1e-4, abs=2e-3)


@pytest.mark.parametrize("name", quick(list(PAPER)))
def test_the_paper(name: str) -> None:
    """Within 1 %, or named as a misprint."""
    found, printed = line(name), PAPER[name]
    assert found.macs_ratio is not None
    assert found.parameters_ratio is not None
    for ratio, wrong in (
        (found.macs_ratio, printed.wrong_macs),
        (found.parameters_ratio, printed.wrong_parameters),
    ):
        assert (abs(ratio - 1) > TOLERANCE) == bool(wrong)
        assert wrong in found.remark


@pytest.mark.parametrize(
    ("name", "cells"),
    [("ReId-4f8", 14), ("ReId-16f8", 14), ("FMvT-S/2-4f4-v2", 28), ("EF-R2+1D", 28)],
)
def test_cells_of(name: str, cells: int) -> None:
    assert cells_of(name) == cells
