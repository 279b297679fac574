"""Where cascades lie, and what tells one from another.

FOLDER/config.yaml, merged.pt       one published cascade
FOLDER/2SCM_v6/...                  a release of several; the name says which: 2SCM
FOLDER/NAME-1/, FOLDER/NAME-2/ ...  the finished runs of its stages (recipe.yaml, net/)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from echoflow.interop import echodiffusion, hub
from echoflow.metrics.report import fingerprint
from echoflow.networks import zoo
from echoflow.pipeline import NANO
from echoflow.training import recipes
from echoflow.training.folder import RECIPE
from echoflow.types import InputError

RELEASED: Mapping[str, str] = {"1SCM": "1SCM_v2", "2SCM": "2SCM_v6", "4SCM": "4SCM_v2"}
"""The folders of the release by the names of the paper."""


@dataclass(frozen=True)
class Place:
    """Where a cascade lies: in the folder of a published one, or in the runs of its stages."""

    published: Path | None
    runs: tuple[Path, ...] = ()

    @property
    def files(self) -> list[Path]:
        """All that is read of it."""
        if self.published is not None:
            return [self.published / echodiffusion.CONFIG, self.published / echodiffusion.WEIGHTS]
        return [path for run in self.runs for path in (run / RECIPE, run / "net" / zoo.WEIGHTS)]


def find(weights: str | Path, name: str | None = None) -> Place:
    """The cascade of a folder or a hub id; `name` chooses among several, such as 2SCM.

    `InputError`: there is none, or several of which none is named.
    """
    if weights == NANO:
        raise InputError(
            f"the weights {NANO} hold no cascade{f' {name}' if name else ''}; give the folder of a "
            "published one, or of runs of its stages."
        )
    local = Path(weights).expanduser().exists()
    root = hub.find(weights, None if local or name is None else RELEASED.get(name, name))
    folder = _published(root, name)
    return Place(folder) if folder is not None else Place(None, tuple(_runs(root, name)))


def fingerprint_of(weights: str | Path, name: str | None = None) -> str:
    """Of the files that make the cascade, whatever else lies beside them."""
    files = find(weights, name).files
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} does not exist; the cascade is not finished.")
    return " ".join(fingerprint(path) for path in files)


def holds_one(root: Path) -> bool:
    """Whether a folder holds a cascade, published or as runs, or several."""
    folders = [root, *(path for path in root.glob("*") if path.is_dir())]
    return bool(_named(root)) or any(map(echodiffusion.is_cascade, folders)) or bool(_later(root))


def _published(root: Path, name: str | None) -> Path | None:
    """The folder with a config of a cascade: this one, or the one of that name in it."""
    if (root / echodiffusion.CONFIG).is_file():
        _check_name(root, name)
        return root
    there = sorted(path.parent for path in root.glob(f"*/{echodiffusion.CONFIG}"))
    of_name = [f for f in there if name in (None, f.name, f.name.partition("_")[0])]
    if len(of_name) > 1:
        found = ", ".join(folder.name for folder in of_name)
        raise InputError(f"{root} holds several cascades: {found}; choose one by --model.")
    if not of_name:
        return None
    _check_name(of_name[0], name)
    return of_name[0]


def _check_name(folder: Path, name: str | None) -> None:
    """That a folder which is said to be 2SCM has two stages, or is called as is said."""
    found, own = (
        len(echodiffusion.read_stages(folder / echodiffusion.CONFIG)),
        folder.resolve().name,
    )
    stages = {own: found, own.partition("_")[0]: found, **{one: int(one[0]) for one in RELEASED}}
    if name is not None and stages.get(name) != found:
        raise InputError(f"{folder} holds a cascade of {found} stages, not {name}.")


def _runs(root: Path, name: str | None) -> list[Path]:
    """The runs NAME-1, NAME-2, ... of a folder."""
    names = _named(root)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        later = [run for run in _later(root) if run.name[:-2] == name or not (name or names)]
        if later:
            first = f"{later[0].name[:-1]}1"
            raise InputError(
                f"{later[0]} is there, and the run of the first stage, {first}, is not; train it, "
                "and put it beside."
            )
        asked = "a cascade" if name is None else f"the cascade {name}"
        there = f"; it has {', '.join(names)}" if names else ""
        raise InputError(
            f"there is not {asked} in {root}{there}. Give a folder with config.yaml and merged.pt, "
            "or with runs called NAME-1, NAME-2 and so on, and --model NAME."
        )
    runs = [root / f"{name}-1"]
    while (later := root / f"{name}-{len(runs) + 1}").is_dir():
        runs.append(later)
    return runs


def _named(root: Path) -> list[str]:
    """Every NAME of a run NAME-1 that trained the first stage of a cascade."""
    firsts = sorted(p.parent.name[:-2] for p in root.glob(f"*-1/{RECIPE}"))
    return [one for one in firsts if recipes.read(root / f"{one}-1" / RECIPE).stage == "cascade"]


def _later(root: Path) -> list[Path]:
    """The runs NAME-2 and so on of later stages of cascades of which there is no NAME-1."""
    runs = sorted(path.parent for path in root.glob(f"*-[2-9]/{RECIPE}"))
    lone = [run for run in runs if not (root / f"{run.name[:-1]}1" / RECIPE).is_file()]
    return [run for run in lone if recipes.read(run / RECIPE).stage == "cascade"]
