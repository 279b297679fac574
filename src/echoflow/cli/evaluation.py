"""`echoflow evaluate`: a dataset in, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    dataset: Annotated[Path, typer.Argument(help="A dataset in the EchoNet-Dynamic layout.")],
    against: Annotated[Path | None, typer.Option(help="Real dataset to compare with.")] = None,
    out: Annotated[Path, typer.Option(help="Report files <out>.json and <out>.md.")] = Path(
        "report"
    ),
) -> None:
    """Measure a dataset and write a report."""
    raise NotImplementedError
