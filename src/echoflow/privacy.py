"""The privacy filter: is a generated anatomy too close to somebody the models were trained on?

EchoFlow: a re-identification network turns an anatomy into a feature vector, the Pearson
correlation with the vector of every training patient is the similarity, and an anatomy that is more
similar than tau to any of them is thrown away. Only the filtered data are claimed to be private,
never the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from echoflow.files import atomic_file
from echoflow.types import InputError, View, choose

Embed = Callable[[Tensor], Tensor]  # latents (b, c, h, w) -> features (b, d)
Threshold = Callable[[Tensor, Tensor, float], float]  # (train, val, percentile) -> tau

# An exact copy has correlation 1 up to rounding, so no tau may sit above this.
TAU_MAX = 1.0 - 1e-9


def unit(features: Tensor) -> Tensor:
    """Rows (n, d) centred and scaled to length one, float64: dot products are correlations."""
    rows = features.detach().double()
    centred = rows - rows.mean(dim=-1, keepdim=True)
    norm = centred.norm(dim=-1, keepdim=True)
    flat = norm <= 1e-12 * rows.abs().amax(dim=-1, keepdim=True)
    if not bool(torch.isfinite(rows).all()) or bool(flat.any()):
        raise InputError(
            "features must be finite and not constant, else their correlation means nothing; "
            "check the re-identification weights and that the latents are finite."
        )
    return centred / norm


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of every row of `a` (n, d) with every row of `b` (m, d): float64 (n, m).

    One matrix product of centred unit rows: no (n + m)^2 matrix, and float64 because trained
    features correlate up to 0.9999, where float32 has few digits left.
    """
    if a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"feature lengths differ: {a.shape[-1]} and {b.shape[-1]}; "
            "embed both sets with the same re-identification network."
        )
    return (unit(a) @ unit(b).T).clamp(-1.0, 1.0)


def best_matches(a: Tensor, b: Tensor, chunk: int = 4096) -> tuple[Tensor, Tensor]:
    """For each row of `a`, the highest correlation with a row of `b` and that row's index."""
    rows = [correlations(part, b).max(dim=1) for part in a.split(chunk)]
    return torch.cat([r.values for r in rows]), torch.cat([r.indices for r in rows])


def paper_threshold(train: Tensor, val: Tensor, percentile: float = 95.0) -> float:
    """tau as EchoFlow sets it: a percentile of each *training* item's best match in validation.

    Kept for reproduction. Its flaw: the filter then asks the opposite question (a new item's best
    match in *training*), and a training set is several times larger than a validation set, so a
    genuinely new patient has that many more chances to exceed tau. The expected rejection of new
    patients is near 5 % x n_train / n_val (25-38 % at the paper's split sizes), not 5 %.
    """
    return _percentile(best_matches(train, val)[0], percentile)


def symmetric_threshold(train: Tensor, val: Tensor, percentile: float = 95.0) -> float:
    """tau from each *validation* item's best match in training: the question the filter asks.

    Validation patients are new to the model by construction, so about (100 - percentile) % of new
    patients are rejected, whatever the split sizes. Recommended.
    """
    return _percentile(best_matches(val, train)[0], percentile)


def _percentile(values: Tensor, percentile: float) -> float:
    if not 0.0 < percentile <= 100.0:
        raise InputError(f"percentile must be in (0, 100]; got {percentile}.")
    return float(np.percentile(values.cpu().numpy(), percentile))


@torch.no_grad()
def features_of(embed: Embed, z: Tensor) -> Tensor:
    """Features (b, d) of normalised latents (b, c, h, w).

    One sample at a time: convolution kernels round differently for different batch sizes, and a
    verdict must not depend on who else was in the batch.
    """
    if z.ndim != 4:
        raise InputError(f"the filter takes latents (b, c, h, w); got shape {tuple(z.shape)}.")
    return torch.cat([embed(sample[None]) for sample in z])


THRESHOLDS: dict[str, Threshold] = {"paper": paper_threshold, "symmetric": symmetric_threshold}


