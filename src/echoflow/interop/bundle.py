"""A bundle on disk, our own layout of everything that a pipeline is made of.

One sub-folder per network (`avae`, `lifm`, `lvfm`, `ef`, `lv`), `bundle.json`, and the filter:
`reid` with `privacy.safetensors` beside it, or both once per view, in `reid/A4C`, `reid/PSAX` ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from echoflow.files import atomic_file
from echoflow.networks import zoo
from echoflow.privacy import Gallery, PrivacyByView, PrivacyFilter
from echoflow.sampling import Churn, SamplingPlan
from echoflow.types import InputError, View

CARD = zoo.BUNDLE
PRIVACY = "privacy.safetensors"
NEEDED = {"mean", "std", "size", "frames", "fps", "shift", "anatomy", "motion"}


@dataclass(frozen=True)
class Parts:
    """What a pipeline is made of. `nets`: avae and lvfm always; lifm, ef and lv if there.

    `card` holds the values of `NEEDED`: latent mean and std per channel, latent `size`, `frames`
    and `fps` of a clip, `shift` of each flow, and the sampling plans of `anatomy` and `motion`; it
    may hold `untraced`, the views that the image model learned with empty masks.
    `origin` are the files and model folders that all this was read from.
    """

    nets: Mapping[str, nn.Module]
    privacy: PrivacyFilter | PrivacyByView
    card: Mapping[str, Any]
    origin: tuple[Path, ...] = ()


def read(folder: Path) -> Parts:
    """The parts in the folder of a bundle. Everything is checked before it is used."""
    card = _card(folder)
    optional = [stage for stage in ("lifm", "ef", "lv") if (folder / stage).is_dir()]
    nets = {stage: zoo.load(folder / stage) for stage in ("avae", "lvfm", *optional)}
    return Parts(nets, _privacy(folder), card, (folder,))


def write(parts: Parts, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write a bundle into an empty folder, weights as `dtype` if given."""
    for stage, net in parts.nets.items():
        zoo.save(net, folder / stage, dtype)
    if isinstance(parts.privacy, PrivacyFilter):
        _save_filter(parts.privacy, folder / "reid", folder / PRIVACY, dtype)
    else:
        for view, one in parts.privacy.filters.items():
            place = folder / "reid" / view.name
            _save_filter(one, place, place / PRIVACY, dtype)
    with atomic_file(folder / CARD) as file:
        file.write_text(json.dumps(dict(parts.card), indent=1) + "\n")


def screen(net: nn.Module, gallery: Gallery, tau: float | Mapping[str, float]) -> PrivacyFilter:
    """The filter of a gallery whose features are those of `net`, or those before its sigmoid.

    Which of the two shows in the numbers: only the latter leave [0, 1].
    """
    bare = bool(((gallery.features < 0) | (gallery.features > 1)).any())
    return PrivacyFilter(getattr(net, "logits", net) if bare else net, gallery, tau)


def filters_of(privacy: PrivacyFilter | PrivacyByView) -> Mapping[View, PrivacyFilter]:
    """The filter of every view; one that serves all is each one's."""
    one = isinstance(privacy, PrivacyFilter)
    return dict.fromkeys(View, privacy) if one else privacy.filters


def network_of(privacy: PrivacyFilter) -> nn.Module:
    """The network behind the features of a filter."""
    net = getattr(privacy.embed, "__self__", privacy.embed)
    assert isinstance(net, nn.Module), "a filter on disk needs a network"
    return net


def _save_filter(
    privacy: PrivacyFilter, net: Path, gallery: Path, dtype: torch.dtype | None
) -> None:
    zoo.save(network_of(privacy), net, dtype)
    privacy.save(gallery)


def _privacy(folder: Path) -> PrivacyFilter | PrivacyByView:
    if (folder / PRIVACY).is_file():
        return _load_filter(folder / "reid", folder / PRIVACY)
    if not (folder / "reid").exists():
        return PrivacyByView({})  # of weights that came without: they animate, and make no hearts
    places = {view: folder / "reid" / view.name for view in View}
    return PrivacyByView(
        {
            view: _load_filter(place, place / PRIVACY)
            for view, place in places.items()
            if place.is_dir()
        }
    )


def _load_filter(net: Path, gallery: Path) -> PrivacyFilter:
    stored = PrivacyFilter.load(gallery, zoo.load(net))
    return screen(network_of(stored), stored.gallery, stored.tau)


def _card(folder: Path) -> Mapping[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{folder} is not a bundle: {CARD} is missing.") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); copy the bundle again.") from error
    missing = sorted(NEEDED - set(card))
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; the bundle is of another kind.")
    check(card, path)
    return card


def check(card: Mapping[str, Any], path: Path) -> None:
    """`InputError` where a card says something that no pipeline can be made of."""
    try:
        numbers = [int(card["size"]), int(card["frames"]), float(card["fps"])]
        numbers += [float(shift) for shift in card["shift"].values()]
        _ = [View[name] for name in card.get("untraced", ())]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); copy the weights again.") from error
    for name in ("anatomy", "motion"):
        plan_of(card[name])
    if min(numbers) <= 0:
        raise InputError(f"{path}: size, frames, fps and shift must be positive; got {numbers}.")


def plan_of(values: Mapping[str, Any]) -> SamplingPlan:
    """The plan that `asdict` wrote into a card: nothing in it is passed over."""
    try:
        negative, churn = values.get("negative"), values.get("churn")
        told = {
            "negative": None if negative is None else tuple(negative),
            "churn": None if churn is None else Churn(**churn),
        }
        return SamplingPlan(**{**values, **told})
    except (AttributeError, TypeError) as error:
        raise InputError(f"the card's sampling plan cannot be used: {error}.") from error
