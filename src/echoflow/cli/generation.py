"""`echoflow synthesise`, `animate` and `quickstart`: videos out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoflow.cli import cascade
from echoflow.cli.interop import Model
from echoflow.cli.progress import bar
from echoflow.cli.values import (
    check_device,
    check_inference,
    ef_range,
    refuse_given,
    video_path,
    views,
)
from echoflow.types import InputError, View, check_ef

if TYPE_CHECKING:
    import numpy as np

    from echoflow.synthesis import MaskSource

Weights = Annotated[
    str, typer.Option(help="nano, the folder of a bundle or release, or a hub id owner/name.")
]
Device = Annotated[str, typer.Option(help="cpu, or cuda on a machine with a GPU.")]
Inference = Annotated[
    str, typer.Option(help="exact (float32), bf16 (about twice as fast), or compiled.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same videos.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Solver steps; default the weights' own.")]
Guidance = Annotated[
    float | None, typer.Option(min=0, help="Guidance scale, 1 is none; default the weights' own.")
]
Start = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Step to start at, from the anatomy warped until it beats; 0 is noise alone. "
        "Default the weights' own.",
    ),
]


def quickstart(
    out: Annotated[Path, typer.Option(help="New folder for the results.")] = Path("quickstart"),
    weights: Weights = "nano",
) -> None:
    """Dataset, EF sweep and report from nothing.

    Takes a few minutes on two cores; needs no data, no GPU and no network.
    """
    from echoflow import quickstart as story

    with bar("videos") as progress:
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
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="Image of an LV mask to follow, 0 and 255; may be given again."),
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    start: Start = None,
    weights: Weights = "nano",
    model: Model = None,
    device: Device = "cpu",
    inference: Inference = "exact",
) -> None:
    """Write a privacy-filtered synthetic dataset.

    The layout is that of EchoNet-Dynamic; each row of FileList.csv also holds the EF asked for,
    the seed, the privacy verdict and the nearest training patient. Whatever stops this, the same
    command goes on behind the videos that are finished; several processes may share the work.
    """
    chosen, bounds = views(view), ef_range(ef)
    check_device(device)
    setting = check_inference(inference)
    from echoflow.pipeline import load, unmeasured
    from echoflow.synthesis import DatasetPlan, Origin, kept
    from echoflow.synthesis import synthesise as make

    masks = _masks(mask or [])
    pipeline = load(weights, device, model or (), setting)
    plan = DatasetPlan(
        n=n,
        views=chosen,
        ef=bounds,
        seed=seed,
        per_anatomy=per_anatomy,
        anatomy=pipeline.anatomy.tuned(steps),
        motion=pipeline.motion.tuned(steps, guidance, start=start),
    )
    try:
        with bar("videos") as progress:
            made = make(pipeline, plan, out, masks, progress, Origin.of(weights, model or ()))
    except KeyboardInterrupt:
        if done := kept(out):
            typer.echo(f"{done} of {n} videos are kept; the same command goes on.", err=True)
        raise
    typer.echo(f"{len(made.records)} videos in {out}")
    if pipeline.regressor is unmeasured:
        typer.echo(
            "These weights have no EF regressor, so the column EF is empty; EF_requested holds "
            "what was asked for."
        )


def animate(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image or a video file.")],
    ef: Annotated[float, typer.Option(help="Ejection fraction in percent.")],
    out: Annotated[Path, typer.Option(help="Video file: .mp4, .gif or .avi.")] = Path("clip.mp4"),
    view: Annotated[
        str | None, typer.Option(help="A4C, PSAX or PLAX, if you know; the EF is then met closer.")
    ] = None,
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    start: Start = None,
    heart_rate: Annotated[
        float | None, typer.Option(help="Beats per minute; default one that the seed draws.")
    ] = None,
    frame: Annotated[int, typer.Option(min=0, help="Frame of the input to animate.")] = 0,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames to make; default as trained.")
    ] = None,
    weights: Weights = "nano",
    model: Model = None,
    device: Device = "cpu",
    inference: Inference = "exact",
    solver: Annotated[
        str | None, typer.Option(help="heun, euler or multistep; default the weights' own.")
    ] = None,
    draws: Annotated[
        int, typer.Option(min=1, help="Videos, of this seed and the next ones: clip-1.mp4, ...")
    ] = 1,
    settings: Annotated[
        str | None,
        typer.Option(help="Of a published cascade: ours (default), or as in its code or paper."),
    ] = None,
    churn: Annotated[
        float | None, typer.Option(min=0, help="Of a cascade: S_churn; 0: none, deterministic.")
    ] = None,
) -> None:
    """Make one heart beat with the EF you ask for.

    The input is an image, or a video of which one frame is taken; show the heart at end-diastole.
    EchoDiffusion's cascades work in pixels: --model 2SCM --weights FOLDER, with the folder of a
    published cascade, or of runs of its stages.
    """
    check_ef(ef)
    video_path(out)
    check_device(device)
    setting = check_inference(inference)
    shown = None if view is None else [View.parse(view)]
    still = _still(source, frame)
    if cascade.is_cascade(weights, model or ()):
        refuse_given(
            {"--start": start, "--heart-rate": heart_rate, "--view": view},
            "for latent models, not for cascades",
        )
        asked = cascade.Asked(ef, out, seed, draws, frames, steps, guidance, solver, churn)
        files = cascade.animate(weights, model or (), settings, device, setting, still[0], asked)
    else:
        import torch

        from echoflow.data.video import write_video
        from echoflow.pipeline import load

        refuse_given({"--settings": settings}, "for published cascades, not for latent models")
        refuse_given({"--churn": churn}, "for cascades, not for latent models")
        pipeline = load(weights, device, model or (), setting)
        plan = pipeline.motion.tuned(steps, guidance, solver, start)
        anatomy, files = pipeline.encode(torch.from_numpy(still)), cascade.files_of(out, draws)
        for draw, file in enumerate(files):
            told = torch.tensor([ef])
            seeds, own = [seed + draw], {"views": shown, "heart_rate": heart_rate}
            z = pipeline.animate(anatomy, told, seeds, plan, frames, **own)
            write_video(file, pipeline.decode(z)[0].cpu().numpy(), pipeline.fps)
    videos = "the video is" if draws == 1 else "the videos are"
    typer.echo(f"EF {ef:g} % asked for; {videos} {', '.join(map(str, files))}")


def _masks(paths: list[Path]) -> MaskSource | None:
    """The masks of image files for the anatomies to follow, or None for those of phantoms."""
    if not paths:
        return None
    import numpy as np

    from echoflow.data.prepare import load_mask
    from echoflow.synthesis import given_masks

    return given_masks(np.stack([load_mask(path) for path in paths]))


def _still(source: Path, frame: int) -> np.ndarray:
    """Frame number `frame` of a file as uint8 (1, 112, 112), padded to a square."""
    from echoflow.data.resample import resize, square
    from echoflow.data.video import read_gray

    video, _ = read_gray(source)
    if frame >= len(video):
        raise InputError(
            f"{source} has {len(video)} frames, there is no frame {frame}; choose 0 to "
            f"{len(video) - 1}."
        )
    return resize(square(video[frame : frame + 1]), 112, 112)
