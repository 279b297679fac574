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
    n: Annotated[int, typer.Option(min=24, help="Videos to make and measure.")] = 144,
    guidance: Annotated[
        float | None, typer.Option(min=0.0, help="Guidance from now on; default as it was.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Measure which EF to tell the video model so that the one asked for comes out.

    Makes hearts with the weights, measures them with their EF regressor, and keeps a line per view
    in the card beside the weights. `synthesise` and `animate` use it whenever they sample as the
    card says; with --steps or --guidance of your own the model is told what you asked for.
    """
    check_device(device)
    from echoflow.synthesis.calibrate import calibrate_weights

    with bar("videos") as progress:
        found = calibrate_weights(weights, n, guidance, device, progress)
    typer.echo("view     told 40 comes out as    points per point told    left over")
    for name, line in found.lines.lines.items():
        view = View[name] if name in View.__members__ else None
        at = line.at_zero + 40 * line.slope
        typer.echo(f"{name:8s} {at:22.1f} {line.slope:24.2f} {found.scatter(view):12.1f}")