@dataclass(frozen=True)
class Gallery:
    """The training patients as features (n, d) with their `uids`.

    `groups` names the population of each row (the view, say). Every group gets a tau of its own:
    one tau for all views is as lax everywhere as the view that is hardest to tell apart.
    """

    features: Tensor
    uids: tuple[str, ...]
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.uids) or not self.uids:
            raise InputError(
                f"a gallery needs features (n, d) and n > 0 uids; got features "
                f"{tuple(self.features.shape)} and {len(self.uids)} uids."
            )
        if self.groups is not None and len(self.groups) != len(self.uids):
            raise InputError(f"{len(self.uids)} uids but {len(self.groups)} groups.")

    def __len__(self) -> int:
        return len(self.uids)

    @classmethod
    def of(
        cls, embed: Embed, z: Tensor, uids: Sequence[str], groups: Sequence[str] | None = None
    ) -> Gallery:
        """The gallery of training anatomies `z` (n, c, h, w), normalised latents."""
        return cls(features_of(embed, z).cpu(), tuple(uids), tuple(groups) if groups else None)

    def split(self) -> dict[str, Gallery]:
        """One gallery per group; a gallery without groups is the single group 'all'."""
        if self.groups is None:
            return {"all": self}
        rows = {
            g: [i for i, h in enumerate(self.groups) if h == g] for g in dict.fromkeys(self.groups)
        }
        return {
            g: Gallery(self.features[index], tuple(self.uids[i] for i in index), (g,) * len(index))
            for g, index in rows.items()
        }

    def save(self, path: Path) -> None:
        """Write features and uids to a safetensors file."""
        _save(path, self, {})

    @classmethod
    def load(cls, path: Path) -> Gallery:
        """Read what `save` wrote; `InputError` when the file is missing, broken or foreign."""
        return _load(path)[0]


def calibrate(
    train: Gallery, val: Gallery, rule: str = "symmetric", percentile: float = 95.0
) -> dict[str, float]:
    """tau per group of `train`, against the validation items of the same group."""
    threshold = THRESHOLDS[choose(rule, THRESHOLDS, "threshold rule")]
    held_out = val.split()
    missing = sorted(set(train.split()) - set(held_out))
    if missing:
        raise InputError(f"no validation features for {', '.join(missing)}; tau cannot be set.")
    return {
        group: threshold(part.features, held_out[group].features, percentile)
        for group, part in train.split().items()
    }


@dataclass(frozen=True)
class Verdict:
    """The filter's answer for one anatomy: `similarity` to training patient `nearest`."""

    accepted: bool
    similarity: float
    nearest: str
    tau: float

    @property
    def word(self) -> str:
        return "accepted" if self.accepted else "rejected"


class Privacy(Protocol):
    """What judges anatomies: one filter for all views, or one for each."""

    @property
    def gallery(self) -> Sized: ...

    def thresholds(self) -> Mapping[str, float]:
        """tau of every group."""
        ...

    def verdicts(self, z: Tensor, views: Sequence[View] | None = None) -> list[Verdict]:
        """One verdict per latent of `z` (b, c, h, w), which shows `views[i]`."""
        ...


