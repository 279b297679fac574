"""The batches of a run: which examples, in which order, and whose share is whose."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from echoflow.condition import Condition
from echoflow.data.clips import Source
from echoflow.types import Batch, InputError

TRIES = 8  # examples in a row that cannot be read: no longer a damaged file, but a lost dataset


@dataclass(frozen=True)
class Share:
    """Some examples of a global batch, and their places in it."""

    batch: Batch
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> Share:
        batch = self.batch
        return Share(Batch(batch.x.to(device), batch.cond.to(device), batch.uid), self.rows)

    def parts(self, most: int | None) -> list[Share]:
        """The same in parts of at most `most` examples."""
        n = len(self.rows)
        if most is None or most >= n:
            return [self]
        cuts = [slice(first, first + most) for first in range(0, n, most)]
        x, cond, uid = self.batch.x, self.batch.cond, self.batch.uid
        return [Share(Batch(x[c], cond.select(c), uid[c]), self.rows[c]) for c in cuts]


class BatchStream(Dataset[Share]):
    """The global batches of a run by step: example i of batch k follows from (seed, k, i) only.

    Neither history nor the number of processes matters; process `rank` of `world` gets every
    `world`-th example. One that cannot be read is replaced by the next that can, with a warning.
    """

    def __init__(self, source: Source, batch: int, seed: int, rank: int = 0, world: int = 1):
        if len(source) < 1:
            raise InputError("the training source is empty.")
        if batch % world:
            raise InputError(f"a batch of {batch} cannot be shared by {world} processes.")
        self.source, self.size, self.seed = source, batch, seed
        self.rank, self.world = rank, world

    def __getitem__(self, step: int) -> Share:
        rows = range(self.rank, self.size, self.world)
        index = self._indices(step)
        examples = [self._example(int(index[row]), step, row) for row in rows]
        return Share(joined(examples), tuple(rows))

    def _example(self, index: int, step: int, row: int) -> Batch:
        failed: list[InputError] = []
        for place in range(index, index + min(TRIES, len(self.source))):
            rng = np.random.default_rng([self.seed, step, row])
            try:
                return self.source.batch(np.array([place % len(self.source)]), rng)
            except InputError as error:
                warnings.warn(f"another example stands in for one: {error}", stacklevel=2)
                failed.append(error)
        raise failed[0]

    def _indices(self, step: int) -> np.ndarray:
        """Positions step * batch ... of an endless row of shuffled epochs."""
        n = len(self.source)
        position = np.arange(step * self.size, (step + 1) * self.size)
        epochs = {
            epoch: np.random.default_rng([self.seed, 2**31, epoch]).permutation(n)
            for epoch in np.unique(position // n).tolist()
        }
        return np.array([epochs[p // n][p % n] for p in position.tolist()])


class Sent(Dataset[Share | InputError]):
    """A stream for loading processes: what it refuses comes as a value, since an exception would
    come wrapped in the process's traceback."""

    def __init__(self, stream: BatchStream) -> None:
        self.stream = stream

    def __getitem__(self, step: int) -> Share | InputError:
        try:
            return self.stream[step]
        except InputError as error:
            return InputError(str(error))


def received(share: Share | InputError) -> Share:
    """What `Sent` sent; raises what was refused."""
    if isinstance(share, InputError):
        raise share
    return share


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches after one another."""
    return Batch(
        torch.cat([batch.x for batch in batches]),
        Condition.cat([batch.cond for batch in batches]),
        tuple(uid for batch in batches for uid in batch.uid),
    )
