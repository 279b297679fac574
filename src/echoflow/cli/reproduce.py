"""`echoflow reproduce`: a table of a paper, with ours beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from echoflow.cli.progress import bars
from echoflow.cli.values import check_device, check_inference, names
from echoflow.types import InputError, View

N = TypeVar("N", int, float)


def reproduce(
    table: Annotated[
        str | None, typer.Argument(help="Number of a table; without one, they are listed.")
    ] = None,
    on: Annotated[
        Path | None, typer.Option(help="Dataset with splits TRAIN, VAL and TEST.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default reproduced/<table>.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="nano, the folder of a bundle or release, or a hub id owner/name.")
    ] = "nano",
    model: Annotated[
        str | None,
        typer.Option(
            help="The weights hold this cascade, such as 4SCM; for echodiffusion-1 and -4."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="What measures the EF in echodiffusion-1: weights with a regressor, or the folder "
            "of an EF network or of its training; default the weights' own, or nano for phantoms "
            "by a cascade."
        ),
    ] = None,
    view: Annotated[str | None, typer.Option(help="A4C, PSAX or PLAX; all if not given.")] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="The paper's column: dynamic, pediatric-a4c, pediatric-psax or lvh; by the view "
            "if not given."
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option(min=1, help="Videos of a row; default as the table's protocol.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")] = 0,
    trainings: Annotated[
        int, typer.Option(min=1, help="Trainings of a row of tables 8 and echodiffusion-4.")
    ] = 3,
    at_once: Annotated[
        int, typer.Option(min=1, help="Trainings at a time, each with its share of the cores.")
    ] = 1,
    recipe: Annotated[str, typer.Option(help="Recipe of those trainings.")] = "nano-ef",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the recipe, as key=value; may be repeated."),
    ] = None,
    steps: Annotated[str, typer.Option(help="Solver steps, such as 5,10,25.")] = "",
    scales: Annotated[str, typer.Option(help="Guidance scales, such as 0,1,2.")] = "",
    solver: Annotated[str, typer.Option(help="euler (as the paper), heun or multistep.")] = "euler",
    sizes: Annotated[str, typer.Option(help="Videos of a bin of EF, such as 10,20.")] = "",
    gated: Annotated[
        bool, typer.Option("--gated", help="Clips start at end-diastole, as phantoms for nano do.")
    ] = False,
    extractor: Annotated[
        list[str] | None,
        typer.Option(help="Network of distances: ef, inception, i3d, none; may be repeated."),
    ] = None,
    extractor_folder: Annotated[
        Path | None, typer.Option(help="Folder with the files of published networks.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda on a machine with a GPU.")] = "cpu",
    inference: Annotated[str, typer.Option(help="exact, bf16 or compiled.")] = "exact",
) -> None:
    """Print a table of a paper with ours beside every number.

    Also as table.md, table.csv, table.json and table.png. Whatever stops it, the same command goes
    on behind the rows, videos and trainings that are done.
    """
    if table is None:
        typer.echo(_listed())
        return
    check_device(device)
    from echoflow.reproduce import TABLES, Job
    from echoflow.reproduce import reproduce as run
    from echoflow.types import choose

    choose(table, TABLES, "table")
    target = out or Path("reproduced") / table
    with bars() as tell:
        job = (
            None
            if on is None
            else Job(
                on=on,
                out=target,
                weights=weights,
                model=model,
                judge=judge,
                view=None if view is None else View.parse(view),
                column=column,
                n=n,
                seed=seed,
                seeds=trainings,
                at_once=at_once,
                recipe=recipe,
                settings=tuple(set_ or ()),
                steps=_numbers(steps, int, "--steps"),
                scales=_numbers(scales, float, "--scales"),
                solver=solver,
                sizes=_numbers(sizes, int, "--sizes"),
                gated=gated,
                extractors=tuple(name for name in extractor or ("ef",) if name != "none"),
                extractor_folder=extractor_folder,
                device=device,
                inference=check_inference(inference),
                tell=tell,
            )
        )
        sheet = run(table, job, target)
    typer.echo(sheet.to_markdown(), nl=False)
    typer.echo(f"\nThe table is in {target} as markdown, CSV, JSON and picture.")


def _numbers(text: str, kind: type[N], option: str) -> tuple[N, ...]:
    """Numbers between commas."""
    if not text:
        return ()
    try:
        return tuple(kind(word) for word in names(text))
    except ValueError:
        raise InputError(f"{option} takes numbers between commas; got {text!r}.") from None


def _listed() -> str:
    """A line per table: what is quoted, and how it is reproduced."""
    from echoflow.reproduce import TABLES, printed

    lines = [
        f"{key:17s}{table.about}\n{'':17s}({printed(key).source})" for key, table in TABLES.items()
    ]
    return "\n".join(lines)
