"""Batches in spite of damaged files, and one sentence where nothing can be read any more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from echoflow.condition import Condition
from echoflow.data.findings import Flaw
from echoflow.data.stream import BatchStream, Sent, received
from echoflow.types import Batch, InputError


@dataclass(frozen=True)
class Files:
    """Twenty examples, each its own number; some cannot be read."""

    damaged: frozenset[int]

    def __len__(self) -> int:
        return 20

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> Batch:
        (number,) = index.tolist()
        if number in self.damaged:
            raise Flaw("unreadable", f"{number}.avi is damaged", "FileList.csv")
        return Batch(torch.tensor([[float(number)]]), Condition(), (str(number),))


def test_another_example_stands_in_for_a_damaged_one() -> None:
    whole, cut = (BatchStream(Files(frozenset(bad)), 20, seed=3) for bad in ((), (4, 5)))
    with pytest.warns(UserWarning, match="stands in for one: .*4.avi is damaged"):
        found = cut[0].batch.x.flatten().tolist()
    expected = [6.0 if x in (4, 5) else x for x in whole[0].batch.x.flatten().tolist()]
    assert found == expected
    with pytest.warns(UserWarning, match="stands in"):
        assert cut[0].batch.x.flatten().tolist() == found  # again the same


@pytest.mark.filterwarnings("ignore:another example")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_lost_dataset_is_told_in_one_sentence(workers: int) -> None:
    stream = Sent(BatchStream(Files(frozenset(range(20))), 2, seed=0))
    with pytest.raises(InputError, match="avi is damaged") as raised:
        list(map(received, DataLoader(stream, batch_size=None, sampler=[0], num_workers=workers)))
    assert "Traceback" not in str(raised.value)
