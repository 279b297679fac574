"""`echoflow train`: one stage, or a whole recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A stage or a recipe by name.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings to change, as key=value.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings to change.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<recipe>.")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved recipe and stop.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run folder.")
    ] = False,
) -> None:
    """Train one stage of the pipeline.

    The run folder keeps the resolved recipe, the metrics and the checkpoints.
    """
    raise NotImplementedError
