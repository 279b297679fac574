"""`echoflow evaluate truth`: generated hearts beside the true ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from echoflow.cli.generation import Device, Guidance, Inference, Seed, Steps, Weights
from echoflow.cli.interop import Model
from echoflow.cli.progress import bar
from echoflow.cli.values import check_device, check_inference, efs, views


def truth(
    out: Annotated[Path, typer.Option(help="Report files <out>.html, .md and .json.")] = Path(
        "truth"
    ),
    hearts: Annotated[int, typer.Option(min=2, help="Simulated patients, each in every view.")] = 3,
    view: Annotated[
        str, typer.Option(help="A4C, PSAX, PLAX, several with commas, or all.")
    ] = "all",
    ef: Annotated[
        str, typer.Option(help="EFs in percent to ask for besides each heart's own.")
    ] = "20,45,70",
    quality: Annotated[
        int, typer.Option(min=1, max=4, help="Picture quality, 1 (clean) to 4 (poor).")
    ] = 1,
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    weights: Weights = "nano",
    model: Model = None,
    device: Device = "cpu",
    inference: Inference = "exact",
) -> None:
    """Compare generated hearts with the true ones.

    Of simulated patients it is known how the heart looks at any EF: pixels, cavity, volume, beats
    and identity are compared with that, beside answers that ignore the question. The same command
    goes on behind the videos that are finished.
    """
    asked, chosen = efs(ef), views(view)
    check_device(device)
    setting = check_inference(inference)
    from echoflow.pages.numbers import write
    from echoflow.pages.truth import page
    from echoflow.pipeline import load, weights_print
    from echoflow.truth import Kept, TruthPlan, examine, settings

    plan = TruthPlan(hearts, chosen, asked, seed=seed, quality=quality)
    pipeline = load(weights, device, model or (), setting)
    plan = replace(plan, motion=pipeline.motion.tuned(steps, guidance))
    prints = {"weights": weights_print(weights)}
    follows_from = {**settings(pipeline, plan), **prints, "inference": setting}
    kept = Kept.begin(out.with_name(f"{out.name}.part"), follows_from)
    with bar("videos") as progress:
        found = examine(pipeline, plan, progress, kept)
    reports = [replace(r, fingerprints={**r.fingerprints, **prints}) for r in found.reports()]
    paths = write(out, page(found, reports, weights), reports)
    kept.remove()
    typer.echo(f"{len(plan)} videos compared; open {paths[0]}")
