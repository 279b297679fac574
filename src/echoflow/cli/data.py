"""`echoflow phantom` and `echoflow encode`: datasets in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.values import views


def phantom(
    out: Annotated[Path, typer.Option(help="New folder for the dataset.")],
    n: Annotated[int, typer.Option(min=1, help="Patients; each gives one video per view.")] = 200,
    frames: Annotated[int, typer.Option(min=1, help="Frames per video.")] = 64,
    fps: Annotated[float, typer.Option(min=1.0, help="Frames per second.")] = 50.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    cohort: Annotated[
        str, typer.Option(help="adult, paediatric, dilated, hypertrophic or rwma.")
    ] = "adult",
    quality: Annotated[int, typer.Option(min=1, max=4, help="1 is clean, 4 is poor.")] = 2,
    view: Annotated[
        str, typer.Option(help="A4C, PSAX, PLAX, several with commas, or all.")
    ] = "A4C",
) -> None:
    """Write a dataset of simulated hearts.

    The layout is that of EchoNet-Dynamic, with the exact truth beside it.
    """
    from tqdm import tqdm

    from echoflow.data.phantom import PhantomPatient
    from echoflow.data.phantom.layout import write_dynamic

    chosen = views(view)
    asked = {"seed": seed, "cohort": cohort, "frames": frames, "fps": fps, "quality": quality}
    clips = (
        PhantomPatient.sample(seed, patient, cohort).render(one, frames, fps, quality=quality)
        for patient in range(n)
        for one in chosen
    )
    bar = tqdm(clips, total=n * len(chosen), unit="video", disable=None)
    write_dynamic(bar, out, asked | {"patients": n, "views": [one.name for one in chosen]})
    typer.echo(f"{n * len(chosen)} videos of {n} patients in {out}")


def encode(
    source: Annotated[Path, typer.Argument(help="A dataset in the EchoNet-Dynamic layout.")],
    out: Annotated[Path, typer.Option(help="New folder for the latents.")],
    weights: Annotated[str, typer.Option(help="A bundle by name or folder.")] = "nano",
) -> None:
    """Encode videos to latents, ready for training."""
    raise NotImplementedError
