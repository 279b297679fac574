"""Which weights made a dataset: their name, the hash of every model, what they were trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echoflow.files import sha256
from echoflow.interop import bundle, release
from echoflow.pipeline import weights_folder


@dataclass(frozen=True)
class Origin:
    """What is known about the weights of a dataset.

    `models` is role -> SHA-256 of the weights, `data` one sentence on what they were trained on,
    `source` where they were converted from. All are empty for an engine that has no files.
    """

    weights: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    source: str = ""

    @classmethod
    def of(cls, weights: str | Path, models: Sequence[str] = ()) -> Origin:
        """The origin of `pipeline.load(weights, models=models)`; it holds no path of a machine."""
        folder = weights_folder(weights)
        if (folder / bundle.CARD).is_file():
            return _of_bundle(folder)
        return _of_release(release.scan(folder, weights), models)


def _of_bundle(folder: Path) -> Origin:
    card = _json(folder / bundle.CARD)
    files = [*sorted(folder.rglob("*.safetensors"))]
    source = str(_json(folder / "provenance.json").get("source", ""))
    name = str(card.get("name") or folder.name)
    return Origin(name, _hashes(folder, files), str(card.get("data") or ""), _public(source))


def _of_release(found: release.Release, models: Sequence[str]) -> Origin:
    chosen = found.chosen(models)
    networks = found.reid(models, release.space_of(chosen["vae"].name))
    places = [*chosen.values(), *networks.values()]
    files = [file for place in places for file in sorted(place.glob("*.safetensors"))]
    data = str(_json(found.root / release.CARD).get("data") or "")
    return Origin(_public(found.source), _hashes(found.root, files), data)


def _hashes(root: Path, files: Sequence[Path]) -> dict[str, str]:
    """Role (the folder inside the weights, or the file) -> SHA-256."""
    return {_role(file.relative_to(root)): sha256(file) for file in files}


def _role(file: Path) -> str:
    return file.parent.as_posix() if file.parent != Path() else file.name


def _public(source: str) -> str:
    """A hub id stays as it is; of a folder only the name is told."""
    return Path(source).name if source and Path(source).expanduser().exists() else source


def _json(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}
