"""Segmentation: the source keeps frame and mask together, and the task learns a disc."""

from __future__ import annotations

import numpy as np
import torch

from echoflow.data.clips import MaskedSource
from echoflow.networks.heads import LVSegmenter, LVSegmenterConfig
from echoflow.training.downstream import SegmentationTask, soft_dice
from echoflow.training.draws import Draws
from echoflow.training.recipes import SegmentationOptions


def discs(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Dark discs on grey, (n, 1, 32, 32), and their masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    centres = rng.integers(12, 20, (n, 2))
    masks = np.stack([(y - a) ** 2 + (x - b) ** 2 < 36 for a, b in centres])[:, None]
    noise = rng.integers(-20, 20, masks.shape)
    return (np.where(masks, 30, 140) + noise).astype(np.uint8), masks


def test_augmentation_moves_frame_and_mask_together() -> None:
    videos, masks = discs()
    source = MaskedSource(videos, masks, tuple(map(str, range(len(videos)))), augment=True)
    batch = source.batch(np.arange(24), np.random.default_rng(1))
    assert batch.cond.mask is not None
    assert batch.x.shape == batch.cond.mask.shape
    inside, outside = batch.x[batch.cond.mask > 0], batch.x[batch.cond.mask == 0]
    assert inside.mean() < -0.6 < -0.2 < outside.mean()
    assert not torch.equal(batch.cond.mask[:, 0], torch.from_numpy(masks[:, 0]).float())


def test_a_segmenter_learns_a_disc() -> None:
    torch.manual_seed(0)
    videos, masks = discs()
    source = MaskedSource(videos, masks, tuple(map(str, range(len(videos)))))
    held = source.batch(np.arange(8), np.random.default_rng(0))
    net = LVSegmenter(LVSegmenterConfig((8, 16)))
    task = SegmentationTask(net, SegmentationOptions(), [held])
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for step in range(40):
        batch = source.batch(np.arange(8, 24), np.random.default_rng(step))
        loss = task.loss("net", batch, step, Draws(0, step, range(16), 16))
        optimiser.zero_grad()
        loss.value.backward()
        optimiser.step()
    assert task.validate({"net": net})["val/dice"] > 0.9


def test_soft_dice_of_known_overlaps() -> None:
    a = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    b = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert torch.allclose(soft_dice(a, b), torch.tensor([0.5, 1.0]), atol=1e-6)
