"""`echoflow models`: the networks that have a name, what they cost and what the paper prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from echoflow.networks.published import Line

COLUMNS = f"""\
{"":22s} {"parameters, M":>16s} {"multiply-adds, G, of one forward at batch 1":^54s}
{"model":22s} {"here":>8s} {"paper":>7s} {"with att.":>10s} {"without":>10s} {"as paper":>10s} \
{"paper":>8s} {"ratio":>7s}   remark"""
LEGEND = """
with att., without: with and without the products inside attention. as paper: in the convention of
EchoFlow's tables 2 and 3 (fvcore's, which also charges for norms, and of attention products counts
those of FMvT alone). ratio: that over the paper's. The released networks carry no suffix; -v2 is
our own style; nano is what the package brings along."""


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names, or patterns such as 'FMvT-*'; all if left out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List the networks: parameters, multiply-adds, and what the paper prints."""
    import dataclasses
    import json

    from echoflow.networks.published import line
    from echoflow.networks.zoo import matching

    chosen = matching(names or ["*"])
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(line(name)) for name in chosen], indent=1))
        return
    typer.echo(COLUMNS)
    for name in chosen:
        typer.echo(row(line(name)))
    typer.echo(LEGEND)


def row(found: Line) -> str:
    """One line of the table."""
    cells = (
        f"{found.name:22s} {found.parameters:8.2f} {_or_dash(found.paper_parameters, '.0f'):>7s}",
        f"{found.with_attention:10.3f} {found.without_attention:10.3f}",
        f"{_or_dash(found.as_printed, '.3f'):>10s} {_or_dash(found.paper_macs, '.2f'):>8s}",
        f"{_or_dash(found.macs_ratio, '.4f'):>7s}   {found.remark}",
    )
    return " ".join(cells).rstrip()


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
