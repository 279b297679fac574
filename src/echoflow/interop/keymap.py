"""Tensor names of a foreign checkpoint to ours and back, as tables of rules.

In a pattern `{i}` stands for one part of a name between dots and `{rest...}` for one or more:

    Rename("blocks.{i}.attn1.to_out.0.{p}", "blocks.{i}.attn.proj.{p}")
    Fuse(("attn1.to_q.{p}", "attn1.to_k.{p}", "attn1.to_v.{p}"), "attn.qkv.{p}")

Both directions are strict, and each undoes the other bit for bit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from echoflow.types import InputError

PLACEHOLDER = re.compile(r"\{(\w+)(\.\.\.)?\}")
Bound = Mapping[str, str]
"""What the placeholders of a pattern stand for in one name."""


@dataclass(frozen=True)
class Rename:
    """One of their tensors is one of ours."""

    theirs: str
    ours: str

    def __post_init__(self) -> None:
        _same_placeholders(self.parts, self.ours)

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.theirs,)


@dataclass(frozen=True)
class Fuse:
    """Several of their tensors of one shape are one of ours, joined along axis 0 in this order."""

    theirs: tuple[str, ...]
    ours: str

    def __post_init__(self) -> None:
        _same_placeholders(self.parts, self.ours)

    @property
    def parts(self) -> tuple[str, ...]:
        return self.theirs


Rule = Rename | Fuse
Rules = tuple[Rule, ...]


@dataclass(frozen=True)
class Foreign:
    """A network class of another code base and its counterpart here.

    `name` is their `_class_name`. `read` makes our config of the fields of their `config.json`
    (those that start with an underscore left out); `write` gives the fields back.
    """

    name: str
    config: type
    read: Callable[[Mapping[str, Any]], Any]
    write: Callable[[Any], dict[str, Any]]
    rules: Rules


def to_ours(rules: Rules, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names; names without exactly one place are refused."""
    places: dict[str, dict[int, str]] = {}  # our name -> part of the rule -> their name
    origin: dict[str, tuple[Rule, Bound]] = {}
    patterns = [(part, rule, k) for rule in rules for k, part in enumerate(rule.parts)]
    for name, (rule, k, bound) in _matched(patterns, tensors).items():
        ours = _filled(rule.ours, bound)
        if k in places.setdefault(ours, {}):
            raise InputError(f"{places[ours][k]} and {name} are both {ours} here; remove one.")
        places[ours][k], origin[ours] = name, (rule, bound)
    _refuse("are missing", _absent(places, origin))
    return {ours: _joined(ours, [tensors[p[k]] for k in sorted(p)]) for ours, p in places.items()}


def to_theirs(rules: Rules, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names: the inverse of `to_ours`."""
    theirs: dict[str, Tensor] = {}
    for name, (rule, _, bound) in _matched([(r.ours, r, 0) for r in rules], tensors).items():
        names = [_filled(part, bound) for part in rule.parts]
        _refuse("are given twice", [new for new in names if new in theirs])
        theirs |= zip(names, _split(name, tensors[name], len(names)), strict=True)
    return theirs


def completed(
    name: str, config: Mapping[str, Any], defaults: Mapping[str, Any], needed: Collection[str] = ()
) -> dict[str, Any]:
    """The config of class `name` with the defaults of its constructor where it leaves a field out.

    Fields without a default here, the unknown ones and the `needed` ones that are left out are
    refused by name. A value must be of its default's kind, but a default of None takes any.
    """
    for field in config:
        if field not in defaults:
            near = difflib.get_close_matches(field, defaults, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"{name} has no config field {field!r}.{hint}")
    missing = [field for field in needed if field not in config]
    if missing:
        raise InputError(f"the config of {name} lacks {', '.join(missing)}.")
    for field, value in config.items():
        if not _alike(value, defaults[field]):
            kind = type(defaults[field]).__name__
            raise InputError(f"{field} of {name} must be {kind}, not {value!r}.")
    return {**defaults, **config}


def _alike(value: object, default: object) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, tuple | list):
        return isinstance(value, tuple | list)
    return isinstance(value, type(default))


def _matched(
    patterns: list[tuple[str, Rule, int]], names: Iterable[str]
) -> dict[str, tuple[Rule, int, Bound]]:
    """The one rule of each name; names with none, or with several, are refused."""
    found = {
        name: [(r, k, m.groupdict()) for p, r, k in patterns if (m := _regex(p).fullmatch(name))]
        for name in names
    }
    _refuse("have no place here", [name for name, hits in found.items() if not hits])
    _refuse("fit more than one rule", [name for name, hits in found.items() if len(hits) > 1])
    return {name: hits[0] for name, hits in found.items()}


def _absent(
    places: Mapping[str, Mapping[int, str]], origin: Mapping[str, tuple[Rule, Bound]]
) -> list[str]:
    """Their names that would complete the fused tensors."""
    return [
        _filled(part, bound)
        for ours, (rule, bound) in origin.items()
        for k, part in enumerate(rule.parts)
        if k not in places[ours]
    ]


def _joined(name: str, parts: list[Tensor]) -> Tensor:
    if len({(part.shape, part.dtype) for part in parts}) > 1:
        shapes = " and ".join(f"{tuple(p.shape)} {str(p.dtype)[6:]}" for p in parts)
        raise InputError(f"the parts of {name} must have one shape and dtype; they have {shapes}.")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _split(name: str, tensor: Tensor, parts: int) -> list[Tensor]:
    if parts == 1:
        return [tensor]
    if tensor.ndim == 0 or len(tensor) % parts:
        raise InputError(f"{name} of shape {tuple(tensor.shape)} is not {parts} equal parts.")
    return [part.clone() for part in tensor.chunk(parts)]


def _refuse(problem: str, names: list[str]) -> None:
    """Stop on the first three of `names`, if there are any."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"{', '.join(names[:3])}{more} {problem}; the weights belong to another model."
        )


@lru_cache(maxsize=4096)
def _regex(pattern: str) -> re.Pattern[str]:
    parts, end = [], 0
    for hole in PLACEHOLDER.finditer(pattern):
        name, several = hole.groups()
        parts += [re.escape(pattern[end : hole.start()]), f"(?P<{name}>"]
        parts += [".+" if several else r"[^.]+", ")"]
        end = hole.end()
    return re.compile("".join([*parts, re.escape(pattern[end:])]))


def _filled(pattern: str, bound: Bound) -> str:
    return PLACEHOLDER.sub(lambda hole: bound[hole[1]], pattern)


def _same_placeholders(theirs: tuple[str, ...], ours: str) -> None:
    sides = {frozenset(PLACEHOLDER.findall(pattern)) for pattern in (*theirs, ours)}
    if len(sides) > 1:
        raise ValueError(f"all sides of a rule need the same placeholders: {theirs} and {ours}.")
