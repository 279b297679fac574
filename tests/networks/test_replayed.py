"""A replayed network gives what the network gives, whatever went through it before.

A recorder that calls the function again stands for a CUDA graph: it, too, sees only the tensors
that it saw first. `tests/test_gpu.py` has the graphs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks import zoo
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.replayed import GRAPHS, Replayed, Run
from echoflow.process import RectifiedFlow
from echoflow.sampling import SamplingPlan, sample

VIDEOS: dict[str, Any] = {
    "video": FMvTConfig(2, 8, 4, (2, 4, 4), 16, 2, 2, preconditioned=True),
    "video v1": FMvTv1Config(2, (8, 8), 4, (2, 4, 4), 16, 2, 2),
}
IMAGES: dict[str, Any] = {
    "image": FMiTConfig(2, 8, 4, 16, 2, 2),
    "image v1": FMiTv1Config(2, 8, 4, 16, 2, 2),
}


class Recorder:
    """Runs once to record, then again into one place, as a graph does."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, run: Run) -> Run:
        self.made += 1
        out = run()

        def again() -> Tensor:
            out.copy_(run())
            return out

        return again


def built(config: Any) -> Any:
    torch.manual_seed(0)
    net = zoo.build(config)
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net.eval().requires_grad_(False)


def asked(video: bool, seed: int, b: int) -> Condition:
    g = torch.Generator().manual_seed(seed)
    if video:
        return Condition(
            ef=100 * torch.rand(b, generator=g), frame=torch.randn(b, 2, 8, 8, generator=g)
        )
    return Condition(
        view=torch.randint(3, (b,), generator=g), mask=torch.rand(b, 1, 8, 8, generator=g).round()
    )


@pytest.mark.parametrize("name", [*VIDEOS, *IMAGES])
def test_same_samples_with_one_recording_a_shape(name: str) -> None:
    video = name in VIDEOS
    net = built((VIDEOS | IMAGES)[name])
    recorder = Recorder()
    fast = Replayed(net, recorder)
    plan = SamplingPlan(steps=3, scale=2.0)
    shape = (2, 4, 8, 8) if video else (2, 8, 8)
    for round_, b in enumerate((3, 2, 3)):
        cond, seeds = asked(video, round_, b), range(10 * round_, 10 * round_ + b)
        wanted = sample(net, RectifiedFlow(2.0), cond, shape, seeds, plan)
        assert torch.equal(sample(fast, RectifiedFlow(2.0), cond, shape, seeds, plan), wanted)
    assert recorder.made == 2


def test_what_it_gave_stays() -> None:
    """The place that the next call overwrites is not what the caller holds."""
    fast = Replayed(built(VIDEOS["video"]), Recorder())
    field = fast.prepare(asked(True, 0, 1), [0.5])
    first = field(torch.ones(1, 2, 4, 8, 8), torch.full((1,), 0.5))
    kept = first.clone()
    field(torch.zeros(1, 2, 4, 8, 8), torch.full((1,), 0.5))
    assert torch.equal(first, kept)


def test_few_shapes_are_remembered() -> None:
    recorder = Recorder()
    fast = Replayed(built(IMAGES["image"]), recorder)
    for b in range(1, GRAPHS + 3):
        fast(torch.zeros(b, 2, 8, 8), torch.full((b,), 0.5), Condition())
    assert len(fast.recordings) == GRAPHS
    assert recorder.made == GRAPHS + 2
