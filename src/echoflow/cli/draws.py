"""`echoflow evaluate draws`: EchoDiffusion's protocol, with a cascade and a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from echoflow.cli.evaluation import SCORES_LEGEND, files
from echoflow.cli.progress import bar
from echoflow.types import InputError, choose

if TYPE_CHECKING:
    from echoflow.drawn import Drawn
    from echoflow.judges import Regressor
    from echoflow.metrics.lpips import Lpips
    from echoflow.metrics.report import Report
    from echoflow.training.options import FrameFrom


def draws(
    dataset: Annotated[Path, typer.Argument(help="Recorded videos with their EF.")],
    weights: Annotated[str, typer.Option(help="A published cascade, or runs of its stages.")],
    model: Annotated[str | None, typer.Option(help="Which one, such as 2SCM.")] = None,
    out: Annotated[Path, typer.Option(help="The score file.")] = Path("scores.csv"),
    videos: Annotated[
        Path | None, typer.Option(help="Also keep the videos, as a dataset in this new folder.")
    ] = None,
    ef: Annotated[
        str, typer.Option(help="factual: the video's own; or a range to draw from, as 15:85.")
    ] = "factual",
    count: Annotated[int, typer.Option("--draws", min=1, help="Draws of each video.")] = 3,
    split: Annotated[str, typer.Option(help="TRAIN, VAL, TEST or all.")] = "VAL",
    n: Annotated[int | None, typer.Option(min=1, help="Videos, drawn once; default all.")] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            help="Where the still is from: clip, video, or first, the frame before the clip; "
            "default as the weights were trained."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="What measures the EF: weights with a regressor, or the folder of an EF network "
            "or of its training. Default nano, for phantoms alone."
        ),
    ] = None,
    lpips: Annotated[
        Path | None, typer.Option(help="Folder with vgg16's file; without it LPIPS stays empty.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of every stage.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="Scale; 1 is none.")] = None,
    solver: Annotated[str | None, typer.Option(help="heun, euler or multistep.")] = None,
    churn: Annotated[
        float | None, typer.Option(min=0, help="S_churn; 0: none, deterministic.")
    ] = None,
    settings: Annotated[
        str | None, typer.Option(help="Of published weights: ours (default), code, paper.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    inference: Annotated[str, typer.Option(help="exact, bf16 or compiled.")] = "exact",
) -> None:
    """EchoDiffusion's protocol: videos animated several times, scored one by one.

    Writes a score file in the published columns and prints its table, as `evaluate scores` does;
    the report beside it also names the networks that measured. With --videos the draws become a
    dataset that every other command takes. The same command goes on behind the videos that are
    finished.
    """
    from echoflow.cascade_files import fingerprint_of as cascade_print
    from echoflow.cascade_weights import SettingsName, load
    from echoflow.cli.cascade import plans_of
    from echoflow.cli.values import check_device, check_inference, ef_range
    from echoflow.data.sources import open_source
    from echoflow.distances import fingerprint_of
    from echoflow.drawn import Drawn
    from echoflow.draws import FRAMES, Subject, Task, frame_of, measured_by, some, unread
    from echoflow.judges import sha256_of
    from echoflow.metrics.scores import report, to_markdown
    from echoflow.rulers import caveats, ruler
    from echoflow.types import Split

    check_device(device)
    bounds = None if ef == "factual" else ef_range(ef)
    own = None if frame is None else cast("FrameFrom", choose(frame, FRAMES, "frame"))
    manifest = open_source(dataset)
    part = None if split == "all" else Split(choose(split, [str(s) for s in Split], "split"))
    records = some(manifest.of(part), n, seed)
    if not records:
        raise InputError(f"{dataset} has no videos of split {split}; choose another by --split.")
    judged = ruler(judge, records)
    chosen = cast("SettingsName | None", settings)
    cascade = load(weights, model, chosen, device, check_inference(inference))
    task = Task(count, bounds, own or frame_of(weights, model), seed)
    plans = plans_of(cascade, steps, guidance, solver, churn)
    regressor, perceptual = _judges(judged, lpips)
    subject = Subject.of(cascade, plans)
    follows = {
        "dataset": fingerprint_of(manifest),
        "weights": cascade_print(weights, model),
        "model": str(model),
        "settings": settings or "ours",
        "plans": str(plans),
        "inference": inference,
        "judge": sha256_of(regressor.net)[:16],
        "lpips": str(perceptual and perceptual.sha256),
    }
    kept = None
    if videos is not None:
        follows["kept"] = "videos"
        told = {**follows, "task": str(task), "split": split, "n": str(n)}
        kept = Drawn(videos, out, told)
    given = (subject, manifest, records, task, measured_by(regressor), perceptual, out)
    _draw(given, follows, kept)
    found, rows = report(out, seed=seed)
    page = f"{to_markdown(rows)}\n\n{found.n} videos in {out}\n\n{SCORES_LEGEND}\n"
    notes = (*caveats(judged, records), *unread(len(records), found.n))
    churns = [plan.churn.amount if plan.churn else 0.0 for plan in plans]
    found = _named(found, follows, split, {**asdict(task), "churn": churns}, notes)
    page += f"\n{found.about()}\n"
    files(out.with_suffix(""), found, f"# {out}\n\n{page}")
    typer.echo(page, nl=False)


def _draw(given: tuple[Any, ...], follows: Mapping[str, str], kept: Drawn | None) -> None:
    """What `score` makes of what it is given, and the dataset of its videos where one is wanted."""
    from echoflow.draws import score

    if kept is None or not kept.all_there():
        with bar("videos") as progress:
            keep = None if kept is None else kept.keep
            left = score(*given, progress=progress, follows=follows, keep=keep)
        for uid, reason in left.items():
            typer.echo(f"{uid} is left out: {reason}", err=True)
    if kept is not None:
        made = kept.finish(given[2])
        typer.echo(f"{len(made.records)} videos in {kept.out}\n")


def _named(
    report: Report,
    follows: Mapping[str, str],
    split: str,
    task: Mapping[str, object],
    notes: tuple[str, ...],
) -> Report:
    """A report of scores with what they were measured on, and by which networks."""
    settings = {**task, **report.settings, "split": split, "lpips_sha256": follows["lpips"]}
    own = {name: follows[name] for name in ("weights", "model", "plans", "inference")}
    prints = {"data": follows["dataset"], "regressor": follows["judge"]}
    prints |= {"weights": " ".join(own.values())}
    prints = {**report.fingerprints, **prints}
    told = (*notes, *report.notes)
    return replace(report, settings=settings, fingerprints=prints, notes=told)


def _judges(weights: str, lpips: Path | None) -> tuple[Regressor, Lpips | None]:
    """What measures the EF, and how different two videos look."""
    from echoflow.metrics.lpips import Lpips
    from echoflow.rulers import regressor_of

    return regressor_of(weights), None if lpips is None else Lpips("vgg", lpips)
