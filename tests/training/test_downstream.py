"""The judges' losses against their formulas; the task of segmentation learns a disc."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation
from torch import nn

from echoflow.condition import Condition
from echoflow.data import augment
from echoflow.data.clips import MaskedSource
from echoflow.networks.heads import LVSegmenter, LVSegmenterConfig, ReId, ReIdConfig
from echoflow.training.downstream import (
    RegressionTask,
    ReIdTask,
    SegmentationTask,
    begin_similarity,
    pair_loss,
    soft_dice,
    unit,
)
from echoflow.training.draws import Draws
from echoflow.training.options import RegressionOptions, ReIdOptions, SegmentationOptions
from echoflow.types import Batch


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
    for frame, mask in zip(batch.x[:, 0], batch.cond.mask[:, 0].bool(), strict=True):
        ring = torch.from_numpy(binary_dilation(mask.numpy(), iterations=3)) & ~mask
        assert frame[mask].mean() + 0.2 < frame[ring].mean()
    assert not torch.equal(batch.cond.mask[:, 0], torch.from_numpy(masks[:, 0]).float())


def test_a_disc_stays_round_on_an_oblong_frame() -> None:
    y, x = np.mgrid[:48, :96]
    disc = torch.from_numpy((y - 24) ** 2 + (x - 48) ** 2 < 100)[None].expand(8, -1, -1).float()
    for mask in augment.masked(-disc, disc, np.random.default_rng(0))[1]:
        rows, columns = torch.nonzero(mask, as_tuple=True)
        assert abs(rows.float().std() - columns.float().std()) < 0.3


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


class Said(nn.Module):
    """Answers the same whatever it is asked."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer


@pytest.mark.parametrize(("loss", "value"), [("mse", (4 + 400) / 2), ("huber", (0.02 + 1.5) / 2)])
def test_regression_losses(loss: str, value: float) -> None:
    batch = Batch(torch.zeros(2, 3, 4, 4), Condition(ef=torch.tensor([50.0, 40.0])), ("a", "b"))
    options = RegressionOptions(loss=loss)  # type: ignore[arg-type]
    task = RegressionTask(Said(torch.tensor([52.0, 60.0])), options, [batch])
    assert task.loss("net", batch, 0, Draws(0, 0, range(2), 2)).value.item() == pytest.approx(value)
    logs = task.validate(task.nets)
    assert (logs["val/loss"], logs["val/mae"]) == (pytest.approx(value), 11.0)


def test_cross_entropy_is_summed_over_the_pixels_of_each_frame() -> None:
    """echonet-dynamic adds up all videos too, which is the batch times ours: the rate has it."""
    mask = (torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    logits = torch.linspace(-2, 2, 96).view(6, 4, 4)
    batch = Batch(torch.zeros(3, 2, 4, 4), Condition(mask=mask), ("a", "b", "c"))
    task = SegmentationTask(Said(logits), SegmentationOptions(loss="bce-sum"), [batch])
    ours = task.loss("net", batch, 0, Draws(0, 0, range(3), 3)).value
    ed, es = (
        F.binary_cross_entropy_with_logits(
            logits.view(3, 2, 4, 4)[:, k], mask[:, k], reduction="sum"
        )
        for k in (0, 1)
    )
    torch.testing.assert_close(3 * ours, (ed + es) / 2)
    assert task.validate(task.nets)["val/loss"] == pytest.approx(ours.item())


def test_the_similarity_head_begins_as_siglip() -> None:
    net = ReId(ReIdConfig(4, 16, 1))
    begin_similarity(net)
    a, b = torch.rand(5, 16), torch.rand(5, 16)
    loss = pair_loss(net, a, b, "similarity")
    right, wrong = ((unit(a) * unit(c)).sum(1) for c in (b, b.roll(1, 0)))
    by_hand = F.softplus(-(10 * right - 10)).mean() + F.softplus(10 * wrong - 10).mean()
    torch.testing.assert_close(loss, by_hand / 2)


def test_pairs_are_left_alone_where_that_is_asked() -> None:
    net, x = ReId(ReIdConfig(4, 16, 1)), torch.rand(3, 2, 4, 8, 8)
    task = ReIdTask(net, ReIdOptions(contrast=0, disturb=False), [])
    loss = task.loss("net", Batch(x, Condition(), ("a", "b", "c")), 0, Draws(0, 0, range(3), 3))
    a, b = net(x.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
    torch.testing.assert_close(loss.value, pair_loss(net, a, b))
