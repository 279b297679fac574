"""The vocabulary of shapes and records that every other module speaks.

Axes are written `b c t h w`, in that order. Pixels are uint8 on disk and at the API and floats in
[-1, 1] inside. An ejection fraction (EF) is a percentage everywhere outside a network.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import EnumMeta, IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from echoflow.condition import Condition


T = TypeVar("T", str, int)


class InputError(ValueError):
    """Something the user gave is wrong: the message says what, what is allowed and what to do."""


class _Classes(EnumMeta):
    """Iterates over, and counts, the views that models have a class for: all but `OTHER`."""

    def __iter__(cls) -> Iterator[Any]:
        members: Iterator[Any] = super().__iter__()
        return (view for view in members if view.value >= 0)

    def __len__(cls) -> int:
        return sum(1 for _ in cls)


class View(IntEnum, metaclass=_Classes):
    """Standard views; the value is the class index of the released models.

    `OTHER` is any view that they have no class for, or one that is not known. Its index is the
    null of a `Condition`, so autoencoders train on such videos and generators take them as
    unconditional. It is no choice where a view is asked for.
    """

    OTHER = -1
    A4C = 0
    PSAX = 1
    PLAX = 2

    @classmethod
    def parse(cls, name: str | int | View, other: bool = False) -> View:
        """View from its name (any case) or class index; `InputError` offers the nearest names.

        Where recorded videos are listed, `OTHER` counts too (`other=True`).
        """
        views = [*cls, *([cls.OTHER] if other else [])]
        if isinstance(name, int):
            return cls(choose(int(name), [v.value for v in views], "view index"))
        return cls[choose(name.upper(), [v.name for v in views], "view")]


class Split(StrEnum):
    """Data splits, spelled as EchoNet-Dynamic spells them on disk."""

    TRAIN = "TRAIN"
    VAL = "VAL"
    TEST = "TEST"


Inference = Literal["exact", "bf16", "compiled"]
"""How generative networks compute. `exact`: float32 as trained. `bf16`: products in bfloat16, sums
in float32; about twice as fast where the processor multiplies bfloat16, with other bits.
`compiled`: as `bf16`, by `torch.compile`, and on a GPU replayed as CUDA graphs; a minute at the
first sample, and a C++ compiler."""
INFERENCE: tuple[Inference, ...] = get_args(Inference)


def choose(value: T, allowed: Iterable[T], what: str) -> T:
    """`value` if it is allowed, else an `InputError` that names the nearest allowed ones."""
    allowed = list(allowed)
    if value in allowed:
        return value
    names = [str(name) for name in allowed]
    near = difflib.get_close_matches(str(value), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"unknown {what} {value!r}; choose one of {', '.join(names)}.{hint}")


def check_ef(ef: float) -> float:
    """`ef` if it is a percentage in [0, 100]; fractions and nan are refused with the cure."""
    value = float(ef)
    if not (math.isfinite(value) and 0.0 <= value <= 100.0) or 0.0 < value < 1.0:
        cure = " Multiply a fraction by 100." if 0.0 < value <= 1.0 else ""
        raise InputError(f"ef must be a percentage in [0, 100]; got {ef}.{cure}")
    return value


def above_fractions(ef: float) -> float:
    """A drawn EF in percent that no check takes for a fraction: between 0 and 1 it becomes 1."""
    return max(ef, 1.0) if ef > 0 else ef


def check_whole(values: Mapping[str, object]) -> None:
    """`InputError` unless all are whole numbers of at least 1."""
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1; got {value!r}.")


@dataclass(frozen=True)
class Clip:
    """One video with what is known about it. `video` is uint8 (t, h, w); volumes in mL, EF in %."""

    uid: str
    video: np.ndarray
    fps: float
    view: View
    source: str
    split: Split
    patient: str | None = None
    ef: float | None = None
    edv: float | None = None
    esv: float | None = None


@dataclass(frozen=True)
class Record:
    """One row of a manifest = one video on disk, real or synthetic; `path` is under the root."""

    uid: str
    path: str
    source: str
    view: View
    split: Split
    patient: str | None
    fps: float
    frames: int
    height: int
    width: int
    ef: float | None
    edv: float | None
    esv: float | None

    @classmethod
    def of(cls, clip: Clip, path: str) -> Record:
        """The record of a clip stored at `path`; every size is read from the video by name."""
        frames, height, width = clip.video.shape
        shared = {f.name: getattr(clip, f.name) for f in fields(clip) if f.name != "video"}
        return cls(path=path, frames=frames, height=height, width=width, **shared)


@dataclass(frozen=True)
class Example:
    """What every dataset yields: pixels in [-1, 1] or normalised latents, and their condition.

    `x` is (c, h, w) or (c, t, h, w); the tensors of `cond` have no batch axis here.
    """

    x: Tensor
    cond: Condition
    uid: str


@dataclass(frozen=True)
class Batch:
    """Examples stacked: `x` (b, c, h, w) or (b, c, t, h, w), `cond` with a leading b."""

    x: Tensor
    cond: Condition
    uid: tuple[str, ...]
