"""`echoflow encode`: datasets into latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.progress import bar


def encode(
    source: Annotated[Path, typer.Argument(help="A dataset, or a folder of videos.")],
    out: Annotated[Path, typer.Option(help="New folder for the latents.")],
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames per video; default all.")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=1, help="Rate; default the video's own.")] = None,
    weights: Annotated[
        str, typer.Option(help="A bundle by name or folder, or an A-VAE folder.")
    ] = "nano",
) -> None:
    """Encode videos to latents, ready for training."""
    from echoflow.data.prepare import Window
    from echoflow.data.shards import encode_clips, labelled
    from echoflow.data.sources import open_source
    from echoflow.metrics.report import fingerprint
    from echoflow.networks import zoo
    from echoflow.pipeline import weights_folder

    manifest = open_source(source)
    folder = weights_folder(weights)
    avae = folder / "avae" if (folder / zoo.BUNDLE).is_file() else folder
    window = Window(frames=frames, fps=fps)
    with bar("videos") as progress:
        encode_clips(
            labelled(manifest, manifest.records, window),
            zoo.load(avae),
            out,
            fingerprint(avae),
            progress=lambda done: progress(done, len(manifest.records)),
        )
    typer.echo(f"{len(manifest.records)} videos encoded in {out}")
