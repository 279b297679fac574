"""Training the networks that judge: re-identification, EF regression, LV segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoflow.training.draws import Draws
from echoflow.training.options import RegressionOptions, ReIdHead, ReIdOptions, SegmentationOptions
from echoflow.training.task import Logs, Loss
from echoflow.training.together import everybody
from echoflow.types import Batch, InputError


class ReIdTask:
    """Same patient or not, from pairs of latent frames (EchoFlow eq. 19-22).

    A batch holds two frames of every patient, (b, 2, c, h, w). The pair loss asks the released head
    about each pair and one wrong pair, or a head on their correlations; the contrast asks that the
    correlation of features, which is what the filter thresholds, picks the right partner out of the
    whole batch.
    """

    rates: Mapping[str, float] = {}

    def __init__(self, net: nn.Module, options: ReIdOptions, held_out: Sequence[Batch]) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.options = options
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        net = self.nets[player]
        x = disturbed(batch.x, rng) if self.options.disturb else batch.x
        features = net(x.flatten(0, 1)).float().unflatten(0, (-1, 2))
        a, b = everybody(features).unbind(1)
        pair = pair_loss(net, a, b, self.options.head)
        contrast = contrast_loss(a, b, self.options.temperature)
        total = self.options.pair * pair + self.options.contrast * contrast
        return Loss(total, {"pair": pair.item(), "contrast": contrast.item()})

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """How often a held-out frame finds its partner first, in percent."""
        net = averaged["net"]
        device = next(net.parameters()).device
        hits = []
        for batch in self.held_out:
            a, b = net(batch.x.to(device).flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
            found = (unit(a) @ unit(b).T).argmax(dim=1)
            hits.append((found == torch.arange(len(a), device=device)).float().mean())
        return {"val/top1": 100.0 * float(torch.stack(hits).mean())}

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        return None


def pair_loss(net: Any, a: Tensor, b: Tensor, head: ReIdHead = "difference") -> Tensor:
    """Binary cross-entropy on right pairs and on pairs one row off.

    The logit of a pair is `net.match`, or the network's head on the products whose sum is the
    correlation: with equal weights that is SigLIP's scale and bias.
    """
    match = net.match if head == "difference" else lambda a, b: net.head(unit(a) * unit(b))[:, 0]
    right, wrong = match(a, b), match(a, b.roll(1, 0))
    one, zero = torch.ones_like(right), torch.zeros_like(wrong)
    bce = F.binary_cross_entropy_with_logits
    return 0.5 * (bce(right, one) + bce(wrong, zero))


def begin_similarity(net: Any, scale: float = 10.0) -> None:
    """The head of an untrained network as SigLIP begins: scale times the correlation less one."""
    if net.head is None:
        raise InputError("this re-identification network has no pair head; set head to true.")
    nn.init.constant_(net.head.weight, scale)
    nn.init.constant_(net.head.bias, -scale)


def contrast_loss(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord et al. 2018) on Pearson correlations, both ways."""
    logits = unit(a) @ unit(b).T / temperature
    target = torch.arange(len(a), device=a.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def unit(x: Tensor) -> Tensor:
    """Rows centred and scaled to length one, so that products are Pearson correlations."""
    return F.normalize(x - x.mean(dim=1, keepdim=True), dim=1)


def disturbed(z: Tensor, rng: Draws) -> Tensor:
    """Pairs (b, 2, c, h, w) with a little noise and shifted by up to one cell: a copy stays one."""
    noisy = z + 0.1 * rng.normal(z)
    shifts = rng.integers(-1, 2, 2).tolist()
    rolled = [torch.roll(pair, by, dims=(-2, -1)) for pair, by in zip(noisy, shifts, strict=True)]
    return torch.stack(rolled)


class RegressionTask:
    """EF from a clip, in percent: squared errors, or a Huber loss that turns at 10 points."""

    rates: Mapping[str, float] = {}

    def __init__(
        self, net: nn.Module, options: RegressionOptions, held_out: Sequence[Batch]
    ) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.options = options
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        predicted = self.nets[player](batch.x).float()
        assert batch.cond.ef is not None
        loss = self._loss(predicted, batch.cond.ef.float())
        mae = (predicted - batch.cond.ef).abs().mean().item()
        return Loss(loss, {"mae": mae})

    def _loss(self, predicted: Tensor, true: Tensor) -> Tensor:
        if self.options.loss == "mse":
            return F.mse_loss(predicted, true)
        return F.huber_loss(predicted / 10, true / 10, delta=1.0)

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """The loss, the MAE in points and R2 on held-out clips."""
        net = averaged["net"]
        device = next(net.parameters()).device
        pairs = [(net(b.x.to(device)).cpu(), b.cond.ef) for b in self.held_out]
        predicted = torch.cat([p for p, _ in pairs]).double()
        true = torch.cat([ef for _, ef in pairs if ef is not None]).double()
        error = predicted - true
        r2 = 1 - float(error.square().sum() / (true - true.mean()).square().sum())
        loss = float(self._loss(predicted, true))
        return {"val/loss": loss, "val/mae": float(error.abs().mean()), "val/r2": r2}

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        return None


class SegmentationTask:
    """The LV cavity of frames (b, k, h, w), k of each example.

    Binary cross-entropy plus soft Dice (Milletari et al. 2016), or as echonet-dynamic does it: the
    cross-entropy summed over the pixels of a frame.
    """

    rates: Mapping[str, float] = {}

    def __init__(
        self, net: nn.Module, options: SegmentationOptions, held_out: Sequence[Batch]
    ) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.options = options
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        frames, mask = _frames(batch)
        loss, logs = self._loss(self.nets[player](frames).float(), mask)
        return Loss(loss, logs)

    def _loss(self, logits: Tensor, mask: Tensor) -> tuple[Tensor, Logs]:
        bce = F.binary_cross_entropy_with_logits(logits, mask)
        overlap = soft_dice(torch.sigmoid(logits), mask).mean()
        logs = {"bce": bce.item(), "dice": overlap.item()}
        if self.options.loss == "bce-sum":
            return bce * mask[0].numel(), logs
        return bce + 1 - overlap, logs

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Mean loss, and mean Dice of held-out frames, thresholded at one half."""
        net = averaged["net"]
        device = next(net.parameters()).device
        scores, losses = [], []
        for batch in self.held_out:
            frames, mask = _frames(batch)
            logits = net(frames.to(device)).float().cpu()
            scores.append(soft_dice((logits > 0).float(), mask))
            losses.append(self._loss(logits, mask)[0].expand(len(mask)))
        loss, dice = (float(torch.cat(parts).mean()) for parts in (losses, scores))
        return {"val/loss": loss, "val/dice": dice}

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        return None


def _frames(batch: Batch) -> tuple[Tensor, Tensor]:
    """The frames of all examples and their masks, (b k, h, w) each."""
    assert batch.cond.mask is not None
    return batch.x.flatten(0, 1), batch.cond.mask.flatten(0, 1)


def soft_dice(p: Tensor, mask: Tensor) -> Tensor:
    """2 |p m| / (|p| + |m|) of each sample (b, h, w) -> (b,); one for two empty masks."""
    both, total = (p * mask).sum((1, 2)), (p + mask).sum((1, 2))
    return (2 * both + 1e-6) / (total + 1e-6)
