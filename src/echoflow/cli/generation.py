"""`echoflow synthesise`, `animate` and `quickstart`: videos out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.values import ef_range, video_path, views
from echoflow.types import check_ef

Weights = Annotated[str, typer.Option(help="A bundle by name or folder.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same videos.")]


def quickstart(
    out: Annotated[Path, typer.Option(help="New folder for the results.")] = Path("quickstart"),
) -> None:
    """Dataset, EF sweep and report from nothing.

    Takes a few minutes on two cores; needs no data, no GPU and no network.
    """
    raise NotImplementedError


def synthesise(
    out: Annotated[Path, typer.Option(help="New folder for the dataset.")],
    n: Annotated[int, typer.Option(min=1, help="Videos in all.")] = 24,
    view: Annotated[
        str, typer.Option(help="A4C, PSAX, PLAX, several with commas, or all.")
    ] = "all",
    ef: Annotated[str, typer.Option(help="Percent: a range such as 15:75, or one.")] = "15:75",
    seed: Seed = 0,
    weights: Weights = "nano",
) -> None:
    """Write a privacy-filtered synthetic dataset.

    The layout is that of EchoNet-Dynamic; each row of FileList.csv also holds the EF asked for,
    the seed, the privacy verdict and the nearest training patient.
    """
    chosen, bounds = views(view), ef_range(ef)
    raise NotImplementedError(chosen, bounds, out, n, seed, weights)


def animate(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image or a video file.")],
    ef: Annotated[float, typer.Option(help="Ejection fraction in percent.")],
    out: Annotated[Path, typer.Option(help="Video file: .mp4, .gif or .avi.")] = Path("clip.mp4"),
    view: Annotated[str, typer.Option(help="A4C, PSAX or PLAX.")] = "A4C",
    seed: Seed = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Solver steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 is none.")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Frame of the input to animate.")] = 0,
    weights: Weights = "nano",
) -> None:
    """Make one heart beat with the EF you ask for.

    The input is an image, or a video of which one frame is taken; show the heart at end-diastole.
    """
    check_ef(ef)
    video_path(out)
    raise NotImplementedError(source, view, seed, steps, guidance, frame, weights)