@dataclass(frozen=True)
class PrivacyFilter:
    """Rejects an anatomy whose correlation with any training item reaches that item's tau.

    `tau` is one number, or one per group of the gallery. The nearest item is the one that comes
    closest to (or exceeds most) its own tau.
    """

    embed: Embed
    gallery: Gallery
    tau: float | Mapping[str, float]

    def __post_init__(self) -> None:
        self.taus()  # refuses a group without tau now rather than at the first verdict

    def taus(self) -> Tensor:
        """tau of every gallery row, float64 (n,)."""
        tau = self.tau
        if not isinstance(tau, Mapping):
            return torch.full((len(self.gallery),), min(float(tau), TAU_MAX), dtype=torch.float64)
        groups = self.gallery.groups or ("all",) * len(self.gallery)
        missing = sorted(set(groups) - set(tau))
        if missing:
            raise InputError(f"no tau for {', '.join(missing)}; calibrate every group.")
        return torch.tensor([min(tau[g], TAU_MAX) for g in groups], dtype=torch.float64)

    @classmethod
    def calibrated(
        cls,
        embed: Embed,
        train: Gallery,
        val: Gallery,
        rule: str = "symmetric",
        percentile: float = 95.0,
    ) -> PrivacyFilter:
        """A filter whose tau, one per group of `train`, follows from held-out patients."""
        return cls(embed, train, calibrate(train, val, rule, percentile))

    def thresholds(self) -> Mapping[str, float]:
        """tau of every group; the one of all has no name."""
        return self.tau if isinstance(self.tau, Mapping) else {"": self.tau}

    def verdicts(self, z: Tensor, views: Sequence[View] | None = None) -> list[Verdict]:
        """One verdict per latent of `z` (b, c, h, w), each independent of the others.

        Every latent is compared with the whole gallery, whatever its view.
        """
        gallery, taus = unit(self.gallery.features).cpu(), self.taus()
        return [self._judge(row, gallery, taus) for row in unit(features_of(self.embed, z)).cpu()]

    def _judge(self, row: Tensor, gallery: Tensor, taus: Tensor) -> Verdict:
        similarity = (gallery @ row).clamp(-1.0, 1.0)
        nearest = int((similarity - taus).argmax())
        value, tau = float(similarity[nearest]), float(taus[nearest])
        return Verdict(value < tau, value, self.gallery.uids[nearest], tau)

    def with_tau(self, tau: float | Mapping[str, float]) -> PrivacyFilter:
        """The same filter at another threshold."""
        return replace(self, tau=tau)

    def save(self, path: Path) -> None:
        """Write gallery and tau to a safetensors file (the network has a file of its own)."""
        tau = dict(self.tau) if isinstance(self.tau, Mapping) else float(self.tau)
        _save(path, self.gallery, {"tau": json.dumps(tau)})

    @classmethod
    def load(cls, path: Path, embed: Embed) -> PrivacyFilter:
        """The filter of `save`, around the network `embed`."""
        gallery, metadata = _load(path)
        if "tau" not in metadata:
            raise InputError(f"{path} is a gallery without a tau; calibrate the filter first.")
        return cls(embed, gallery, json.loads(metadata["tau"]))


@dataclass(frozen=True)
class PrivacyByView:
    """A filter per view, each with a network and a gallery of its own: the released layout."""

    filters: Mapping[View, PrivacyFilter]

    @property
    def gallery(self) -> tuple[str, ...]:
        """The uids of all galleries, each once."""
        return tuple(dict.fromkeys(uid for f in self.filters.values() for uid in f.gallery.uids))

    def thresholds(self) -> Mapping[str, float]:
        """tau of every group of every view."""
        return {group: tau for f in self.filters.values() for group, tau in f.thresholds().items()}

    def verdicts(self, z: Tensor, views: Sequence[View] | None = None) -> list[Verdict]:
        """One verdict per latent of `z` (b, c, h, w) from the filter of its view."""
        if views is None or len(views) != len(z):
            raise InputError(
                f"every anatomy needs its view, since each view has a filter of its own; got "
                f"{len(z)} anatomies and {len(views or ())} views."
            )
        return [self._of(view).verdicts(one[None])[0] for one, view in zip(z, views, strict=True)]

    def _of(self, view: View) -> PrivacyFilter:
        if view not in self.filters:
            there = ", ".join(v.name for v in self.filters) or "no view"
            raise InputError(
                f"these weights cannot check the privacy of {view.name}: a re-identification model "
                f"and a gallery are there for {there}. Ask for other views, or add the missing "
                "files."
            )
        return self.filters[view]


def rejection_rate(verdicts: Sequence[Verdict]) -> float:
    """Share of rejected items in percent."""
    if not verdicts:
        raise InputError("no verdicts: a rate needs at least one item.")
    return 100.0 * sum(not v.accepted for v in verdicts) / len(verdicts)


def _save(path: Path, gallery: Gallery, extra: dict[str, str]) -> None:
    metadata = {"uids": json.dumps(gallery.uids), "groups": json.dumps(gallery.groups), **extra}
    features = gallery.features.detach().float().cpu().contiguous()
    if torch.equal(features.half().float(), features):
        features = features.half()  # half the bytes, nothing lost
    with atomic_file(path) as temporary:
        save_file({"features": features}, str(temporary), metadata)


def _load(path: Path) -> tuple[Gallery, dict[str, str]]:
    if not Path(path).is_file():
        raise InputError(f"no gallery at {path}; give the file that a training run wrote.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            features = file.get_tensor("features").float()
        uids, groups = json.loads(metadata["uids"]), json.loads(metadata["groups"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a gallery file or is damaged; write it again.") from error
    return Gallery(features, tuple(uids), tuple(groups) if groups else None), metadata
