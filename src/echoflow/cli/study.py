"""`echoflow study`: can readers tell generated clips from recorded ones?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.evaluation import OutMaybe, Seed, told
from echoflow.cli.progress import bar
from echoflow.cli.values import check_split
from echoflow.types import InputError

study = typer.Typer(
    help="Can readers tell generated clips from recorded ones?",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@study.command()
def make(
    groups: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=DATASET:N ...",
            help="Clips of each kind, such as real=echonet:130 factual=made:89; `real` are the "
            "recorded ones.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("study"),
    split: Annotated[str | None, typer.Option(help="Split of the recorded videos.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of every clip.")] = 2.0,
    fps: Annotated[float, typer.Option(min=1, help="Rate of every clip.")] = 32.0,
    size: Annotated[int, typer.Option(min=16, help="Pixels of a side.")] = 112,
    gated: Annotated[
        bool, typer.Option("--gated", help="Start at the first frame, as phantoms do.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn, and of the order.")] = 0,
) -> None:
    """Clips of several kinds in random order, a form for the answers, and the key.

    All clips get one length, rate, size and file format. What readers get is in one folder, the
    key beside it.
    """
    from echoflow.data.prepare import Window
    from echoflow.reader_study import FOR_READERS, REAL, Group
    from echoflow.reader_study import make as write

    part = check_split(split)
    parsed = [_group(text) for text in groups]
    chosen = [Group(name, path, n, part if name == REAL else None) for name, path, n in parsed]
    window = Window(max(1, round(seconds * fps)), fps, size)
    with bar("clips") as progress:
        write(chosen, out, window, seed, not gated, progress)
    typer.echo(
        f"{sum(group.n for group in chosen)} clips in {out}; give readers {out / FOR_READERS}"
    )


@study.command()
def score(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    answers: Annotated[list[Path], typer.Argument(help="A file of answers for each reader.")],
    seed: Seed = 0,
    out: OutMaybe = None,
) -> None:
    """How often readers were right, in each group, and how far they agree."""
    from echoflow.reader_study import score as measure

    told(measure(folder, answers, seed), folder.resolve().name, out)


def _group(text: str) -> tuple[str, Path, int]:
    """`real=folder:130`."""
    name, equals, rest = text.partition("=")
    path, colon, count = rest.rpartition(":")
    if not (name and equals and path and colon and count.isdigit()):
        raise InputError(f"a group is NAME=DATASET:N, such as real=echonet:130; got {text!r}.")
    return name, Path(path), int(count)
