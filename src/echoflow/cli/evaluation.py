"""`echoflow evaluate`: a dataset, or a file of scores, in; a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from echoflow.metrics.report import Report


class _DatasetUnlessNamed(TyperGroup):
    """`evaluate FOLDER` is short for `evaluate dataset FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["dataset", *args]
        return super().parse_args(ctx, args)


evaluate = typer.Typer(
    cls=_DatasetUnlessNamed,
    no_args_is_help=True,
    help="Measure a dataset (`evaluate DATASET`), or what a file of scores says.",
)

Out = Annotated[Path, typer.Option(help="Report files <out>.json and <out>.md.")]


@evaluate.command()
def dataset(
    dataset: Annotated[Path, typer.Argument(help="A dataset in the EchoNet-Dynamic layout.")],
    against: Annotated[Path | None, typer.Option(help="Real dataset to compare with.")] = None,
    out: Out = Path("report"),
) -> None:
    """Measure a dataset and write a report.

    A synthetic dataset also tells how well the EF measured follows the EF asked for. A folder
    that is called like another command is given as ./scores.
    """
    from echoflow.evaluation import evaluate as measure
    from echoflow.metrics.report import number

    report = measure(dataset, against)
    table = "\n".join(["| metric | value |", "| --- | --- |"])
    table += "".join(f"\n| {name} | {number(value)} |" for name, value in report.metrics.items())
    page = f"# {dataset.resolve().name}\n\n{report.n} videos.\n\n{table}\n"
    _write(out, report.to_json(), page)
    typer.echo(f"{table}\n\n{report.n} videos; the report is in {out}.json and {out}.md")


@evaluate.command()
def distances(
    dataset: Annotated[Path, typer.Argument(help="Generated videos: a dataset or a folder.")],
    against: Annotated[Path, typer.Option(help="Real videos: a dataset or a folder.")],
    extractor: Annotated[
        str, typer.Option(help="Network: ef, inception, i3d; random only tests the program.")
    ] = "ef",
    weights: Annotated[str, typer.Option(help="Weights whose EF regressor `ef` is.")] = "nano",
    extractor_folder: Annotated[
        Path | None, typer.Option(help="Folder with the file of a published network.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="First frames of each video; 16, or what `ef` was trained on."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the real videos; all if not given.")
    ] = None,
    population: Annotated[
        bool, typer.Option("--population", help="Covariance over n as in StyleGAN-V, not n - 1.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of subsets and intervals.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write <out>.json and <out>.md.")] = None,
) -> None:
    """Frechet distance, KID, MMD, precision to coverage.

    On features of a network that is on this machine; nothing is downloaded.
    """
    from echoflow.cli.progress import bar
    from echoflow.distances import distances as measure
    from echoflow.distances import extractor as opened
    from echoflow.types import Split, choose

    part = None if split is None else Split(choose(split.upper(), list(Split), "split"))
    network = opened(extractor, weights, extractor_folder)
    with bar("features") as progress:
        kind = "population" if population else "sample"
        found = measure(dataset, against, network, frames, part, kind, seed, progress)
    page = f"{_distances_table(found)}\n"
    if out is not None:
        _write(out, found.to_json(), f"# {dataset.resolve().name}\n\n{page}")
    typer.echo(page, nl=False)


def _distances_table(report: Report) -> str:
    """Every number with its interval, then what it depends on and what to know about it."""
    from echoflow.metrics.report import number

    lines = ["| metric | value | 90 % interval |", "| --- | --- | --- |"]
    for name, value in report.metrics.items():
        if not name.endswith(("_low", "_high")):
            ends = [report.metrics.get(f"{name}_{end}") for end in ("low", "high")]
            interval = (
                "-" if None in ends else " to ".join(number(e) for e in ends if e is not None)
            )
            lines.append(f"| {name} | {number(value)} | {interval} |")
    about = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    return "\n".join([*lines, "", f"{about}.", *(f"\nNote: {note}" for note in report.notes)])


SCORES_LEGEND = """\
Published rule: R2, MAE and RMSE of the draw whose EF is nearest to the one asked for, SSIM the
highest and LPIPS the lowest of a video's draws, each on its own: no single clip has these scores.
Single draw: all draws, none chosen. Real clips: the regressor on the real video, a floor only
where GT EF is that video's label. In brackets: 90 % intervals from resampled videos."""


@evaluate.command()
def scores(
    file: Annotated[
        Path, typer.Argument(help="CSV: FileName, GT EF, Gen EF, Ref EF, SSIM, LPIPS.")
    ],
    out: Annotated[Path | None, typer.Option(help="Also write <out>.json and <out>.md.")] = None,
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
) -> None:
    """EchoDiffusion's table from its score file.

    By the published rule, which takes the best of several draws, and for a single draw.
    """
    from echoflow.metrics.scores import report as measure
    from echoflow.metrics.scores import to_markdown

    report, rows = measure(file, resamples, seed)
    draws = " or ".join(str(count) for count in report.settings["draws"])
    page = f"{to_markdown(rows)}\n\n{report.n} videos, {draws} draws each.\n\n{SCORES_LEGEND}\n"
    if out is not None:
        _write(out, report.to_json(), f"# {file.name}\n\n{page}")
    typer.echo(page, nl=False)


def _write(out: Path, json: str, page: str) -> None:
    from echoflow.files import atomic_file

    for suffix, text in ((".json", json), (".md", page)):
        with atomic_file(out.with_name(out.name + suffix)) as work:
            work.write_text(text)
