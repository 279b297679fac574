"""What a dataset follows from, as plain values: two that differ in one of them are not the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echoflow import __version__
from echoflow.synthesis.masks import MaskSource
from echoflow.synthesis.origin import Origin
from echoflow.synthesis.plan import DatasetPlan
from echoflow.synthesis.samples import Engine


def fingerprint(
    engine: Engine, plan: DatasetPlan, masks: MaskSource, origin: Origin
) -> dict[str, Any]:
    """The plan, and a hash of the masks and of each part of the engine with its weights.

    Device and compilation are left out: with others samples agree up to rounding.
    """
    told = {
        "echoflow": __version__,
        **asdict(plan),
        "masks": digest(masks),
        "origin": asdict(origin),
        **{f"{name} of the weights": digest(value) for name, value in _members(engine)},
    }
    return json.loads(json.dumps(told))


def digest(thing: Any) -> str:
    """SHA-256 over every tensor, number and word that can be reached in a thing."""
    seen = hashlib.sha256()
    for name, value in _leaves("", thing):
        seen.update(f"{name}:".encode())
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous()
            seen.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
            seen.update(flat.reshape(-1).view(torch.uint8).numpy().data)
        else:
            seen.update(repr(value).encode())
    return seen.hexdigest()


def _leaves(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """Of a function only the name is taken, and the object that it belongs to."""
    if isinstance(thing, np.ndarray):
        yield name, torch.from_numpy(np.ascontiguousarray(thing))
    elif isinstance(thing, Tensor | str | int | float | None):
        yield name, thing
    else:
        kind = thing if callable(thing) and hasattr(thing, "__qualname__") else type(thing)
        yield name, kind.__qualname__
        for inner, value in _members(thing):
            yield from _leaves(f"{name}.{inner}", value)


def _members(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, nn.Module):
        yield from thing.named_parameters()
        yield from thing.named_buffers()
    elif is_dataclass(thing):
        yield from ((f.name, getattr(thing, f.name)) for f in fields(thing))
    elif isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in thing.items())
    elif isinstance(thing, list | tuple):
        yield from ((str(i), value) for i, value in enumerate(thing))
    elif (owner := getattr(thing, "__self__", None)) is not None:
        yield "of", owner
