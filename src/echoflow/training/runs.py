"""Looking at runs: where each one stands, and its curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from echoflow.networks import zoo
from echoflow.networks.zoo import CONFIG, WEIGHTS
from echoflow.training import checkpoint
from echoflow.training.folder import METRICS, RECIPE, is_held
from echoflow.training.judges import regressor_config, segmenter_config
from echoflow.training.recipes import Recipe, read
from echoflow.training.stages import NETWORKS
from echoflow.types import InputError

State = Literal["finished", "running", "stopped"]

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Name of a number -> its steps (n,) and values (n,)."""


@dataclass(frozen=True)
class Run:
    """A run folder at a glance. `step` is the last one that was logged, `saved` that of the last
    checkpoint, which is not checked here; `seconds` is for the steps that are left, at the pace of
    the last ones."""

    path: Path
    recipe: Recipe
    state: State
    step: int
    saved: int | None
    seconds: float | None
    latest: Mapping[str, float]

    @property
    def steps(self) -> int:
        return self.recipe.engine.steps


def find(root: str | Path) -> tuple[tuple[Run, ...], dict[Path, str]]:
    """Every run in `root`, which may be one itself, by path; and why others cannot be read."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give the folder that holds the runs.")
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    runs, unreadable = list[Run](), dict[Path, str]()
    for path in filter(is_run, folders):
        try:
            runs.append(look(path))
        except (InputError, OSError, ValueError) as error:
            unreadable[path] = str(error)
    return tuple(runs), unreadable


def is_run(path: Path) -> bool:
    """Whether a folder is a run; a copy of its recipe beside finished weights is none."""
    return (path / RECIPE).is_file() and (path / METRICS).is_file()


def look(path: str | Path) -> Run:
    """One run; `InputError` if the folder is none."""
    path = Path(path)
    if not is_run(path):
        raise InputError(f"{path} is no run folder: it has no {RECIPE} and {METRICS}.")
    recipe, lines = read(path / RECIPE), _lines(path)
    step = int(lines[-1]["step"]) if lines else 0
    finished = step >= recipe.engine.steps and any(path.glob(f"*/{WEIGHTS}"))
    state: State = "finished" if finished else "running" if is_held(path) else "stopped"
    whole = checkpoint.checkpoints(path)
    saved = int(whole[-1].name.rpartition("-")[2]) if whole else None
    latest: dict[str, float] = {}
    for line in lines:
        latest |= {key: value for key, value in line.items() if key not in ("step", "seconds")}
    left = _pace(lines) * (recipe.engine.steps - step) if len(lines) > 1 else None
    return Run(path, recipe, state, step, saved, left, latest)


def untrained(run: Run, player: str) -> nn.Module:
    """The network that a run trains, as finished runs describe it or else as its recipe and data
    say; `InputError` if neither does."""
    if (run.path / player / CONFIG).is_file():
        return zoo.described(run.path / player)
    recipe = run.recipe
    if player != NETWORKS[recipe.stage]:
        raise InputError(
            f"{run.path} has no player {player}; its network is {NETWORKS[recipe.stage]}."
        )
    if recipe.stage not in ("ef", "lv"):
        return zoo.build(recipe.model)
    try:
        return zoo.build(
            regressor_config(recipe) if recipe.stage == "ef" else segmenter_config(recipe)
        )
    except InputError as error:
        raise InputError(
            f"{run.path} is not finished, and what its network is follows from its data as well, "
            f"which cannot be read: {error} Resume the run to its end, or put the data back."
        ) from error


def curves(path: str | Path) -> Curves:
    """Every number that a run has logged, by step."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in _lines(Path(path)):
        for key, value in line.items():
            if key not in ("step", "seconds"):
                found.setdefault(key, []).append((int(line["step"]), value))
    return {key: _columns(pairs) for key, pairs in found.items()}


def smoothed(values: np.ndarray, span: int) -> np.ndarray:
    """The running mean of (n,) over at most `span` values, (n,): what stands before counts."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - span, 0)
    return (total[end] - total[start]) / (end - start)


def _columns(pairs: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    steps, values = zip(*pairs, strict=True)
    return np.array(steps), np.array(values, float)


def _lines(path: Path) -> list[dict[str, float]]:
    """The metrics; half a line, where the plug was pulled, is passed over."""
    found = []
    for text in (path / METRICS).read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            found.append(line)
    return found


def _pace(lines: list[dict[str, float]]) -> float:
    """Seconds per step over the last hundred; a resumed run's clock starts anew."""
    recent = lines[-100:]
    times = np.diff([line["seconds"] for line in recent])
    steps = np.diff([line["step"] for line in recent])
    forward = times > 0
    pace = times[forward].sum() / max(steps[forward].sum(), 1)
    return float(pace) if math.isfinite(pace) else 0.0
