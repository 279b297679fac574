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
    """Measure a dataset and write a report.

    A synthetic dataset also tells how well the EF measured follows the EF asked for.
    """
    from echoflow.evaluation import evaluate as measure
    from echoflow.files import atomic_file
    from echoflow.metrics.report import number

    report = measure(dataset, against)
    table = "\n".join(["| metric | value |", "| --- | --- |"])
    table += "".join(f"\n| {name} | {number(value)} |" for name, value in report.metrics.items())
    page = f"# {dataset.resolve().name}\n\n{report.n} videos.\n\n{table}\n"
    for suffix, text in ((".json", report.to_json()), (".md", page)):
        with atomic_file(out.with_name(out.name + suffix)) as work:
            work.write_text(text)
    typer.echo(f"{table}\n\n{report.n} videos; the report is in {out}.json and {out}.md")
