"""`echoflow from-mask`: a segmentation in, a video out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from echoflow.cli.generation import Device, Seed
from echoflow.cli.values import check_device, refuse_given, video_path
from echoflow.types import InputError, View, check_ef

if TYPE_CHECKING:
    import numpy as np

    from echoflow.freeecho.made import FromLabels
    from echoflow.metrics.cavity import Finder

_RATE = 60.0  # beats per minute


def from_mask(
    mask: Annotated[
        Path,
        typer.Argument(
            metavar="MASK",
            help="Image of the left ventricle, 0 and 255, or of labels: 0 outside the sector, 1 "
            "sector, 2 left ventricle, 3 myocardium, 4 left atrium; at end-diastole.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Video file: .mp4, .gif or .avi.")] = Path("clip.mp4"),
    ef: Annotated[
        float | None,
        typer.Option(
            help="Ejection fraction in percent; without it the pseudo-video stands still."
        ),
    ] = None,
    view: Annotated[str | None, typer.Option(help="A4C (default), PSAX or PLAX.")] = None,
    seed: Seed = 0,
    weights: Annotated[
        str,
        typer.Option(
            help="nano, another bundle or release, or Free-Echo's: a checkpoint, or a run folder."
        ),
    ] = "nano",
    start: Annotated[
        int | None, typer.Option(min=0, help="Step at which the pseudo-video enters.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Solver steps in all.")] = None,
    transfer: Annotated[
        str | None,
        typer.Option(help="How greys are carried over: entropic (default), nearest or quantile."),
    ] = None,
    reg: Annotated[
        float | None,
        typer.Option(help="Entropy of the transport: 0.1 (default) as released, 0.001 as printed."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Image whose greys to take; default those of phantoms.")
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="Of the labels: free-echo, camus or cavity; auto tells by values if it can."
        ),
    ] = "auto",
    sector: Annotated[
        Path | None, typer.Option(help="Image that is bright where the scanner sees.")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring a map of another size to the model's.")
    ] = False,
    heart_rate: Annotated[
        float | None, typer.Option(help="Beats per minute, with --ef; default 60.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, help="With a Free-Echo checkpoint: 24 (default), the paper's, or 16, its code's."
        ),
    ] = None,
    insertion: Annotated[
        str | None, typer.Option(help="With Free-Echo's weights: paper (default), or as released.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="With Free-Echo's weights: free-echo (default), or its baselines sdedit, labels."
        ),
    ] = None,
    told: Annotated[
        str | None,
        typer.Option(help="What a Free-Echo checkpoint was told of: nothing, sector or labels."),
    ] = None,
    pseudo: Annotated[
        Path | None, typer.Option(help="Also write the pseudo-video, to see what was asked.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Make a video from one segmentation, after Free-Echo.

    With nano, or other EchoFlow weights, the heart is drawn into the mask and beats as the mask
    would with the EF asked for; no network was trained for that. The same seed gives the same
    video.
    """
    video_path(out)
    if pseudo is not None and video_path(pseudo, "--pseudo").resolve() == out.resolve():
        raise InputError(f"--pseudo and --out are both {out}; give each a file of its own.")
    if transfer == "quantile":
        refuse_given({"--reg": reg}, "for a transport with entropy, which quantile has none of")
    if ef is not None:
        check_ef(ef)
    known = View.parse(view or "A4C")
    check_device(device)
    from echoflow.data.labels import load_labels
    from echoflow.data.video import write_video
    from echoflow.freeecho import latent, model
    from echoflow.freeecho.transfer import RELEASED, Transfer

    carry = Transfer(cast(Any, transfer or RELEASED.method), RELEASED.reg if reg is None else reg)
    greys = None if reference is None else _still(reference)
    rate = _RATE if heart_rate is None else heart_rate
    shape = (cast(Any, layout), sector, resize)
    painted = {"--transfer": transfer, "--reg": reg, "--reference": reference}
    moved = {"--heart-rate": heart_rate}
    if model.is_freeecho(weights):
        shown = {"--insertion": insertion, "--pseudo": pseudo, "--ef": ef, "--view": view}
        _refuse_baseline(method, painted, shown | moved)
        _refuse_still(ef, moved | {"--view": view})
        one = model.load(weights, cast(Any, told), device, frames)
        labels = load_labels(mask, one.size, *shape)
        ways = (cast(Any, insertion or "paper"), cast(Any, method or "free-echo"))
        plan = model.planned(steps, start, ways[1])
        made = one.from_labels(labels, ef, known, seed, plan, carry, greys, rate, *ways)
        finder = None
    else:
        from echoflow.cli.cascade import is_cascade
        from echoflow.pipeline import load

        own = {"--method": method, "--insertion": insertion, "--told": told, "--frames": frames}
        refuse_given(own, "for the weights of Free-Echo, not for latent models")
        _refuse_still(ef, moved)
        if is_cascade(weights, ()):
            raise InputError(
                f"{weights} holds a cascade, which begins from a frame: `echoflow animate FRAME "
                f"--weights {weights}`."
            )
        pipeline, labels = load(weights, device), load_labels(mask, latent.SIZE, *shape)
        plan, finder = latent.started(pipeline.motion, steps, start), pipeline.finder
        if not plan.start_index:
            refuse_given(painted | moved, "for a pseudo-video, which plays no part from step 0 on")
        made = latent.from_labels(pipeline, labels, ef, known, seed, plan, carry, greys, rate)
    write_video(out, made.video, made.fps)
    if pseudo is not None:
        write_video(pseudo, made.pseudo, made.fps)
    typer.echo(_told(made, ef, finder) + f"; the video is {out}")


def _refuse_baseline(
    method: str | None, painted: Mapping[str, object], shown: Mapping[str, object]
) -> None:
    """`InputError` for options of a pseudo-video that a baseline of Table 1 does not have."""
    unused = {"sdedit": painted, "labels": {**painted, **shown}}.get(method or "", {})
    refuse_given(unused, f"for a pseudo-video, which {method} does without")


def _refuse_still(ef: float | None, moved: Mapping[str, object]) -> None:
    """`InputError` for options of a pseudo-video that moves, where no EF makes it move."""
    if ef is None:
        refuse_given(moved, "for a pseudo-video that moves, as it does with --ef")


def _told(made: FromLabels, ef: float | None, finder: Finder | None) -> str:
    """What was asked for and, where the cavity can be found, how well it is followed."""
    asked = "no EF asked for" if ef is None else f"EF {ef:g} % asked for"
    if finder is None:
        return asked
    return f"{asked}, cavity as asked by Dice {made.adherence(finder).mean():.2f} over the cycle"


def _still(path: Path) -> np.ndarray:
    """The first frame of an image or video, uint8 (h, w), with greys to take."""
    from echoflow.data.video import read_gray

    still = read_gray(path)[0][0]
    if still.min() == still.max():
        raise InputError(
            f"{path} is {still.min()} all over; give a picture with the greys of an echocardiogram."
        )
    return still
