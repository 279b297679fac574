"""`echoflow calibrate`: weights that beat with the EF asked for, and not with one near it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.generation import Device
from echoflow.cli.progress import bar
from echoflow.cli.values import check_device
from echoflow.types import View


def calibrate(
    weights: Annotated[Path, typer.Argument(help="Folder of a bundle or of a release.")],
    n: Annotated[int, typer.Option(min=24, help="Videos to make and measure.")] = 192,
    guidance: Annotated[
        float | None, typer.Option(min=0.0, help="Guidance from now on; default as it was.")
    ] = None,
    start: Annotated[
        int | None, typer.Option(min=0, help="Step to start at from now on; default as it was.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Measure which EF to tell the video model so that the one asked for comes out.

    Makes hearts with the weights, measures them with their EF regressor, and keeps a curve per view
    in the card beside the weights. `synthesise` and `animate` use it; with a
    --guidance or --start of your own the model is told what you asked for.
    """
    check_device(device)
    from echoflow.synthesis.calibrate import calibrate_weights

    with bar("videos") as progress:
        found = calibrate_weights(weights, n, guidance, device, progress, start)
    curves = found.curves.curves
    shown = "".join(f"{told:8.0f}" for told in curves["all"].told)
    typer.echo(f"told{shown}    scatter; what comes out")
    for name, curve in curves.items():
        view = View[name] if name in View.__members__ else None
        heights = "".join(f"{height:8.1f}" for height in curve.measured)
        typer.echo(f"{name:4s}{heights} {found.scatter(view):10.1f}")
