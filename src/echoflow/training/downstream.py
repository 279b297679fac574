"""Training the networks that judge: re-identification, EF regression, LV segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoflow.training.draws import Draws
from echoflow.training.recipes import ReIdOptions
from echoflow.training.task import Logs, Loss
from echoflow.training.together import everybody
from echoflow.types import Batch


class ReIdTask:
    """Same patient or not, from pairs of latent frames (EchoFlow eq. 19-22).

    A batch holds two frames of every patient, (b, 2, c, h, w). The pair loss asks the released head
    about each pair and one wrong pair; the contrast asks that the correlation of features, which is
    what the filter thresholds, picks the right partner out of the whole batch.
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
        features = net(disturbed(batch.x, rng).flatten(0, 1)).float().unflatten(0, (-1, 2))
        a, b = everybody(features).unbind(1)
        pair = pair_loss(net, a, b)
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


def pair_loss(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """Binary cross-entropy of `net.match` on right pairs and on pairs one row off."""
    right, wrong = net.match(a, b), net.match(a, b.roll(1, 0))  # type: ignore[operator]
    one, zero = torch.ones_like(right), torch.zeros_like(wrong)
    bce = F.binary_cross_entropy_with_logits
    return 0.5 * (bce(right, one) + bce(wrong, zero))


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
    """EF from a clip, by a Huber loss in percent."""

    rates: Mapping[str, float] = {}

    def __init__(self, net: nn.Module, held_out: Sequence[Batch]) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        predicted = self.nets[player](batch.x).float()
        assert batch.cond.ef is not None
        loss = F.huber_loss(predicted / 10, batch.cond.ef.float() / 10, delta=1.0)
        mae = (predicted - batch.cond.ef).abs().mean().item()
        return Loss(loss, {"mae": mae})

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """MAE in points and R2 on held-out clips."""
        net = averaged["net"]
        device = next(net.parameters()).device
        pairs = [(net(b.x.to(device)).cpu(), b.cond.ef) for b in self.held_out]
        predicted = torch.cat([p for p, _ in pairs]).double()
        true = torch.cat([ef for _, ef in pairs if ef is not None]).double()
        error = predicted - true
        r2 = 1 - float(error.square().sum() / (true - true.mean()).square().sum())
        return {"val/mae": float(error.abs().mean()), "val/r2": r2}

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        return None


class SegmentationTask:
    """The LV cavity of a frame: binary cross-entropy plus soft Dice (Milletari et al. 2016)."""

    rates: Mapping[str, float] = {}

    def __init__(self, net: nn.Module, held_out: Sequence[Batch]) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.held_out = held_out

    def players(self, step: int) -> Sequence[str]:
        return ("net",)

    def loss(self, player: str, batch: Batch, step: int, rng: Draws) -> Loss:
        assert batch.cond.mask is not None
        logits, mask = self.nets[player](batch.x[:, 0]).float(), batch.cond.mask[:, 0]
        bce = F.binary_cross_entropy_with_logits(logits, mask)
        overlap = soft_dice(torch.sigmoid(logits), mask).mean()
        return Loss(bce + 1 - overlap, {"bce": bce.item(), "dice": overlap.item()})

    @torch.no_grad()
    def validate(self, averaged: Mapping[str, nn.Module]) -> Logs:
        """Mean Dice of held-out frames, thresholded at one half."""
        net = averaged["net"]
        device = next(net.parameters()).device
        scores = []
        for batch in self.held_out:
            assert batch.cond.mask is not None
            found = net(batch.x[:, 0].to(device)).cpu() > 0
            scores.append(soft_dice(found.float(), batch.cond.mask[:, 0]))
        return {"val/dice": float(torch.cat(scores).mean())}

    def picture(self, averaged: Mapping[str, nn.Module]) -> np.ndarray | None:
        return None


def soft_dice(p: Tensor, mask: Tensor) -> Tensor:
    """2 |p m| / (|p| + |m|) of each sample (b, h, w) -> (b,); one for two empty masks."""
    both, total = (p * mask).sum((1, 2)), (p + mask).sum((1, 2))
    return (2 * both + 1e-6) / (total + 1e-6)
