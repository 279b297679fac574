"""The folder of a run: who may write it, what it was started with, and what it has logged.

recipe.yaml            the resolved recipe
data.json              where the data lie, and their fingerprint
metrics.jsonl          one line per step
checkpoint-<step>/     see `checkpoint`
pictures/              progress pictures
best/                  see `best`
<player>/              the averaged networks, once the run has finished
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from echoflow.files import atomic_file, sweep
from echoflow.training import checkpoint
from echoflow.training.recipes import Recipe
from echoflow.types import InputError

RECIPE, DATA, METRICS, LOCK = "recipe.yaml", "data.json", "metrics.jsonl", ".lock"

# what there may be before the first checkpoint
EARLY = {RECIPE, DATA, METRICS, "pictures", "snapshots", "best", "tensorboard"}

# what may differ between the parts of one run: it changes no weight, but see `free`
FREE = frozenset(
    f"engine.{name}"
    for name in ("workers", "micro", "compile", "validate_every", "checkpoint_every", "report_to")
) | {"data", "held_out", "decoder", "engine.recompute", "engine.picture_every"}


def free(recipe: Recipe) -> frozenset[str]:
    """What may differ between the parts of a run of this recipe.

    Batch norm and an adversary's balance see one part of `engine.micro` examples at a time, and the
    best of several networks depends on when they were validated.
    """
    fixed = {"engine.micro"} if recipe.stage in ("avae", "reid", "ef", "lv") else set[str]()
    if recipe.engine.keep == "best":
        fixed.add("engine.validate_every")
    return FREE - fixed


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Nobody else writes this run folder meanwhile; a killed process lets go of it by itself."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / LOCK, timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise InputError(f"another process is training in {run}; choose another folder.") from None


def clear(run: Path) -> None:
    """Empty the folder of a run that was stopped before its first checkpoint.

    `InputError`: a process is training in it, or it holds something else than such a run.
    """
    with held(run):
        sweep(run)
        others = sorted({path.name for path in run.iterdir()} - EARLY - {LOCK})
        if others:
            raise InputError(
                f"{run} holds {others[0]}, which no unfinished run has; choose another folder."
            )
        for path in run.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


def is_held(run: Path) -> bool:
    """Whether a process is training in the folder now."""
    if not (run / LOCK).exists():
        return False
    lock = FileLock(run / LOCK, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True


def begin(run: Path, recipe: Recipe, fingerprint: str, resume: bool) -> None:
    """Write what the run starts with, or check that a resumed one still has it.

    A run that was stopped before its first checkpoint is resumed from its beginning.
    `InputError`: the folder is taken, there is nothing to resume, or recipe or data have changed.
    """
    sweep(run)
    there = {path.name for path in run.iterdir()} - {LOCK}
    if there and not resume:
        raise InputError(f"folder {run} is not empty; choose another, or resume the run in it.")
    if there - EARLY and checkpoint.newest(run) is None:
        raise InputError(f"{run} has no whole checkpoint to resume from; start in a new folder.")
    if there:
        _refuse_other_recipe(run, recipe)
        _refuse_other_data(run, recipe.data, fingerprint)
    with atomic_file(run / RECIPE) as file:
        file.write_text(recipe.to_yaml())
    with atomic_file(run / DATA) as file:
        file.write_text(json.dumps({"data": recipe.data, "fingerprint": fingerprint}) + "\n")


def _refuse_other_recipe(run: Path, recipe: Recipe) -> None:
    differing = changes(run, recipe)
    if differing:
        raise InputError(
            f"the recipe has changed since {run} began ({', '.join(differing[:3])}); resume with "
            "the settings it began with, or start a new run, from its weights with start=FOLDER if "
            "you like."
        )


def changes(run: Path, recipe: Recipe) -> list[str]:
    """What of a recipe is not as the run began, in words, but for what is `free`; nothing where
    the run has no recipe yet."""
    path = run / RECIPE
    if not path.exists():
        return []
    try:
        before = flat(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, AttributeError) as error:
        raise InputError(f"{path} is damaged; start in a new folder.") from error
    now = flat(recipe.model_dump(mode="json"))
    known = flat(Recipe(stage=recipe.stage, model=recipe.model, data="").model_dump(mode="json"))
    then = {key: before.get(key, known.get(key)) for key in now}
    differing = [key for key in now if key not in free(recipe) and then[key] != now[key]]
    return [f"{key} was {then[key]}, is {now[key]}" for key in differing]


def _refuse_other_data(run: Path, data: str, fingerprint: str) -> None:
    path = run / DATA
    if not path.exists():
        return
    before = json.loads(path.read_text())
    if before["fingerprint"] != fingerprint:
        raise InputError(
            f"the data in {data} are not those that {run} began with (fingerprint "
            f"{fingerprint[:12]}, then {before['fingerprint'][:12]}, from {before['data']}); "
            "restore them, or start in a new folder."
        )


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def fingerprint_of(data: str | Path) -> str:
    """SHA-256 of the tables of a dataset, and of the names and sizes of all its files."""
    root, digest = Path(data), hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root)
        if any(part.startswith(".") for part in name.parts):
            continue
        digest.update(f"{name.as_posix()}\0{path.stat().st_size}\n".encode())
        if path.suffix in (".csv", ".json", ".parquet"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Metrics:
    """`metrics.jsonl`: one JSON object per step, with the seconds of this process so far."""

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.start = path, time.monotonic()
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if step_of(line) <= first]
            with atomic_file(path) as file:
                file.write_text("".join(f"{line}\n" for line in kept))

    def add(self, step: int, logs: dict[str, float]) -> None:
        seconds = round(time.monotonic() - self.start, 2)
        rounded = {key: float(f"{value:.6g}") for key, value in logs.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "seconds": seconds, **rounded}) + "\n")


def step_of(line: str) -> int:
    """The step of a line of metrics; beyond all steps for half a line."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62
