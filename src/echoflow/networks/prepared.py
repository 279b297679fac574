"""What a network computes once per video, so that a sampling step does only what changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from echoflow.types import InputError


@dataclass(frozen=True, eq=False)
class Still:
    """What a condition contributes to every step; an axis b of length 1 stands for all samples."""

    samples: int  # 0: any number
    places: Tensor  # (b, t, s, d), added to the embedded latent
    view: Tensor | None = None  # (b,) rows of the class tables
    tokens: Tensor | None = None  # (b, n, d) for the cross-attention
    constants: tuple[Tensor, ...] = ()  # (b, 1, 1, d) for each block: the attention to one token

    def check(self, x: Tensor) -> None:
        """Refuse a batch of another size than that of the condition."""
        if self.samples not in (0, len(x)):
            raise InputError(f"{len(x)} samples need {len(x)} conditions; got {self.samples}.")


@dataclass(frozen=True, eq=False)
class Modulation:
    """What times contribute: one row for each of them, or for each pair of time and condition."""

    blocks: Tensor  # (n, depth, 6, d): shift, scale, gate of the attention, then of the MLP
    head: Tensor  # (n, 2, d): shift, scale

    def __getitem__(self, rows: slice) -> Modulation:
        return Modulation(self.blocks[rows], self.head[rows])


class Stepwise(Protocol):
    """A network in three parts."""

    def modulation(self, t: Tensor, still: Still, /) -> Modulation: ...

    def velocity(self, x: Tensor, ada: Modulation, still: Still, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network under one condition, (x_t, t) -> velocity."""

    net: Stepwise
    still: Still
    steps: Mapping[float, Modulation]

    @classmethod
    def of(cls, net: Stepwise, still: Still, times: Sequence[float] | Tensor = ()) -> Prepared:
        """Every layer of the modulation sees all `times` at once."""
        t = torch.as_tensor(times, dtype=torch.float32, device="cpu")
        if len(t) == 0:
            return cls(net, still, {})
        b = 1 if still.view is None else len(still.view)
        ada = net.modulation(t.repeat_interleave(b).to(still.places.device), still)
        return cls(net, still, {k: ada[i * b : i * b + b] for i, k in enumerate(t.tolist())})

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x (b, ...), t (b,); a time that was not prepared is embedded on the spot."""
        distinct = set(t.tolist())
        ada = self.steps.get(distinct.pop()) if len(distinct) == 1 else None
        return self.net.velocity(x, ada or self.net.modulation(t, self.still), self.still)
