"""The Inception network of FID (TensorFlow, 2015) in the layout of torch-fidelity's file.

Inception v3 but for three things that change every feature: averages at the border do not count
what lies outside, the last block pools by maxima, and there are 1008 classes. Pictures are resized
as TensorFlow 1 did, without half pixels and without smoothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoflow.types import InputError

SIDE, CLASSES, FEATURES = 299, 1008, 2048


@dataclass(frozen=True)
class Step:
    """A convolution to `width` channels, batch norm and ReLU. Strided ones are not padded."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True


Pool = Callable[[Tensor], Tensor]
Branch = tuple[Step | tuple[Step, Step], ...]
"""Steps one after the other; a pair of them reads the same input, side by side."""

ROW, COLUMN, THREE, FIVE = (1, 7), (7, 1), (3, 3), (5, 5)
STEM = (
    Step("Conv2d_1a_3x3", 32, THREE, 2),
    Step("Conv2d_2a_3x3", 32, THREE, padded=False),
    Step("Conv2d_2b_3x3", 64, THREE),
    None,  # the largest of 3 x 3, every other place
    Step("Conv2d_3b_1x1", 80),
    Step("Conv2d_4a_3x3", 192, THREE, padded=False),
    None,
)


def _fine(pooled: int) -> tuple[Branch, ...]:
    """Block A, 35 x 35."""
    return (
        (Step("branch1x1", 64),),
        (Step("branch5x5_1", 48), Step("branch5x5_2", 64, FIVE)),
        (
            Step("branch3x3dbl_1", 64),
            Step("branch3x3dbl_2", 96, THREE),
            Step("branch3x3dbl_3", 96, THREE),
        ),
        (Step("branch_pool", pooled),),
    )


def _middle(width: int) -> tuple[Branch, ...]:
    """Block C, 17 x 17."""
    return (
        (Step("branch1x1", 192),),
        (
            Step("branch7x7_1", width),
            Step("branch7x7_2", width, ROW),
            Step("branch7x7_3", 192, COLUMN),
        ),
        (
            Step("branch7x7dbl_1", width),
            Step("branch7x7dbl_2", width, COLUMN),
            Step("branch7x7dbl_3", width, ROW),
            Step("branch7x7dbl_4", width, COLUMN),
            Step("branch7x7dbl_5", 192, ROW),
        ),
        (Step("branch_pool", 192),),
    )


def _pair(name: str) -> tuple[Step, Step]:
    return Step(f"{name}a", 384, (1, 3)), Step(f"{name}b", 384, (3, 1))


COARSE: tuple[Branch, ...] = (
    (Step("branch1x1", 320),),
    (Step("branch3x3_1", 384), _pair("branch3x3_2")),
    (Step("branch3x3dbl_1", 448), Step("branch3x3dbl_2", 384, THREE), _pair("branch3x3dbl_3")),
    (Step("branch_pool", 192),),
)
TO_MIDDLE: tuple[Branch, ...] = (
    (Step("branch3x3", 384, THREE, 2),),
    (
        Step("branch3x3dbl_1", 64),
        Step("branch3x3dbl_2", 96, THREE),
        Step("branch3x3dbl_3", 96, THREE, 2),
    ),
    (),
)
TO_COARSE: tuple[Branch, ...] = (
    (Step("branch3x3_1", 192), Step("branch3x3_2", 320, THREE, 2)),
    (
        Step("branch7x7x3_1", 192),
        Step("branch7x7x3_2", 192, ROW),
        Step("branch7x7x3_3", 192, COLUMN),
        Step("branch7x7x3_4", 192, THREE, 2),
    ),
    (),
)


def mean_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)


def halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2)


BLOCKS = {
    "Mixed_5b": (_fine(32), mean_pool),
    "Mixed_5c": (_fine(64), mean_pool),
    "Mixed_5d": (_fine(64), mean_pool),
    "Mixed_6a": (TO_MIDDLE, halved),
    "Mixed_6b": (_middle(128), mean_pool),
    "Mixed_6c": (_middle(160), mean_pool),
    "Mixed_6d": (_middle(160), mean_pool),
    "Mixed_6e": (_middle(192), mean_pool),
    "Mixed_7a": (TO_COARSE, halved),
    "Mixed_7b": (COARSE, mean_pool),
    "Mixed_7c": (COARSE, max_pool),
}
"""Name -> its branches, and what the last of them pools by."""


class Unit(nn.Module):
    """A `Step`."""

    def __init__(self, width: int, step: Step) -> None:
        super().__init__()
        same = step.padded and step.stride == 1
        pad = (step.kernel[0] // 2, step.kernel[1] // 2) if same else (0, 0)
        self.conv = nn.Conv2d(width, step.width, step.kernel, step.stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(step.width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Branches side by side; the last one begins by pooling."""

    def __init__(self, width: int, branches: Sequence[Branch], pool: Pool) -> None:
        super().__init__()
        self.branches, self.pool = branches, pool
        self.width = 0
        for branch in branches:
            inner = width
            for step in branch:
                pair = step if isinstance(step, tuple) else (step,)
                for one in pair:
                    self.add_module(one.name, Unit(inner, one))
                inner = sum(one.width for one in pair)
            self.width += inner

    def forward(self, x: Tensor) -> Tensor:
        *plain, last = self.branches
        parts = [self._run(branch, x) for branch in plain]
        return torch.cat([*parts, self._run(last, self.pool(x))], dim=1)

    def _run(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            pair = step if isinstance(step, tuple) else (step,)
            x = torch.cat([self.get_submodule(one.name)(x) for one in pair], dim=1)
        return x


class Inception(nn.Module):
    """Pictures (b, 3, h, w) of grey levels 0..255 -> pooled features (b, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for step in STEM:
            if step is not None:
                self.add_module(step.name, Unit(width, step))
                width = step.width
        for name, (branches, pool) in BLOCKS.items():
            block = Mixed(width, branches, pool)
            self.add_module(name, block)
            width = block.width
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != 3:
            raise InputError(f"Inception takes pictures (b, 3, h, w); got {tuple(x.shape)}.")
        x = (resized(x, SIDE) - 128.0) / 128.0
        for step in STEM:
            x = halved(x) if step is None else self.get_submodule(step.name)(x)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3))


def resized(x: Tensor, side: int) -> Tensor:
    """(b, c, h, w) -> (b, c, side, side) as TensorFlow 1: pixel i comes from i times the ratio."""
    rows, columns = (_taps(size, side).to(x) for size in x.shape[2:])
    return rows @ x @ columns.T


def _taps(size: int, side: int) -> Tensor:
    """Bilinear weights (side, size)."""
    place = torch.arange(side, dtype=torch.float64) * (size / side)
    low = place.floor().long().clamp(max=size - 1)
    high, share = (low + 1).clamp(max=size - 1), (place - low)[:, None]
    eye = torch.eye(size, dtype=torch.float64)
    return (1 - share) * eye[low] + share * eye[high]
