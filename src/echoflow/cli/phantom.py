"""`echoflow phantom`: datasets of simulated hearts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.progress import counted
from echoflow.cli.values import ef_range, names, views


def phantom(
    out: Annotated[Path, typer.Option(help="New folder for the dataset.")],
    n: Annotated[int, typer.Option(min=1, help="Patients; each gives one video per view.")] = 200,
    frames: Annotated[int, typer.Option(min=1, help="Frames per video.")] = 64,
    fps: Annotated[float, typer.Option(min=1, max=1000, help="Frames per second.")] = 50.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    cohort: Annotated[
        str,
        typer.Option(help="adult, paediatric, dilated, hypertrophic, rwma; several with commas."),
    ] = "adult",
    view: Annotated[
        str, typer.Option(help="A4C, PSAX, PLAX, several with commas, or all.")
    ] = "A4C",
    ef: Annotated[
        str | None, typer.Option(help="Percent, such as 15:75, instead of the cohort's own.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=4, help="1 is clean, 4 is poor.")] = 2,
    gated: Annotated[
        bool, typer.Option("--gated", help="Start every video at the R wave (end-diastole).")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the files do not change.")] = 1,
) -> None:
    """Write a dataset of simulated hearts.

    The layout is that of EchoNet-Dynamic, with the exact truth beside it.
    """
    from echoflow.data.phantom.layout import write_dynamic
    from echoflow.data.phantom.population import Population

    hearts = Population(
        patients=n,
        seed=seed,
        cohorts=names(cohort),
        views=views(view),
        frames=frames,
        fps=fps,
        quality=quality,
        phase=0.0 if gated else None,
        ef=ef_range(ef) if ef else None,
    )
    write_dynamic(counted(hearts.clips(workers), len(hearts), "videos"), out, hearts.spec())
    typer.echo(f"{len(hearts)} videos of {n} patients in {out}")
