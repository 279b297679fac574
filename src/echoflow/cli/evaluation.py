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
OutMaybe = Annotated[Path | None, typer.Option(help="Also write <out>.json and <out>.md.")]
OutMaybePage = Annotated[Path | None, typer.Option(help="Also write <out>.html, .md and .json.")]
RealSplit = Annotated[str | None, typer.Option(help="Split of the real videos; all if not given.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of subsets and intervals.")]
Floors = Annotated[
    int,
    typer.Option(
        min=0, help="Real videos put through the A-VAE of --weights; 0 for no such floor."
    ),
]


@evaluate.command()
def dataset(
    dataset: Annotated[Path, typer.Argument(help="A dataset in the EchoNet-Dynamic layout.")],
    against: Annotated[Path | None, typer.Option(help="Real dataset to compare with.")] = None,
    split: RealSplit = None,
    floors: Floors = 16,
    weights: Annotated[
        str, typer.Option(help="Weights whose A-VAE is a floor, and whose segmenter draws curves.")
    ] = "nano",
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Report <out>.html, .md and .json.")] = Path("report"),
) -> None:
    """Measure a dataset and write a report.

    A synthetic dataset also tells how well the EF measured follows the EF asked for. Beside a real
    one, every score has its floors: two halves of the real videos against each other, and real
    videos through an A-VAE. A folder that is called like another command is given as ./scores.
    """
    from echoflow.cli.progress import bars
    from echoflow.cli.values import check_split
    from echoflow.pages.dataset import measured, page
    from echoflow.pages.numbers import write

    with bars() as tell:
        found = measured(dataset, against, check_split(split), floors, weights, seed, tell)
    paths = write(out, page(found), found.scores.reports())
    typer.echo(f"{found.scores.text()}\n\n{found.scores.report.n} videos; open {paths[0]}")


@evaluate.command()
def distances(
    dataset: Annotated[Path, typer.Argument(help="Generated videos: a dataset or a folder.")],
    against: Annotated[Path, typer.Option(help="Real videos: a dataset or a folder.")],
    extractor: Annotated[
        str,
        typer.Option(
            help="Network: ef, inception, inception-fidelity, i3d, r2plus1d, dinov2, echoprime; "
            "random only tests the program."
        ),
    ] = "ef",
    weights: Annotated[
        str, typer.Option(help="Weights whose EF regressor `ef` is, and whose A-VAE is a floor.")
    ] = "nano",
    extractor_folder: Annotated[
        Path | None, typer.Option(help="Folder with the file of a published network.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="First frames of each video; 16, or what `ef` was trained on."),
    ] = None,
    split: RealSplit = None,
    population: Annotated[
        bool, typer.Option("--population", help="Covariance over n as in StyleGAN-V, not n - 1.")
    ] = False,
    floors: Floors = 16,
    seed: Seed = 0,
    out: OutMaybePage = None,
) -> None:
    """Frechet distance, KID, MMD, precision to coverage.

    On features of a network that is on this machine; nothing is downloaded. Beside every number
    stand its floors: two halves of the real videos, and real videos through an A-VAE.
    """
    from echoflow.cli.progress import bars
    from echoflow.cli.values import check_split
    from echoflow.distances import extractor as opened
    from echoflow.pages.distances import measured, page
    from echoflow.pages.numbers import write

    network = opened(extractor, weights, extractor_folder)
    kind = "population" if population else "sample"
    with bars() as tell:
        found = measured(
            dataset, against, network, frames, check_split(split), kind, seed, floors, weights, tell
        )
    typer.echo(found.text())
    if out is not None:
        paths = write(out, page(dataset, against, found), found.reports())
        typer.echo(f"\nthe report is {paths[0]}")


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
    out: OutMaybe = None,
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
) -> None:
    """EchoDiffusion's table from its score file.

    By the published rule, which takes the best of several draws, and for a single draw.
    """
    from echoflow.metrics.scores import report as measure
    from echoflow.metrics.scores import to_markdown

    report, rows = measure(file, resamples, seed)
    draws = " or ".join(str(count) for count in report.settings["draws"])
    each = f"{report.n} videos, {draws} draws each."
    page = f"{to_markdown(rows)}\n\n{each}\n\n{SCORES_LEGEND}\n\n{report.about()}\n"
    if out is not None:
        files(out, report, f"# {file.name}\n\n{page}")
    typer.echo(page, nl=False)


def told(report: Report, title: str, out: Path | None) -> None:
    """Every number with its interval, then what it depends on; into files too, if asked."""
    page = f"{report.table()}\n\n{report.about()}\n"
    if out is not None:
        files(out, report, f"# {title}\n\n{page}")
    typer.echo(page, nl=False)


def files(out: Path, report: Report, page: str) -> None:
    """The report as <out>.json and a page of it as <out>.md."""
    from echoflow.files import atomic_file

    for suffix, text in ((".json", report.to_json()), (".md", page)):
        with atomic_file(out.with_name(out.name + suffix)) as work:
            work.write_text(text)
