"""A whole release of EchoFlow on disk, and the parts of a pipeline from it.

    vae/<name>  lifm/<name>  lvfm/<name>  reid/<dataset>-<space>     one model each
    scaling.pt  anatomies_<dataset>.pt           tables, here, in assets/, or in the demo Space

A role with one model needs no choice; with several, the caller names one as `lvfm/FMvT-S2-4f4`.
`release.json` is ours: what a release of this project's own weights says beyond the published
layout. It overrides `PUBLISHED`, the values of the paper.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from echoflow.interop import echoflow, hub
from echoflow.interop.bundle import Parts, screen
from echoflow.latents import LatentStats
from echoflow.networks import zoo
from echoflow.privacy import Gallery, PrivacyByView
from echoflow.sampling import SamplingPlan
from echoflow.types import InputError, View, choose

ROLES = {"vae": "avae", **{role: role for role in ("lifm", "lvfm", "reid", "ef", "lv")}}
"""Folder of a release -> stage of a bundle."""
GENERATIVE = ("vae", "lifm", "lvfm")
SCALING, CARD = "scaling.pt", "release.json"
SPACE = re.compile(r"(?:^|-)(\d+f\d+)$")
CROP = 112  # pixels per side of every published model

# sections 2 and 6 of the paper: 100 Euler steps on a uniform grid; the negative branch of guidance
# has neither EF nor anatomy, and scale 2 is the best row of table 6
MOTION = SamplingPlan(steps=100, solver="euler", scale=2.0)
ANATOMY = SamplingPlan(steps=100, solver="euler", scale=1.0)
PUBLISHED: Mapping[str, Any] = {
    "fps": 32.0,
    "shift": {"lifm": 1.0, "lvfm": 1.0},
    "anatomy": asdict(ANATOMY),
    "motion": asdict(MOTION),
    "calibration": None,
    "untraced": ["PLAX"],  # EchoNet-LVH has no masks, and EchoFlow learned from it with empty ones
    # training set -> its views, its tau, and whose network made its features. The demo compares
    # both A4C sets with the network of EchoNet-Dynamic.
    "galleries": {
        "dynamic": {"views": ["A4C"], "tau": 0.9997, "reid": "dynamic"},
        "ped_a4c": {"views": ["A4C"], "tau": 0.9851, "reid": "dynamic"},
        "ped_psax": {"views": ["PSAX"], "tau": 0.9953, "reid": "ped_psax"},
        "lvh": {"views": ["PLAX"], "tau": 0.9950, "reid": "lvh"},
    },
}


@dataclass(frozen=True)
class Release:
    """A folder with its models: role -> name -> where it lies. `source` is what was asked for."""

    root: Path
    models: Mapping[str, Mapping[str, Path]]
    source: str

    def chosen(self, asked: Sequence[str] = ()) -> dict[str, Path]:
        """role -> the model to take, for every role that is there but `reid`.

        `asked` names models as `role/name`. Where a role has several others, those of the latent
        space of the asked ones are left; more than one of these is an `InputError` that lists them.
        """
        named = dict(self._named(asked))
        spaces = {space for path in named.values() if (space := space_of(path.name))}
        for role, models in self.models.items():
            if role not in named and role != "reid" and models:
                named[role] = self._only(role, models, spaces)
        return named

    def _named(self, asked: Sequence[str]) -> list[tuple[str, Path]]:
        every = {
            f"{r}/{name}": (r, path) for r, ms in self.models.items() for name, path in ms.items()
        }
        return [every[choose(one, every, f"model of {self.source}")] for one in asked]

    def _only(self, role: str, models: Mapping[str, Path], spaces: set[str]) -> Path:
        fitting = {n: p for n, p in models.items() if not spaces or space_of(n) in (*spaces, None)}
        if len(fitting) == 1:
            return next(iter(fitting.values()))
        names = ", ".join(f"{role}/{name}" for name in models)
        raise InputError(f"{self.source} has several models under {role}; choose one of {names}.")

    def reid(self, asked: Sequence[str], space: str | None) -> dict[str, Path]:
        """Training set -> re-identification network, in the latent space chosen."""
        named = [path for role, path in self._named(asked) if role == "reid"]
        found: dict[str, Path] = {}
        for name, path in self.models["reid"].items():
            own = space_of(name)
            if path in named or (not named and (None in (own, space) or own == space)):
                found[SPACE.sub("", name)] = path
        return found

    def table(self, name: str) -> Path | None:
        """Where an asset lies, if it is there: the root, `assets`, or the demo Space."""
        for folder in (self.root, self.root / "assets"):
            if (folder / name).is_file():
                return folder / name
        return next(self._space.rglob(name), None) if self._space else None

    @cached_property
    def _space(self) -> Path | None:
        """The demo Space of a hub id, asked for once."""
        return hub.find_assets(self.source)

    def card(self) -> dict[str, Any]:
        """`PUBLISHED`, or what `release.json` says instead."""
        path = self.root / CARD
        if not path.is_file():
            return dict(PUBLISHED)
        try:
            own = json.loads(path.read_text())
            return {**PUBLISHED, "untraced": [], **own}
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); copy the release again.") from error


def scan(root: Path, source: str | Path | None = None) -> Release:
    """The models under `root`. A role folder may itself be the only model of its role."""
    return Release(root, {role: _models(root / role) for role in ROLES}, str(source or root))


def is_release(root: Path) -> bool:
    """Whether a folder holds published models by role."""
    return any(_models(root / role) for role in GENERATIVE)


def space_of(name: str) -> str | None:
    """`4f4` of `FMvT-S2-4f4`; None where a name does not end so."""
    found = SPACE.search(name)
    return found[1] if found else None


def read(release: Release, asked: Sequence[str] = ()) -> Parts:
    """The parts of a pipeline from the models `asked` for, or the only ones."""
    chosen = release.chosen(asked)
    for role, what in (("vae", "autoencoder"), ("lvfm", "video model")):
        if role not in chosen:
            raise InputError(
                f"{release.source} has no {what}; put its folder, with config.json and "
                f"{zoo.WEIGHTS}, under {release.root / role}."
            )
    nets = {ROLES[role]: echoflow.load(path) for role, path in chosen.items() if role != "reid"}
    scaling, stats = _scaling(release, nets["avae"])
    channels, size, frames = _shape(nets, chosen)
    card = release.card()
    galleries = card.pop("galleries")
    judges = _judges(release, galleries, release.reid(asked, space_of(chosen["vae"].name)))
    card |= {"mean": stats.mean.tolist(), "std": stats.std.tolist(), "size": size, "frames": frames}
    origin = {scaling, *(path for role, path in chosen.items() if role != "reid")}
    for judge in judges.values():
        origin |= {judge.net, *judge.tables.values()}
    return Parts(nets, _filters(judges, galleries, channels), card, tuple(sorted(origin)))


def _models(folder: Path) -> dict[str, Path]:
    if echoflow.is_model(folder):
        return {folder.name: folder}
    if not folder.is_dir():
        return {}
    return {path.name: path for path in sorted(folder.iterdir()) if echoflow.is_model(path)}


def _scaling(release: Release, avae: nn.Module) -> tuple[Path, LatentStats]:
    path = release.table(SCALING)
    if path is None:
        raise InputError(
            f"{SCALING} is missing, without which latents cannot be normalised: it is among the "
            f"assets of the published demo; put it into {release.root}."
        )
    stats = echoflow.read_scaling(path)
    channels = latent_channels(avae)
    if len(stats.mean) != channels:
        raise InputError(
            f"{path} is for {len(stats.mean)} latent channels, the autoencoder has {channels}; "
            "they belong to different latent spaces."
        )
    return path, stats


def latent_channels(avae: nn.Module) -> int:
    """Channels of the latents of a diffusers AutoencoderKL."""
    config: Any = avae.config
    return int(config["latent_channels"])


def _shape(nets: Mapping[str, nn.Module], chosen: Mapping[str, Path]) -> tuple[int, int, int]:
    """Channels, cells per side and frames of the latents; all networks must agree on them."""
    avae: Any = nets["avae"]
    channels = latent_channels(avae)
    size = CROP // 2 ** (len(avae.config["block_out_channels"]) - 1)
    shapes = {chosen["vae"].name: (channels, size)}
    for role in ("lifm", "lvfm"):
        if role in chosen:
            config: Any = nets[role].config
            shapes[chosen[role].name] = (config.channels, _side(config.size) or size)
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {c} channels of {s}x{s}" for name, (c, s) in shapes.items())
        raise InputError(f"the models work in different latent spaces: {found}.")
    video: Any = nets["lvfm"].config
    return channels, size, int(video.frames)


def _side(size: int | Sequence[int] | None) -> int | None:
    if size is None or isinstance(size, int):
        return size
    if len(set(size)) > 1:
        raise InputError(f"latents must be square; the model is made for {tuple(size)}.")
    return int(size[0])


# ---- privacy ------------------------------------------------------------------------------------


Galleries = Mapping[str, Mapping[str, Any]]
"""Training set -> its `views`, its `tau`, and the network (`reid`) that made its features."""


@dataclass(frozen=True)
class _Judge:
    """Where the network of a view lies, and the tables of the training sets that it made."""

    net: Path
    tables: Mapping[str, Path]


def _judges(
    release: Release, galleries: Galleries, networks: Mapping[str, Path]
) -> dict[View, _Judge]:
    """Every view that has a network and at least one table; the others cannot be judged."""
    tables = {name: path for name in galleries if (path := release.table(f"anatomies_{name}.pt"))}
    judges: dict[View, _Judge] = {}
    for view in View:
        sets = {
            n: networks.get(galleries[n]["reid"])
            for n in tables
            if view.name in galleries[n]["views"]
        }
        net = next((path for path in sets.values() if path), None)
        if net is not None:
            judges[view] = _Judge(net, {n: tables[n] for n, path in sets.items() if path == net})
    return judges


def _filters(judges: Mapping[View, _Judge], galleries: Galleries, channels: int) -> PrivacyByView:
    nets = {path: _reid(path, channels) for path in {judge.net for judge in judges.values()}}
    filters = {}
    for view, judge in judges.items():
        net, names = nets[judge.net], list(judge.tables)
        gallery = _gallery(names, [_features(judge.tables[name], net) for name in names])
        filters[view] = screen(net, gallery, {name: galleries[name]["tau"] for name in names})
    return PrivacyByView(filters)


def _reid(path: Path, channels: int) -> nn.Module:
    net = echoflow.load(path)
    config: Any = net.config
    if config.channels != channels:
        raise InputError(
            f"{path} compares latents of {config.channels} channels, these have {channels}; "
            "choose the network of this latent space."
        )
    return net


def _features(path: Path, net: nn.Module) -> Tensor:
    features = echoflow.read_anatomies(path)
    config: Any = net.config
    if features.shape[1] != config.features:
        raise InputError(
            f"{path} has rows of {features.shape[1]} features, the re-identification network "
            f"gives {config.features}; they belong to different networks."
        )
    return features


def _gallery(names: Sequence[str], features: Sequence[Tensor]) -> Gallery:
    """The tables one below the other; patients are numbered, since tables hold no names."""
    pairs = list(zip(names, features, strict=True))
    uids = tuple(f"{name}:{i}" for name, table in pairs for i in range(len(table)))
    groups = tuple(name for name, table in pairs for _ in range(len(table)))
    return Gallery(torch.cat(list(features)), uids, groups)
