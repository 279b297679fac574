"""A network that a GPU replays: its kernels are recorded once and then started as one.

At batch 1 a transformer's kernels are shorter than the time it takes to start each of them from
Python; a CUDA graph starts all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from echoflow.condition import Condition
from echoflow.networks.prepared import Modulation, Stepwise, Still

Run = Callable[[], Tensor]
Record = Callable[[Run], Run]
"""From a function of no arguments, one that does the same again with what its tensors hold then."""
GRAPHS = 4  # shapes remembered; each keeps its own memory
WARM_UP = 3  # calls before a recording, in which libraries choose their kernels


def cuda_graph(run: Run) -> Run:
    """`run` as a CUDA graph: what it reads must stay where it is, what it gives is overwritten."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()

    def again() -> Tensor:
        graph.replay()
        return out

    return again


@dataclass(frozen=True, eq=False)
class Recording:
    """One shape of inputs: the places they are copied to, and what then runs."""

    inputs: dict[str, Tensor]
    run: Run

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        for name, place in self.inputs.items():
            place.copy_(inputs[name])
        return self.run().clone()


class Replayed(Stepwise):
    """`net` with its velocity recorded at the first call of each shape; for sampling only."""

    def __init__(self, net: Stepwise, record: Record = cuda_graph) -> None:
        super().__init__()
        self.net = net
        self.config: Any = net.config
        self.record = record
        self.recordings: dict[Any, Recording] = {}

    def still(self, cond: Condition) -> Still:
        return self.net.still(cond)

    def modulation(self, t: Tensor, still: Still) -> Modulation:
        return self.net.modulation(t, still)

    @torch.no_grad()
    def velocity(self, x: Tensor, ada: Modulation, still: Still) -> Tensor:
        inputs = {"x": x, "t": ada.t, "blocks": ada.blocks, "head": ada.head, **_tensors(still)}
        shape = [(name, value.shape, value.dtype) for name, value in inputs.items()]
        key = (still.samples, *shape)
        if key not in self.recordings:
            if len(self.recordings) == GRAPHS:
                self.recordings.pop(next(iter(self.recordings)))
            self.recordings[key] = self._recorded(inputs, still)
        return self.recordings[key](inputs)

    def _recorded(self, inputs: dict[str, Tensor], still: Still) -> Recording:
        held = {name: value.clone() for name, value in inputs.items()}
        ada = Modulation(held["t"], held["blocks"], held["head"])
        own = _with(still, held)
        return Recording(held, self.record(lambda: self.net.velocity(held["x"], ada, own)))


def _tensors(still: Still) -> dict[str, Tensor]:
    """What a `Still` holds, under names of its own."""
    found = {f"still.{each.name}": getattr(still, each.name) for each in fields(still)}
    found |= {f"still.constants.{i}": value for i, value in enumerate(still.constants)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _with(still: Still, held: dict[str, Tensor]) -> Still:
    """The same with its tensors taken from `held`."""
    own = {name: name.removeprefix("still.") for name in _tensors(still)}
    single = {short: held[name] for name, short in own.items() if "." not in short}
    constants = tuple(held[f"still.constants.{i}"] for i in range(len(still.constants)))
    return replace(still, **single, constants=constants)
