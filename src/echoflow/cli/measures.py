"""Further measures of `echoflow evaluate`: pairs of videos, the Inception score, beats, latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.evaluation import Floors, OutMaybe, OutMaybePage, RealSplit, Seed, told
from echoflow.cli.progress import bar
from echoflow.cli.values import check_split

Folder = Annotated[Path | None, typer.Option(help="Folder with the files of published networks.")]


def pairs(
    dataset: Annotated[Path, typer.Argument(help="Reconstructions: a dataset or a folder.")],
    against: Annotated[Path, typer.Option(help="The recordings, of the same names.")],
    lpips: Annotated[
        str, typer.Option(help="Trunk of LPIPS: vgg (the papers'), alex, or none.")
    ] = "vgg",
    extractor_folder: Folder = None,
    every: Annotated[int, typer.Option(min=1, help="Compare one frame in so many.")] = 1,
    split: RealSplit = None,
    floors: Floors = 16,
    weights: Annotated[str, typer.Option(help="Weights whose A-VAE is the floor.")] = "nano",
    seed: Seed = 0,
    out: OutMaybePage = None,
) -> None:
    """MSE, MAE, PSNR, SSIM and LPIPS of videos that share a name.

    Beside them stand the scores of real videos put through the A-VAE.
    """
    from typing import cast

    from echoflow.cli.progress import bars
    from echoflow.metrics.lpips import FILES, Lpips, Trunk
    from echoflow.pages.numbers import write
    from echoflow.pages.pairs import measured, page
    from echoflow.types import InputError, choose

    choose(lpips, [*FILES, "none"], "trunk")
    try:
        felt = None if lpips == "none" else Lpips(cast(Trunk, lpips), extractor_folder)
    except InputError as error:
        raise InputError(f"{error} Or go without LPIPS: --lpips none.") from error
    with bars() as tell:
        found = measured(
            dataset, against, felt, check_split(split), every, floors, weights, seed, tell
        )
    typer.echo(found.text())
    if out is not None:
        paths = write(out, page(dataset, against, found), found.reports())
        typer.echo(f"\nthe report is {paths[0]}")


def inception(
    dataset: Annotated[Path, typer.Argument(help="Videos: a dataset or a folder.")],
    network: Annotated[
        str,
        typer.Option(
            help="inception, as the papers; inception-fidelity, from torch-fidelity's file; random "
            "only tests the program."
        ),
    ] = "inception",
    extractor_folder: Folder = None,
    frames: Annotated[int, typer.Option(min=1, help="First frames of each video.")] = 16,
    splits: Annotated[int, typer.Option(min=1, help="Parts that the score is a mean over.")] = 10,
    nominal: Annotated[
        int | None,
        typer.Option(min=1, help="Cut the parts as for so many frames; the papers' is 50000."),
    ] = None,
    split: RealSplit = None,
    seed: Seed = 0,
    out: OutMaybe = None,
) -> None:
    """The Inception score (IS) of the frames of a dataset."""
    from echoflow.variety import classifier, variety

    judge = classifier(network, extractor_folder)
    with bar("videos") as progress:
        found = variety(dataset, judge, frames, splits, nominal, check_split(split), seed, progress)
    told(found, dataset.resolve().name, out)


def beats(
    dataset: Annotated[Path, typer.Argument(help="Videos: a dataset or a folder.")],
    against: Annotated[Path | None, typer.Option(help="Real videos to set beside them.")] = None,
    weights: Annotated[
        str, typer.Option(help="Weights whose segmenter and re-identification network measure.")
    ] = "nano",
    split: RealSplit = None,
    floors: Floors = 16,
    seed: Seed = 0,
    out: OutMaybePage = None,
) -> None:
    """Cycle length, ED and ES, EF by masks, smoothness, and drift of the anatomy.

    Beside real videos stand the numbers of one half of them, and of some of them through the A-VAE.
    """
    from echoflow.cli.progress import bars
    from echoflow.pages.beats import measured, page
    from echoflow.pages.numbers import write

    with bars() as tell:
        found = measured(dataset, against, check_split(split), floors, weights, seed, tell)
    typer.echo(found.text())
    if out is not None:
        paths = write(out, page(dataset, found), found.reports())
        typer.echo(f"\nthe report is {paths[0]}")


def entropy(
    latents: Annotated[Path, typer.Argument(help="A folder of latents, as `encode` writes it.")],
    frames: Annotated[int, typer.Option(min=1, help="Frames of each video, spread evenly.")] = 1,
    posterior: Annotated[str, typer.Option(help="Latents: mean, or sample of the A-VAE.")] = "mean",
    normalise: Annotated[
        str, typer.Option(help="Divide by the deviation of each channel, by one scalar, or none.")
    ] = "channel",
    shrinkage: Annotated[
        str, typer.Option(help="Of the covariance: ledoit-wolf, or none (needs many videos).")
    ] = "ledoit-wolf",
    split: Annotated[str | None, typer.Option(help="Split; all if not given.")] = None,
    seed: Seed = 0,
    out: OutMaybe = None,
) -> None:
    """Joint differential entropy of a latent space in nats: how much a generator has to learn."""
    from typing import cast, get_args

    from echoflow.latent_entropy import Posterior, latent_entropy
    from echoflow.metrics.entropy import Normalise, Shrinkage
    from echoflow.types import choose

    found = latent_entropy(
        latents,
        frames,
        cast(Posterior, choose(posterior, get_args(Posterior), "posterior")),
        cast(Normalise, choose(normalise, get_args(Normalise), "normalisation")),
        cast(Shrinkage, choose(shrinkage, get_args(Shrinkage), "shrinkage")),
        check_split(split),
        seed,
    )
    told(found, latents.resolve().name, out)
