"""The two players of the A-VAE take turns as the recipe says."""

from __future__ import annotations

import torch

from echoflow.condition import Condition
from echoflow.networks.avae import AVAEConfig, build_avae
from echoflow.training.autoencoder import AutoencoderTask
from echoflow.training.draws import Draws
from echoflow.training.recipes import AutoencoderOptions
from echoflow.types import Batch


def test_the_critic_learns_alone_first() -> None:
    torch.manual_seed(0)
    frames = torch.rand(2, 1, 32, 32) * 2 - 1
    options = AutoencoderOptions(
        adversary_from=2, adversary_lead=3, adversary_rate=0.25, adversary_width=8
    )
    task = AutoencoderTask(build_avae(AVAEConfig(2, (8, 8), 1, 4, False, 1)), options, frames)
    batch = Batch(frames, Condition(), ("a", "b"))
    learns = [step for step in range(8) if "critic" in task.players(step)]
    draws = Draws(0, 0, range(2), 2)
    losses = [task.loss("avae", batch, step, draws) for step in range(8)]
    listens = [step for step, loss in enumerate(losses) if "fool" in loss.logs]
    assert learns == [2, 3, 4, 5, 6, 7]
    assert listens == [5, 6, 7]
    assert task.rates == {"critic": 0.25}
