"""What a network computes once per video, so that a sampling step does only what changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.types import InputError


@dataclass(frozen=True, eq=False)
class Still:
    """What a condition contributes to every step; an axis b of length 1 stands for all samples."""

    samples: int  # 0: any number
    places: Tensor  # (b, t, s, d) or (b, s, d), added to the embedded latent
    view: Tensor | None = None  # (b,) rows of the class tables
    embedding: Tensor | None = None  # (b, d), added to that of the time
    frame: Tensor | None = None  # (b, c, h, w), the anatomy itself
    tokens: Tensor | None = None  # (b, n, d) for the cross-attention
    constants: tuple[Tensor, ...] = ()  # (b, 1, 1, d) for each block: the attention to one token

    @property
    def rows(self) -> int:
        """How many conditions the modulation tells apart."""
        told = self.view if self.embedding is None else self.embedding
        return 1 if told is None else len(told)

    def check(self, x: Tensor) -> None:
        """Refuse a batch of another size than that of the condition."""
        if self.samples not in (0, len(x)):
            raise InputError(f"{len(x)} samples need {len(x)} conditions; got {self.samples}.")


@dataclass(frozen=True, eq=False)
class Modulation:
    """What times contribute: one row for each of them, or for each pair of time and condition."""

    t: Tensor  # (n,)
    blocks: Tensor  # (n, depth, 6 or 9, d): shift, scale, gate of each attention, then of the MLP
    head: Tensor  # (n, 2, d): shift, scale

    def __getitem__(self, rows: slice) -> Modulation:
        return Modulation(self.t[rows], self.blocks[rows], self.head[rows])


class Stepwise(nn.Module, ABC):
    """A network in three parts: what the condition gives, what the time gives, and the rest."""

    @abstractmethod
    def still(self, cond: Condition, /) -> Still:
        """What the condition contributes to every step."""

    @abstractmethod
    def modulation(self, t: Tensor, still: Still, /) -> Modulation:
        """What the times t (n,) contribute, n a multiple of `still.rows`: times outside."""

    @abstractmethod
    def velocity(self, x: Tensor, ada: Modulation, still: Still, /) -> Tensor:
        """The velocity of x, like it."""

    def forward(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """x (b, c, [t,] h, w), t (b,) and a condition for each -> v like x."""
        still = self.still(cond)
        still.check(x)
        return self.velocity(x, self.modulation(t, still), still)

    def prepare(self, cond: Condition, times: Sequence[float] | Tensor = ()) -> Prepared:
        """The field under one condition; what `times` need is computed at once."""
        return Prepared.of(self, self.still(cond), times)


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
        b = still.rows
        ada = net.modulation(t.repeat_interleave(b).to(still.places.device), still)
        return cls(net, still, {k: ada[i * b : i * b + b] for i, k in enumerate(t.tolist())})

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x (b, ...), t (b,); a time that was not prepared is embedded on the spot."""
        self.still.check(x)
        distinct = set(t.tolist())
        ada = self.steps.get(distinct.pop()) if len(distinct) == 1 else None
        return self.net.velocity(x, ada or self.net.modulation(t, self.still), self.still)
