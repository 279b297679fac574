"""`echoflow data`: looking at a dataset before anything is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.progress import bar

data = typer.Typer(
    help="Look at a dataset before anything is made of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@data.callback()
def _data() -> None:
    """Look at a dataset before anything is made of it."""


@data.command()
def check(
    root: Annotated[Path, typer.Argument(help="The dataset's folder, as unpacked.")],
    source: Annotated[
        str | None, typer.Option(help="What it is, such as echonet-pediatric; default: look.")
    ] = None,
    splits: Annotated[
        str | None, typer.Option(help="A split protocol by name; default the dataset's own.")
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every frame, not the headers alone.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for summary.json, findings.csv and ef.png.")
    ] = None,
) -> None:
    """Say what is in a dataset and what is wrong with which file.

    The layouts of EchoNet-Dynamic, EchoNet-Pediatric, EchoNet-LVH, CAMUS and TMED-2, DICOM files,
    phantoms, and any folder of videos or images. A bad row or file never ends the check. The exit
    code is 0 if every video can be used, with or without findings, and 1 if any is left out.
    """
    from echoflow.data.check import check as look
    from echoflow.data.checkpage import text, write

    with bar("videos") as progress:
        checked = look(root, source, splits, decode, workers, progress)
    typer.echo(text(checked))
    if out is not None:
        write(checked, out)
        typer.echo(f"\nwritten to {out}")
    if checked.left_out:
        raise typer.Exit(1)
