"""`echoflow report`: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LEGEND = """\
apart: the 90 % intervals do not overlap, so the numbers differ by more than chance."""


def report(
    first: Annotated[Path, typer.Argument(metavar="A", help="JSON of evaluate or reproduce.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, made alike.")],
    out: Annotated[Path | None, typer.Option(help="Also write the page to this file.")] = None,
) -> None:
    """Compare two reports: both numbers, their difference, and whether intervals overlap."""
    from echoflow.metrics.comparison import paired, read_reports, to_markdown, unpaired

    both = read_reports(first), read_reports(second)
    parts = [f"A {first}, B {second}", *(to_markdown(a, b) for a, b in paired(*both))]
    parts += [*unpaired(*both), LEGEND]
    page = "\n\n".join(parts) + "\n"
    if out is not None:
        from echoflow.files import atomic_file

        with atomic_file(out) as work:
            work.write_text(page)
    typer.echo(page, nl=False)
