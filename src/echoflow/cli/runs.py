"""`echoflow runs`: where trainings stand, and their curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from echoflow.training.runs import Run

runs = typer.Typer(
    help="List runs with their state, or draw their curves.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@runs.callback(invoke_without_command=True)
def _runs(context: typer.Context) -> None:
    """List runs with their state, or draw their curves."""
    if context.invoked_subcommand is None:
        _print(Path("runs"))


@runs.command("list")
def list_(
    root: Annotated[Path, typer.Argument(help="A folder of runs, at any depth.")] = Path("runs"),
) -> None:
    """List the runs in a folder: finished, running or stopped, how far, and how well."""
    _print(root)


@runs.command()
def plot(
    folders: Annotated[list[Path], typer.Argument(help="Run folders; several share the axes.")],
    out: Annotated[Path, typer.Option(help="PNG file for the curves.")] = Path("runs.png"),
) -> None:
    """Draw the losses and the validation figures of one run or several."""
    from echoflow.files import atomic_file
    from echoflow.metrics.curves import drawn
    from echoflow.training.runs import curves, look, smoothed

    shown = {look(folder).path: curves(folder) for folder in folders}
    picture = drawn({str(path): found for path, found in shown.items()}, smoothed)
    with atomic_file(out) as work:
        work.write_bytes(picture)
    typer.echo(f"the curves are in {out}")


@runs.command()
def average(
    folder: Annotated[Path, typer.Argument(help="A run that has kept snapshots.")],
    sigma_rel: Annotated[
        float, typer.Option(min=0.0, help="Width of the average relative to the run, such as 0.08.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the averaged network.")],
    player: Annotated[str, typer.Option(help="Which network: net, or avae.")] = "net",
    step: Annotated[
        int | None, typer.Option(help="A step with a snapshot; default the last.")
    ] = None,
) -> None:
    """Average the weights of a run over any length, afterwards (EDM2).

    The run must have been trained with engine.snapshot_every.
    """
    from echoflow.files import new_folder
    from echoflow.networks import zoo
    from echoflow.networks.weights import fill
    from echoflow.training.averages import FOLDER, posthoc
    from echoflow.training.runs import look, untrained

    run = look(folder)
    average = posthoc(folder, player, sigma_rel, step)
    net = untrained(run, player)
    fill(net, average, folder / FOLDER)
    with new_folder(out) as work:
        zoo.save(net, work)
    typer.echo(f"the average of relative width {sigma_rel:g} is in {out}")


def _print(root: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from echoflow.training.runs import find

    found, unreadable = find(root)
    if not found and not unreadable:
        typer.echo(f"there are no runs in {root}.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("run", "stage", "model", "state", "step", "saved", "left", "latest"):
        table.add_column(name, no_wrap=name != "latest")
    for run in found:
        table.add_row(*_row(run, root))
    for path, why in unreadable.items():
        table.add_row(_name(path, root), "", "", "unreadable", "", "", "", why)
    Console().print(table)


def _row(run: Run, root: Path) -> list[str]:
    name = _name(run.path, root)
    left = "" if run.state == "finished" or run.seconds is None else _duration(run.seconds)
    latest = [f"{key} {value:.4g}" for key, value in run.latest.items() if _tells(key)]
    step = f"{run.step}/{run.steps}"
    saved = "" if run.saved is None else str(run.saved)
    stage, model = run.recipe.stage, run.recipe.model
    return [name, stage, model, run.state, step, saved, left, ", ".join(latest)]


def _name(path: Path, root: Path) -> str:
    return "." if path == root else str(path.relative_to(root))


def _tells(key: str) -> bool:
    return key.startswith("val/")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
