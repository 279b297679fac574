"""The `echoflow` command: one verb per stage of the pipeline.

This package parses arguments and prints; the work is done by the modules it calls, which are
imported inside the verbs so that `echoflow --help` answers at once. Exit codes: 0 done, 1 a bug
(with its traceback) or a dataset with videos that had to be left out (`data check`), 2 something
the user can mend (one sentence on stderr), 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from echoflow import __version__
from echoflow.cli import (
    calibration,
    data,
    draws,
    encode,
    evaluation,
    freeecho,
    generation,
    interop,
    measures,
    models,
    phantom,
    report,
    reproduce,
    runs,
    study,
    training,
    truth,
)
from echoflow.cli.failures import explain

app = typer.Typer(
    name="echoflow",
    help="Synthetic cardiac ultrasound that beats with the ejection fraction you ask for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    generation.quickstart,
    generation.synthesise,
    generation.animate,
    freeecho.from_mask,
    phantom.phantom,
    encode.encode,
    training.train,
    calibration.calibrate,
    models.models,
    report.report,
    reproduce.reproduce,
    interop.bundle,
    interop.import_,
    interop.export,
):
    app.command(verb.__name__.rstrip("_").replace("_", "-"))(verb)
for measure in (
    truth.truth,
    draws.draws,
    measures.pairs,
    measures.inception,
    measures.beats,
    measures.entropy,
):
    evaluation.evaluate.command()(measure)
app.add_typer(evaluation.evaluate, name="evaluate")
app.add_typer(data.data, name="data")
app.add_typer(runs.runs, name="runs")
app.add_typer(study.study, name="study")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"echoflow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Synthetic cardiac ultrasound that beats with the ejection fraction you ask for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (default `sys.argv[1:]`) and return its exit code."""
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader went away: nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        app(args=None if argv is None else list(argv), prog_name="echoflow")
    except SystemExit as end:  # typer ends every call this way, also the successful ones
        if end.code == 130:
            typer.echo("Interrupted; what was unfinished is removed, checkpoints stay.", err=True)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        typer.echo("Interrupted; what was unfinished is removed, checkpoints stay.", err=True)
        return 130
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        typer.echo(f"echoflow: {sentence}", err=True)
        return 2
    return 0
