"""`echoflow phantom`: datasets of simulated hearts, in the layout of any dataset of this field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoflow.cli.progress import counted
from echoflow.cli.values import ef_range, names, views
from echoflow.types import InputError, View, choose

if TYPE_CHECKING:
    from echoflow.data.phantom.layout import Layout


def phantom(
    out: Annotated[
        Path | None, typer.Option(help="New folder for the dataset; not needed to list defects.")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="Patients; each gives one video per view.")] = 200,
    layout: Annotated[
        str, typer.Option(help="How it lies on disk: dynamic, pediatric, lvh or camus.")
    ] = "dynamic",
    frames: Annotated[int, typer.Option(min=1, help="Frames per video.")] = 64,
    fps: Annotated[float, typer.Option(min=1, max=1000, help="Frames per second.")] = 50.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    cohort: Annotated[
        str | None,
        typer.Option(
            help="adult, paediatric, dilated, hypertrophic, rwma; several with commas. "
            "Without: paediatric for the layout pediatric, else adult."
        ),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            help="A4C, PSAX, PLAX, several with commas, or all. Without: what the layout holds; "
            "A4C for dynamic."
        ),
    ] = None,
    ef: Annotated[
        str | None, typer.Option(help="Percent, such as 15:75, instead of the cohort's own.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=4, help="1 is clean, 4 is poor.")] = 2,
    gated: Annotated[
        bool, typer.Option("--gated", help="Start every video at the R wave (end-diastole).")
    ] = False,
    defects: Annotated[
        str | None,
        typer.Option(
            help="Plant defects, one video each: all, or names with commas; list prints them."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the files do not change.")] = 1,
) -> None:
    """Write a dataset of simulated hearts.

    The layout is that of EchoNet-Dynamic or another dataset of this field, quirks included, with
    the exact truth beside it. `defects.json` tells what was planted where.
    """
    from echoflow.data.phantom.layout import LAYOUTS, write_layout
    from echoflow.data.phantom.population import Population

    kind = LAYOUTS[choose(layout, LAYOUTS, "layout")]
    if defects == "list":
        typer.echo(_listed(kind))
        return
    if out is None:
        raise InputError("--out is missing; name a new folder for the dataset.")
    hearts = Population(
        patients=n,
        seed=seed,
        cohorts=names(cohort) if cohort else (kind.cohort,),
        views=_views(view, kind),
        frames=frames,
        fps=fps,
        quality=quality,
        phase=0.0 if gated or kind.gated else None,
        ef=ef_range(ef) if ef else None,
    )
    clips = counted(hearts.clips(workers), len(hearts), "videos")
    planted = write_layout(layout, clips, out, hearts.spec(), names(defects) if defects else ())
    told = f", {len(planted)} defects planted" if planted else ""
    typer.echo(f"{len(hearts)} videos of {n} patients in {out}{told}")


def _views(asked: str | None, layout: Layout) -> tuple[View, ...]:
    """What was asked for; the layout's own views for nothing, all that it can hold for `all`."""
    if asked is None:
        return layout.default
    return layout.views if asked.lower() == "all" else views(asked)


def _listed(layout: Layout) -> str:
    """A line per defect that the layout can have."""
    width = max(len(defect.called) for defect in layout.defects)
    effect = {True: "left out", False: "read around"}
    return "\n".join(
        f"{defect.called:{width}s}  {effect[defect.leaves_out]:11s}  {defect.what}"
        for defect in layout.defects
    )
