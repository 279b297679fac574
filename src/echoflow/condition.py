"""What a sample is asked to be: ejection fraction, view, anatomy, mask, previous cascade stage.

A field that a model does not use is None. A field that one *sample* does without holds its null:
nan for a number (a network that forgets to handle it fails loudly), -1 for the view, zeros for the
rest.
Dropping a field in training and leaving it out of a guidance branch are the same operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from echoflow.types import InputError, View, choose

NULLS: Mapping[str, float] = {
    "ef": float("nan"),
    "view": -1,
    "frame": 0.0,
    "mask": 0.0,
    "lowres": 0.0,
    "lowres_noise": float("nan"),
}
RANKS: Mapping[str, int] = {
    "ef": 1,
    "view": 1,
    "frame": 4,
    "mask": 4,
    "lowres": 5,
    "lowres_noise": 1,
}


@dataclass(frozen=True, eq=False)
class Condition:
    """The fields of a batch. Inside an `Example` the same fields stand without the axis b.

    A leading axis of two different lengths, or fields with and without b together, are refused.
    """

    ef: Tensor | None = None  # (b,) percent
    view: Tensor | None = None  # (b,) long: A4C 0, PSAX 1, PLAX 2
    frame: Tensor | None = None  # (b, c, h, w) the anatomy
    mask: Tensor | None = None  # (b, k, h, w) in {0, 1}
    lowres: Tensor | None = None  # (b, c, t, h, w) the previous cascade stage, noised
    lowres_noise: Tensor | None = None  # (b,) what the network is told of that noise

    def __post_init__(self) -> None:
        present = self.present()
        for name, value in present.items():
            if not isinstance(value, Tensor):
                raise InputError(f"condition field {name} must be a tensor; got {value!r}.")
        axes = {name: value.ndim - RANKS[name] for name, value in present.items()}
        if any(extra not in (0, -1) for extra in axes.values()) or len(set(axes.values())) > 1:
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in present.items())
            raise InputError(
                f"condition fields do not fit together: {shapes}. With a batch axis they are "
                "ef (b,), view (b,), frame (b,c,h,w), mask (b,k,h,w), lowres (b,c,t,h,w), "
                "lowres_noise (b,)."
            )
        sizes = {name: len(value) for name, value in present.items() if axes[name] == 0}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InputError(f"condition fields have different batch sizes: {found}.")

    def present(self) -> dict[str, Tensor]:
        """The fields that are set, by name, in the order of the class."""
        values = {name: getattr(self, name) for name in NULLS}
        return {name: value for name, value in values.items() if value is not None}

    def __len__(self) -> int:
        """Batch size; 0 when no field is set."""
        return next((len(value) for value in self.present().values()), 0)

    def without(self, *names: str) -> Condition:
        """The same batch with the named fields null: a negative condition of EchoFlow eq. 16."""
        for name in names:
            choose(name, NULLS, "condition field")
        return replace(self, **{n: null(n, v) for n, v in self.present().items() if n in names})

    def dropped(
        self, p: float | Mapping[str, float], rng: Generator | Sequence[Generator]
    ) -> Condition:
        """Every field of every sample null with probability `p` (or `p[field]`), independently.

        With a generator for each sample, what is dropped there does not depend on the others.
        """
        chances = p if isinstance(p, Mapping) else dict.fromkeys(NULLS, p)
        for name in chances:
            choose(name, NULLS, "condition field")
        kept = {}
        for name, value in self.present().items():
            drop = (_uniform(len(value), rng) < chances.get(name, 0.0)).to(value.device)
            kept[name] = torch.where(over(drop, value), null(name, value), value)
        return replace(self, **kept)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Condition:
        """Moved to a device; `dtype` applies to the floating fields only."""

        def moved(value: Tensor) -> Tensor:
            return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

        return replace(self, **{name: moved(value) for name, value in self.present().items()})

    def select(self, index: Tensor | slice | list[int]) -> Condition:
        """The samples at `index`, in that order, still with the axis b."""
        return replace(self, **{name: value[index] for name, value in self.present().items()})

    def between(self, start: int, stop: int) -> Condition:
        """What it says of the frames from `start` to before `stop`: a part of `lowres`."""
        return self if self.lowres is None else replace(self, lowres=self.lowres[:, :, start:stop])

    def repeat(self, n: int) -> Condition:
        """Every sample `n` times in a row: a a b b."""
        present = self.present().items()
        return replace(self, **{name: value.repeat_interleave(n, 0) for name, value in present})

    @classmethod
    def stack(cls, items: Iterable[Condition]) -> Condition:
        """Items without b become a batch; a field that only some have is null in the rest."""
        return _joined(list(items), torch.stack)

    @classmethod
    def cat(cls, batches: Iterable[Condition]) -> Condition:
        """Batches one after the other; they must have the same fields set."""
        batches = list(batches)
        if len({tuple(batch.present()) for batch in batches}) > 1:
            found = " and ".join(sorted({"+".join(b.present()) or "nothing" for b in batches}))
            raise InputError(f"cannot join conditions with different fields: {found}.")
        return _joined(batches, torch.cat)

    def checked(self) -> Condition:
        """Itself if allowed: EF in [0, 100] or nan, view index or -1, mask 0 or 1."""
        if self.ef is not None:
            _check_ef(self.ef)
        if self.view is not None and not bool(((self.view >= -1) & (self.view < len(View))).all()):
            names = ", ".join(f"{v.name} {v.value}" for v in View)
            raise InputError(f"view must be one of {names} or -1 for none; got {self.view}.")
        if self.mask is not None and not bool(((self.mask == 0) | (self.mask == 1)).all()):
            low, high = self.mask.min().item(), self.mask.max().item()
            raise InputError(
                f"mask must hold only 0 and 1; got values from {low:g} to {high:g}. "
                "Threshold it first, for example mask > 0.5."
            )
        return self


def null(name: str, value: Tensor) -> Tensor:
    """The null of a field, shaped like `value`."""
    return torch.full_like(value, NULLS[name])


def _uniform(n: int, rng: Generator | Sequence[Generator]) -> Tensor:
    if isinstance(rng, Generator):
        return torch.rand(n, generator=rng, device=rng.device)
    if len(rng) != n:
        raise ValueError(f"{n} samples need as many generators; got {len(rng)}.")
    return torch.cat([torch.rand(1, generator=one, device=one.device) for one in rng])


def over(per_sample: Tensor, x: Tensor) -> Tensor:
    """(b,) seen as (b, 1, 1, ...) so that it acts on every element of each sample of `x`."""
    return per_sample.reshape(-1, *[1] * (x.ndim - 1))


def _joined(items: list[Condition], join: Callable[[list[Tensor]], Tensor]) -> Condition:
    fields = {}
    for name in NULLS:
        values = [getattr(item, name) for item in items]
        some = next((value for value in values if value is not None), None)
        if some is not None:
            fields[name] = join([null(name, some) if v is None else v for v in values])
    return Condition(**fields)


def _check_ef(ef: Tensor) -> None:
    known = ef[~ef.isnan()]
    wrong = known[(known < 0) | (known > 100) | ((known > 0) & (known < 1))]
    if len(wrong):
        value = wrong[0].item()
        cure = " Multiply a fraction by 100." if 0 < value < 1 else ""
        raise InputError(f"ef must be a percentage in [0, 100]; got {value:g}.{cure}")
