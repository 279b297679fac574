"""`echoflow encode`: datasets into latents, and latents of other programs into our folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoflow.cli.progress import Progress, bar
from echoflow.cli.values import check_device, check_inference, names
from echoflow.types import InputError, Split, View, choose

if TYPE_CHECKING:
    from echoflow.data.shardwriter import Encoded
    from echoflow.latents import LatentStats


def encode(
    root: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A dataset, or a folder of videos.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the latents, or one to go on with.")],
    weights: Annotated[
        str, typer.Option(help="A bundle, a release or an A-VAE: by name, folder or hub id.")
    ] = "nano",
    subfolder: Annotated[
        str | None, typer.Option(help="Where in it the A-VAE lies, such as vae/avae-4f4.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="What the dataset is, such as camus; default: look.")
    ] = None,
    splits: Annotated[
        str | None, typer.Option(help="A split protocol by name; default the dataset's own.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="TRAIN, VAL, TEST, several with commas; default all.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames per video; default all.")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=1, help="Rate; default the video's own.")] = None,
    size: Annotated[
        int, typer.Option(min=8, help="Pixels a side that videos are fitted to.")
    ] = 112,
    scaling: Annotated[
        Path | None,
        typer.Option(
            help="Statistics to normalise by: a latent folder, or scaling.pt of a release."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read ahead.")] = 0,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1; default cuda where there is one.")
    ] = None,
    inference: Annotated[
        str, typer.Option(help="bf16 (twice as fast) or exact (float32).")
    ] = "bf16",
    import_: Annotated[
        bool, typer.Option("--import", help="SOURCE holds latents (.pt, .safetensors) already.")
    ] = False,
    holds: Annotated[
        str,
        typer.Option(help="Of tensors without names: draws, mean-std, mean-var or mean-logvar."),
    ] = "auto",
    factor: Annotated[
        float, typer.Option(help="What imported latents were multiplied by, such as 0.18215.")
    ] = 1.0,
    view: Annotated[
        str, typer.Option(help="The view of imported latents, where no table tells.")
    ] = "A4C",
) -> None:
    """Encode videos to latents, ready for training.

    Whatever stops it, the same command goes on after the last whole shard; started several times at
    once, the processes share the work. A video that cannot be read is left out and listed in
    findings.csv. With --import, latents that other programs made are brought into the same layout.
    """
    from echoflow.data.tensorfile import read_statistics

    stats = read_statistics(scaling) if scaling else None
    with bar("videos") as progress:
        if import_:
            done = _import(root, out, (holds, factor, fps, view), stats, progress)
        else:
            window: dict[str, Any] = {"frames": frames, "fps": fps, "size": size}
            chosen = names(split.upper()) if split else ()
            manifest = _manifest(root, source, splits, chosen)
            net, sha = _autoencoder(weights, subfolder, device, inference)
            done = _encode(manifest, window, (net, sha, inference), out, workers, stats, progress)
    _tell(done)


def _manifest(root: Path, source: str | None, splits: str | None, chosen: Sequence[str]) -> Any:
    """The dataset with the records of the chosen splits."""
    from dataclasses import replace

    from echoflow.data.sources import open_source

    wanted = [Split(choose(name, [s.value for s in Split], "split")) for name in chosen]
    manifest = open_source(root, source, splits)
    if not wanted:
        return manifest
    return replace(manifest, records=tuple(r for r in manifest.records if r.split in wanted))


def _autoencoder(
    weights: str, subfolder: str | None, device: str | None, inference: str
) -> tuple[Any, str]:
    """The A-VAE on its device, and the hash of its weights."""
    import torch

    from echoflow.files import sha256
    from echoflow.interop import echoflow, hub
    from echoflow.networks import zoo
    from echoflow.pipeline import weights_folder

    check_inference(inference)
    place = check_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = hub.find(weights, subfolder) if subfolder else _inside(weights_folder(weights))
    net = echoflow.load(folder)
    if type(net).__name__ != echoflow.AVAE:
        raise InputError(
            f"{folder} holds a {type(net).__name__}, no A-VAE; give its folder, or --subfolder."
        )
    return net.to(place), sha256(folder / zoo.WEIGHTS)


def _inside(folder: Path) -> Path:
    """The A-VAE's own folder in a bundle, in a release with one, or the folder itself."""
    from echoflow.interop.echoflow import is_model
    from echoflow.networks import zoo

    if (folder / zoo.BUNDLE).is_file():
        return folder / "avae"
    there = sorted(path for path in folder.glob("vae/*") if is_model(path))
    if is_model(folder) or not there:
        return folder
    if len(there) > 1:
        listed = ", ".join(f"vae/{path.name}" for path in there)
        raise InputError(f"{folder} has several A-VAEs; choose one with --subfolder: {listed}.")
    return there[0]


def _encode(
    manifest: Any,
    window: dict[str, Any],
    network: tuple[Any, str, Any],
    out: Path,
    workers: int,
    scaling: LatentStats | None,
    progress: Progress,
) -> Encoded:
    from echoflow.data.prepare import Window
    from echoflow.data.shards import encode_clips, labelled

    net, sha, inference = network
    total = len(manifest.records)
    return encode_clips(
        labelled(manifest, manifest.records, Window(**window)),
        net,
        out,
        sha,
        progress=lambda done: progress(done, total),
        workers=workers,
        inference=inference,
        scaling=scaling,
    )


def _import(
    root: Path,
    out: Path,
    told: tuple[Any, float, float | None, str],
    scaling: LatentStats | None,
    progress: Progress,
) -> Encoded:
    from echoflow.data.foreign import foreign
    from echoflow.data.shardwriter import write_latents

    holds, factor, fps, view = told
    supply = foreign(root, holds, factor, fps, View.parse(view, other=True))
    return write_latents(
        supply, out, progress=lambda done: progress(done, len(supply)), scaling=scaling
    )


def _tell(done: Encoded) -> None:
    from echoflow.data.findings import left_out_line

    line = left_out_line(done.findings, done.videos)
    if line:
        typer.echo(line, err=True)
    typer.echo(f"{done.videos} videos encoded in {done.folder}")
