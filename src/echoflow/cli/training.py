"""`echoflow train`: one recipe, changed or not, into a run folder."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from echoflow.cli.progress import bar, bars
from echoflow.types import InputError, choose

if TYPE_CHECKING:
    from echoflow.training.recipes import Recipe


def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE KEY=VALUE", help="A recipe by name, then settings to change."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with a whole recipe.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<recipe>.")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved recipe and stop.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run folder.")
    ] = False,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Stages of nano trained at a time; default 2, on one core 1."),
    ] = None,
) -> None:
    """Train one stage of the pipeline, or all. Without a recipe, every one is listed.

    The run folder keeps the resolved recipe, the metrics and the checkpoints. The name nano trains
    every stage of the embedded bundle from nothing, and goes on where it was stopped; its settings
    begin with the stage, such as lvfm.engine.steps=100.
    """
    if words and words[0] == "nano" and config is None:
        together = at_once or min(2, os.cpu_count() or 1)
        _train_nano(words[1:], out or Path("runs/nano"), print_config, together)
        return
    if at_once is not None:
        raise InputError("--at-once is for the stages of nano; any other recipe is one run.")
    if not words and config is None:
        from echoflow.training.table import listed

        typer.echo(listed())
        return
    name, recipe = _recipe(words or [], config)
    if print_config:
        typer.echo(_annotated(name, recipe, config), nl=False)
        return
    from echoflow.training.stages import train as run

    folder = out or Path("runs") / name.replace("/", "")
    if resume:
        typer.echo(_resumed(folder))
    _tell_left_out(recipe)
    with bar("steps") as progress:
        done = run(
            recipe,
            folder,
            resume,
            progress=lambda step, logs: progress(step, recipe.engine.steps),
        )
    typer.echo(f"{name} is trained; the run is in {done}")


def _tell_left_out(recipe: Recipe) -> None:
    """One line on the videos that a stage which trains on videos does not get."""
    from echoflow.data.findings import left_out_line
    from echoflow.data.sources import open_source
    from echoflow.training.sources import folders

    if recipe.stage in ("avae", "ef", "lv", "freeecho", "cascade"):
        for folder in folders(recipe.data):
            manifest = open_source(folder, splits=recipe.splits)
            line = left_out_line(manifest.findings, len(manifest.records))
            if line is not None:
                typer.echo(line, err=True)


def _resumed(run: Path) -> str:
    """Which checkpoint a run goes on from, and which ones are passed over."""
    from echoflow.training.checkpoint import checkpoints, newest

    whole = newest(run)
    if whole is None and checkpoints(run):
        return f"there is no whole checkpoint in {run}"
    if whole is None:
        return f"nothing to resume in {run}; starts anew"
    damaged = [path.name for path in checkpoints(run) if path > whole]
    passed = f", past {', '.join(damaged)}, which is damaged" if damaged else ""
    return f"going on from {whole}{passed}"


def _train_nano(words: list[str], out: Path, print_config: bool, at_once: int) -> None:
    """Every stage of the embedded bundle; see `echoflow.training.nano`."""
    from echoflow.networks.zoo import STAGES

    settings: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for word in words:
        stage, _, setting = word.partition(".")
        choose(stage, STAGES, "stage")
        if "=" not in setting:
            raise InputError(
                f"a setting of nano begins with its stage, such as {stage}.engine.steps=100; got "
                f"{word!r}."
            )
        settings[stage].append(setting)
    if print_config:
        for stage in STAGES:
            typer.echo(
                f"{stage}:\n{indent(_of_chain(stage, out, settings[stage]), '  ')}", nl=False
            )
        return
    from echoflow.pipeline import load
    from echoflow.synthesis.calibrate import calibrate_weights
    from echoflow.training.nano import train_nano

    with bars() as tell:
        bundle = train_nano(out, settings=settings, tell=tell, at_once=at_once)
        left = ""
        if load(bundle).calibration is None:
            try:
                calibrate_weights(bundle, progress=lambda done, n: tell("calibrate", done, n))
            except InputError as error:  # too short a training; the bundle works without
                left = f"; it is not calibrated: {error}"
    typer.echo(f"nano is trained; the bundle is in {bundle}{left}")


def _of_chain(stage: str, out: Path, settings: list[str]) -> str:
    """The resolved recipe of a stage of nano as it runs, each value with its source."""
    from echoflow.training.nano import recipe_of
    from echoflow.training.provenance import annotated
    from echoflow.training.table import preset

    made = dict.fromkeys(("data", "decoder"), "ours, made by the chain")
    sources = {**preset(f"nano-{stage}").sources, **made}
    return annotated(recipe_of(stage, out, settings), recipe_of(stage, out, []), sources)


def _annotated(name: str, recipe: Recipe, config: Path | None) -> str:
    """The resolved recipe, each value with its source."""
    from echoflow.training.provenance import annotated
    from echoflow.training.recipes import read
    from echoflow.training.table import preset

    if config is not None:
        return annotated(recipe, read(config), otherwise=f"from {config.name}")
    return annotated(recipe, preset(name).recipe, preset(name).sources)


def _recipe(words: list[str], config: Path | None) -> tuple[str, Recipe]:
    """What to call the run, and the recipe with its settings applied."""
    from echoflow.training.recipes import read
    from echoflow.training.table import named

    names = [word for word in words if "=" not in word]
    if len(names) + (config is not None) != 1:
        raise InputError(
            "give one recipe, by name or with --config; echoflow train alone lists the names."
        )
    settings = [word for word in words if "=" in word]
    if config is not None:
        return config.stem, read(config).changed(settings)
    return names[0], named(names[0]).changed(settings)
