"""`echoflow synthesise`, `animate` and `quickstart`: videos out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoflow.cli.progress import bar
from echoflow.cli.values import ef_range, video_path, views
from echoflow.types import InputError, check_ef

if TYPE_CHECKING:
    from torch import Tensor

Weights = Annotated[str, typer.Option(help="A bundle by name or folder.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same videos.")]
Steps = Annotated[int, typer.Option(min=1, help="Solver steps.")]
Guidance = Annotated[float, typer.Option(min=0, help="Guidance scale; 1 is none.")]


def quickstart(
    out: Annotated[Path, typer.Option(help="New folder for the results.")] = Path("quickstart"),
    weights: Weights = "nano",
) -> None:
    """Dataset, EF sweep and report from nothing.

    Takes a few minutes on two cores; needs no data, no GPU and no network.
    """
    from echoflow import quickstart as story

    with bar("video") as progress:
        story.quickstart(out, typer.echo, progress, weights)


def synthesise(
    out: Annotated[Path, typer.Option(help="New folder for the dataset.")],
    n: Annotated[int, typer.Option(min=1, help="Videos in all.")] = 24,
    view: Annotated[
        str, typer.Option(help="A4C, PSAX, PLAX, several with commas, or all.")
    ] = "all",
    ef: Annotated[str, typer.Option(help="Percent: a range such as 15:75, or one.")] = "15:75",
    seed: Seed = 0,
    per_anatomy: Annotated[int, typer.Option(min=1, help="Videos of each heart.")] = 1,
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    weights: Weights = "nano",
) -> None:
    """Write a privacy-filtered synthetic dataset.

    The layout is that of EchoNet-Dynamic; each row of FileList.csv also holds the EF asked for,
    the seed, the privacy verdict and the nearest training patient.
    """
    chosen, bounds = views(view), ef_range(ef)
    from echoflow.pipeline import load
    from echoflow.sampling import SamplingPlan
    from echoflow.synthesis import DatasetPlan
    from echoflow.synthesis import synthesise as make

    plan = DatasetPlan(
        n=n,
        views=chosen,
        ef=bounds,
        seed=seed,
        per_anatomy=per_anatomy,
        anatomy=SamplingPlan(steps),
        motion=SamplingPlan(steps, scale=guidance),
    )
    with bar("video") as progress:
        made = make(load(weights), plan, out, progress=progress)
    typer.echo(f"{len(made.records)} videos in {out}")


def animate(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image or a video file.")],
    ef: Annotated[float, typer.Option(help="Ejection fraction in percent.")],
    out: Annotated[Path, typer.Option(help="Video file: .mp4, .gif or .avi.")] = Path("clip.mp4"),
    seed: Seed = 0,
    steps: Steps = 25,
    guidance: Guidance = 1.0,
    frame: Annotated[int, typer.Option(min=0, help="Frame of the input to animate.")] = 0,
    weights: Weights = "nano",
) -> None:
    """Make one heart beat with the EF you ask for.

    The input is an image, or a video of which one frame is taken; show the heart at end-diastole.
    """
    check_ef(ef)
    video_path(out)
    still = _still(source, frame)
    import torch

    from echoflow.data.video import write_video
    from echoflow.pipeline import load
    from echoflow.sampling import SamplingPlan

    pipeline = load(weights)
    anatomy = pipeline.space.draw(pipeline.space.encode(still))
    plan = SamplingPlan(steps, scale=guidance)
    z = pipeline.animate(anatomy, torch.tensor([ef]), [seed], plan)
    write_video(out, pipeline.decode(z)[0].cpu().numpy(), pipeline.fps)
    typer.echo(f"EF {ef:g} % asked for; the video is {out}")


def _still(source: Path, frame: int) -> Tensor:
    """Frame number `frame` of a file as (1, 112, 112) in [-1, 1], padded to a square."""
    import torch

    from echoflow.data.pixels import to_float
    from echoflow.data.resample import resize, square
    from echoflow.data.video import read_gray

    video, _ = read_gray(source)
    if frame >= len(video):
        raise InputError(
            f"{source} has {len(video)} frames, there is no frame {frame}; choose 0 to "
            f"{len(video) - 1}."
        )
    return torch.from_numpy(to_float(resize(square(video[frame : frame + 1]), 112, 112)))
