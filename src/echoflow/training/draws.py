"""Random numbers that belong to a row of the global batch, wherever it is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor


@dataclass
class Draws:
    """The randomness of one move: that of row i follows from (seed, step, player, i) alone.

    `rows` are the places of this process's examples in the global batch of `batch` examples, so one
    process or many, whole batches or accumulated parts, give every example the same noise. Each
    call draws from a stream of its own. Values differ between kinds of devices.
    """

    seed: int
    step: int
    rows: Sequence[int]
    batch: int
    player: str = ""
    _calls: int = field(default=0, init=False)

    def normal(self, like: Tensor) -> Tensor:
        """Unit Gaussian noise with the shape, dtype and device of `like` (b, ...)."""
        shape, device = like.shape[1:], like.device
        rows = self.generators(len(like), device)
        noise = [torch.randn(shape, generator=rng, device=device) for rng in rows]
        return torch.stack(noise).to(like.dtype)

    def integers(self, low: int, high: int, columns: int) -> Tensor:
        """Whole numbers in [low, high), (b, columns)."""
        rows = self.generators(len(self.rows))
        return torch.stack([torch.randint(low, high, (columns,), generator=rng) for rng in rows])

    def even(self) -> Tensor:
        """Uniform in [0, 1), (b,), spread evenly over the global batch: one draw, shifted by i/b.

        Every value is uniform, and together they cover the interval, which halves the variance of a
        loss that depends on them.
        """
        place = torch.tensor(self.rows, dtype=torch.float64) / self.batch
        return ((self.shared() + place) % 1.0).float().clamp(max=1 - 2.0**-24)

    def shared(self) -> float:
        """Uniform in [0, 1), one number for the whole global batch."""
        (rng,) = self._generators([-1], torch.device("cpu"))
        return float(torch.rand((), generator=rng, dtype=torch.float64))

    def generators(self, n: int, device: torch.device | str = "cpu") -> list[Generator]:
        """A fresh generator for each row; `n` is how many the caller expects."""
        if n != len(self.rows):
            raise ValueError(f"{len(self.rows)} rows draw, {n} are asked for.")
        return self._generators(self.rows, torch.device(device))

    def seed_layers(self) -> None:
        """Let what layers draw by themselves (dropout) follow from the first row of this part."""
        torch.manual_seed(_hash((self.seed, self.step, self.player, "layers", self.rows[0])))

    def _generators(self, rows: Sequence[int], device: torch.device) -> list[Generator]:
        self._calls += 1
        keys = ((self.seed, self.step, self.player, self._calls, row) for row in rows)
        return [Generator(device).manual_seed(_hash(key)) for key in keys]


def _hash(key: tuple[object, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest()) >> 1
