"""Published weights into our layouts, and ours into the published ones.

Importing keeps a record of where every file came from; exporting writes a model card. Tensors are
carried over bit for bit in both directions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from echoflow import __version__
from echoflow.files import atomic_file, new_folder, sha256
from echoflow.interop import bundle, echodiffusion, echoflow, hub, release
from echoflow.interop.bundle import Parts
from echoflow.interop.card import About, readme
from echoflow.networks import zoo
from echoflow.networks.trunks import ReId18
from echoflow.types import InputError

PROVENANCE = "provenance.json"
RECIPE = "recipe.yaml"
ORIGIN = ("name", "data", "population")  # what a card says of where weights come from


# ---- in -----------------------------------------------------------------------------------------


def import_weights(
    source: str | Path, out: str | Path, subfolder: str | None = None, asked: Sequence[str] = ()
) -> Parts | nn.Module:
    """A published model, or a release, as a native folder or a bundle in the new folder `out`."""
    folder = hub.find(source, subfolder)
    _refuse_cascade(folder)
    if echoflow.is_model(folder):
        net = echoflow.load(folder)
        with new_folder(out) as work:
            zoo.save(net, work)
            _write_provenance(work, source, folder, (folder,))
        return net
    if not release.is_release(folder):
        raise InputError(
            f"{folder} is neither a model (config.json or config.yaml) nor a release (a folder "
            f"with {', '.join(release.GENERATIVE)} in it)."
        )
    parts = release.read(release.scan(folder, source), asked)
    bundle.check(parts.card, folder / release.CARD)
    with new_folder(out) as work:
        bundle.write(parts, work)
        _write_provenance(work, source, folder, parts.origin)
    return parts


def _refuse_cascade(folder: Path) -> None:
    if echodiffusion.is_cascade(folder):
        raise InputError(
            f"{folder} is a published cascade of EchoDiffusion, which is used as it lies there: "
            f"animate INPUT --weights {folder}."
        )


def _write_provenance(work: Path, source: str | Path, root: Path, origin: Iterable[Path]) -> None:
    """provenance.json: what was asked for, its revision on the hub, and the hash of every file."""
    files = [file for place in origin for file in (_files(place) if place.is_dir() else [place])]
    record = {
        "source": str(source),
        "revision": next(
            (p.name for p in (root, *root.parents) if p.parent.name == "snapshots"), None
        ),
        "files": {_relative(file, root): sha256(file) for file in sorted(set(files))},
        "imported_by": f"echoflow {__version__}",
    }
    with atomic_file(work / PROVENANCE) as file:
        file.write_text(json.dumps(record, indent=1) + "\n")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def _relative(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name


# ---- out ----------------------------------------------------------------------------------------


def export_weights(folder: str | Path, out: str | Path, data: str | None = None) -> list[str]:
    """Our weights, one network or a bundle, in the published layout with a model card.

    `data` says what they were trained on, where the weights do not. Returns the models written,
    as `role/name`; a single network is `.`.
    """
    folder = Path(folder).expanduser()
    if (folder / bundle.CARD).is_file():
        parts = bundle.read(folder)
        with new_folder(out) as work:
            names = _write_release(parts, folder, work)
            card = {**parts.card, "data": data or parts.card.get("data")}
            _write_card(work, About.of_bundle(card, parts, names, _provenance(folder)))
        return names
    _refuse_cascade(folder)
    if not echoflow.is_model(folder):
        raise InputError(
            f"{folder} is neither a network (config.json) nor a bundle ({bundle.CARD})."
        )
    net = _publishable(echoflow.load(folder))
    with new_folder(out) as work:
        echoflow.save(net, work)
        _copy_recipe(folder, work)
        _write_card(work, About.of_network(net, name_of(net), data, _provenance(folder)))
    return ["."]


def name_of(net: nn.Module) -> str:
    """The zoo's name of a network as a folder is called (`FMvT-S2-4f4`), or that of its class."""
    config: Any = getattr(net, "config", None)
    rows = {name: row for name, row in zoo.ROWS.items() if type(row) is type(config)}
    found = next((name for name, row in rows.items() if row == config), None)
    return (found or type(net).__name__).replace("/", "")


def _write_release(parts: Parts, folder: Path, work: Path) -> list[str]:
    """Every network under its role, the tables, and `release.json`; returns `role/name`s."""
    factor = 2 ** (len(_fields(parts.nets["avae"])["block_out_channels"]) - 1)
    space = f"{release.latent_channels(parts.nets['avae'])}f{factor}"
    roles = {stage: role for role, stage in release.ROLES.items()}
    names = []
    for stage, net in parts.nets.items():
        own = f"avae-{space}" if stage == "avae" else _with_space(name_of(net), space)
        names.append(f"{roles[stage]}/{own}")
        echoflow.save(net, work / names[-1])
        _copy_recipe(folder / stage, work / names[-1])
    card = dict(parts.card)
    stats = {name: torch.tensor(card.pop(name)) for name in ("mean", "std")}
    echoflow.write_table(stats, work / release.SCALING)
    galleries, reids = _write_galleries(parts, work, space)
    for name in reids[:1]:
        _copy_recipe(folder / "reid", work / name)
    card.setdefault("untraced", [])
    settings = {key: card[key] for key in (*release.PUBLISHED, *ORIGIN) if key in card}
    with atomic_file(work / release.CARD) as file:
        file.write_text(json.dumps({**settings, "galleries": galleries}, indent=1) + "\n")
    return [*names, *reids]


def _write_galleries(
    parts: Parts, work: Path, space: str
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """`anatomies_<group>.pt` and the networks behind them. Names of patients stay at home."""
    galleries: dict[str, dict[str, Any]] = {}
    reids: dict[str, str] = {}
    for view, one in bundle.filters_of(parts.privacy).items():
        groups = one.gallery.split()
        owner = next((galleries[g]["reid"] for g in groups if g in galleries), next(iter(groups)))
        if owner not in reids:
            reids[owner] = f"reid/{owner}-{space}"
            echoflow.save(_publishable(bundle.network_of(one)), work / reids[owner])
        for group, part in groups.items():
            about = galleries.setdefault(group, {"views": [], "reid": owner})
            about["views"].append(view.name)
            about["tau"] = one.thresholds().get(group, one.thresholds().get(""))
            echoflow.write_table(part.features, work / f"anatomies_{group}.pt")
    return galleries, list(reids.values())


def _publishable(net: nn.Module) -> nn.Module:
    """A re-identification network without the head of its training, which is never published."""
    return net.released() if isinstance(net, ReId18) and net.config.head else net


def _with_space(name: str, space: str) -> str:
    return name if release.space_of(name) == space else f"{name}-{space}"


def _fields(net: nn.Module) -> Mapping[str, Any]:
    config: Any = net.config
    return config


def _copy_recipe(source: Path, target: Path) -> None:
    if (source / RECIPE).is_file():
        shutil.copy(source / RECIPE, target / RECIPE)


def _provenance(folder: Path) -> Mapping[str, Any] | None:
    path = folder / PROVENANCE
    try:
        return dict(json.loads(path.read_text())) if path.is_file() else None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); import the weights again.") from error


def _write_card(work: Path, about: About) -> None:
    with atomic_file(work / "README.md") as file:
        file.write_text(readme(about), encoding="utf-8")
