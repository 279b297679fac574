"""`echoflow bundle`, `import` and `export`: runs put together, published weights in, ours out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    list[str] | None,
    typer.Option(
        help="Of a release with several: the one to take, such as lvfm/FMvT-S2-4f4; repeatable."
    ),
]


def bundle(
    runs: Annotated[
        list[Path], typer.Argument(help="Finished run folders, one of each stage, in any order.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the bundle.")],
) -> None:
    """Put finished runs together into weights that generate.

    Needed are an A-VAE and a video model; with an image model and re-identification it makes hearts
    of its own, with an EF regressor and a segmenter it measures them. The gallery of the privacy
    filter and tau are computed from the latents that the models learned from. An A-VAE, a regressor
    or a segmenter may also be the folder of a network.
    """
    from echoflow.training.bundling import bundled

    made = bundled(runs, out)
    typer.echo(f"{', '.join(made.nets)} in {out}, {made.card['fps']:g} frames a second")
    patients = len(made.privacy.gallery)
    told = ", ".join(f"{view} {tau:.4f}" for view, tau in made.privacy.thresholds().items())
    typer.echo(f"privacy: {patients} anatomies, tau {told}" if told else "privacy: no filter")


def import_(
    source: Annotated[str, typer.Argument(help="A folder, or a hub id such as owner/name.")],
    out: Annotated[Path, typer.Option(help="New folder for the weights.")],
    subfolder: Annotated[
        str | None, typer.Option(help="One model of it, such as lvfm/FMvT-S2-4f4.")
    ] = None,
    model: Model = None,
) -> None:
    """Bring published weights into this program's layout.

    One model becomes a folder of our own layout, a release a bundle; provenance.json keeps where
    every file came from and its hash.
    """
    from torch.nn import Module

    from echoflow.interop.exchange import import_weights

    made = import_weights(source, out, subfolder, model or ())
    what = type(made).__name__ if isinstance(made, Module) else "a bundle"
    typer.echo(f"{what} in {out}")


def export(
    folder: Annotated[Path, typer.Argument(help="A bundle, or the folder of one network.")],
    out: Annotated[Path, typer.Option(help="New folder for the published layout.")],
    data: Annotated[
        str | None, typer.Option(help="What the weights were trained on, for the model card.")
    ] = None,
) -> None:
    """Write weights in the published layout, with a model card in README.md."""
    from echoflow.interop.exchange import export_weights

    names = export_weights(folder, out, data)
    typer.echo(f"{', '.join(names)} in {out}; read {out / 'README.md'} before you publish")
