"""Who says so: every value of a recipe with a name has a source, and the source is printed.

A source begins with one of `KINDS`: the paper itself, the code released with it, the code it comes
from or that came from it (which one is named), or our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from echoflow.training.recipes import Recipe, Stage, parse

KINDS = ("paper", "released code", "lineage", "ours")
DEFAULT = "ours, the default"
CHANGED = "changed on the command line"
OPTIONS: Mapping[Stage, str] = {
    "avae": "avae",
    "lifm": "flow",
    "lvfm": "flow",
    "reid": "reid",
    "ef": "ef",
    "lv": "lv",
    "freeecho": "freeecho",
    "cascade": "cascade",
}
"""The options that a stage reads, besides the engine's."""

_COLUMN = 44  # where sources begin
_READERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "posterior": ("stage", ("lifm", "lvfm", "reid")),
    "decoder": ("stage", ("lifm", "lvfm")),
    "splits": ("stage", ("avae", "ef", "lv", "freeecho", "cascade")),
    "flow.frames": ("stage", ("lvfm",)),
    "engine.decay": ("engine.schedule", ("linear",)),
    "engine.slope": ("engine.schedule", ("inverse-sqrt",)),
    "engine.floor": ("engine.schedule", ("inverse-sqrt",)),
    "engine.fall_every": ("engine.schedule", ("step",)),
    "engine.fall": ("engine.schedule", ("step",)),
    "engine.betas": ("engine.optimiser", ("adam", "adamw", "muon")),
    "engine.momentum": ("engine.optimiser", ("sgd",)),
    "flow.drop_ef": ("stage", ("lvfm",)),
    "flow.drop_frame": ("stage", ("lvfm",)),
    "flow.drop_view": ("stage", ("lifm",)),
    "flow.drop_mask": ("stage", ("lifm",)),
    "flow.frame_noise": ("stage", ("lvfm",)),
    "flow.stills": ("stage", ("lvfm",)),
    "flow.anatomy": ("stage", ("lvfm",)),
    "ef.period": ("ef.augment", ("crop", "none")),
    "ef.pad": ("ef.augment", ("crop",)),
    "ef.by_anatomy": ("ef.augment", ("crop", "none")),
}  # the setting that decides whether a value is read, and for which of its choices it is


@dataclass(frozen=True)
class Says:
    """A source and the values it gives, by dotted name."""

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """A recipe with a name: the group it is listed in, a line about it, and who says what.

    Of two sources of one value the later counts.
    """

    group: str
    about: str
    said: tuple[Says, ...]

    @cached_property
    def recipe(self) -> Recipe:
        """The values."""
        values: dict[str, Any] = {}
        for says in self.said:
            for name, value in says.values.items():
                part, _, last = name.rpartition(".")
                (values.setdefault(part, {}) if part else values)[last] = value
        return parse(values)

    @cached_property
    def sources(self) -> dict[str, str]:
        """Dotted name -> source, of all values that are not defaults of the schema."""
        return {name: says.source for says in self.said for name in says.values}


def annotated(
    recipe: Recipe,
    before: Recipe | None = None,
    sources: Mapping[str, str] | None = None,
    otherwise: str = DEFAULT,
) -> str:
    """The recipe as YAML with the source of each value behind it; what the stage ignores is left
    out. `before` is the recipe as it was named or read, so that changes are told apart."""
    known = sources or {}
    now, then = dict(_values(recipe)), dict(_values(before or recipe))
    lines, part = [], ""
    for name, value in now.items():
        section, _, last = name.rpartition(".")
        if section != part:
            lines.append(f"{section}:")
            part = section
        source = known.get(name, otherwise) if then[name] == value else CHANGED
        source = _unread(now, name) or source
        lines.append(_line(last, value, source, indent=2 if section else 0))
    return "\n".join(lines) + "\n"


def _values(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Dotted names and plain values of what the stage reads, in the order of the schema."""
    ignored = set(OPTIONS.values()) - {OPTIONS[recipe.stage]}
    for name, value in recipe.model_dump(mode="json").items():
        if name in ignored:
            continue
        if isinstance(value, dict):
            yield from ((f"{name}.{last}", inner) for last, inner in value.items())
        else:
            yield name, value


def _unread(values: Mapping[str, Any], name: str) -> str:
    """Why a value does not matter here; nothing if it does."""
    switch, users = _READERS.get(name, ("", ()))
    return f"not used by {values[switch]}" if switch and values[switch] not in users else ""


def _line(name: str, value: Any, source: str, indent: int) -> str:
    text = yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()[1:-1]
    return f"{' ' * indent}{name}: {text}".ljust(_COLUMN) + f"  # {source}"
