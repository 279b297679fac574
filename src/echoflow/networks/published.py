"""What EchoFlow (Reynaud et al. 2025) prints about networks, beside what they are.

Table 2 holds the image models, table 3 the video models: parameters in millions, and 1e9
multiply-adds, which the paper calls FLOPs. They are fvcore's, to which fused attention is
invisible: only for FMvT, whose attention is written out, do they hold the attention products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from echoflow.networks.counting import Cost, cost, parameters
from echoflow.networks.rows import CASCADES
from echoflow.networks.zoo import build

TOLERANCE = 0.01  # of a printed value, which has two to five digits


@dataclass(frozen=True)
class Printed:
    """A row of a table, quoted. What is wrong with a figure is said in words, else nothing is."""

    table: int
    parameters: float
    macs: float
    attention: bool = False
    wrong_parameters: str = ""
    wrong_macs: str = ""


@dataclass(frozen=True)
class Line:
    """A network beside the paper: parameters in millions, multiply-adds in 1e9 at batch 1.

    `as_printed` are the multiply-adds in the paper's convention: fvcore's, norms included. Ratios
    are ours over the paper's.
    """

    name: str
    parameters: float
    with_attention: float
    without_attention: float
    table: int | None = None
    paper_parameters: float | None = None
    parameters_ratio: float | None = None
    as_printed: float | None = None
    paper_macs: float | None = None
    macs_ratio: float | None = None
    remark: str = ""


def _fmit(macs: float, size: str) -> Printed:
    """The parameter column of FMiT is that of the video models, cut off (36.8, 146.7, 512.6)."""
    copied = {"S": 36, "B": 146, "L": 512}
    return Printed(
        2, copied[size], macs, wrong_parameters=f"misprint: {copied[size]} M is FMvT-{size}"
    )


def _fmvt(macs: float) -> Printed:
    return Printed(3, 36, macs, attention=True, wrong_parameters="36.8 M is cut off to 36")


PAPER: dict[str, Printed] = {
    "UNet-S-16f8": Printed(2, 50, 1.30),
    "UNet-B-16f8": Printed(2, 140, 4.22, wrong_macs="misprint: 4.22 G is FMiT-B/2-16f8"),
    "UNet-L-16f8": Printed(2, 560, 14.33),
    "UNet-S-4f4": Printed(2, 50, 5.16),
    "UNet-B-4f4": Printed(2, 140, 14.31),
    "UNet-L-4f4": Printed(2, 560, 57.16),
    "FMiT-S/2-16f8": _fmit(1.06, "S"),
    "FMiT-B/2-16f8": _fmit(4.22, "B"),
    "FMiT-L/2-16f8": _fmit(15.0, "L"),
    "FMiT-S/4-4f4": _fmit(1.06, "S"),
    "FMiT-B/4-4f4": _fmit(4.22, "B"),
    "FMiT-L/4-4f4": _fmit(15.0, "L"),
    "FMiT-S/2-4f4": _fmit(4.19, "S"),
    "FMiT-B/2-4f4": _fmit(16.72, "B"),
    "FMiT-L/2-4f4": _fmit(59.42, "L"),
    "STUNet-S-16f8": Printed(3, 46, 79.86),
    "STUNet-S-4f4": Printed(3, 46, 317.19),
    "FMvT-S/2-16f8": _fmvt(103.51),
    "FMvT-S/4-4f4": _fmvt(103.51),
    "FMvT-S/2-4f4": _fmvt(430.31),
}

IN_ALL = {"4SCM": 95.0}
"""Parameters of all stages of a cascade, from table 3, where EchoDiffusion is compared with."""


def line(name: str) -> Line:
    """The network called `name`, measured, with what the paper prints about it."""
    found, printed = cost(name), PAPER.get(name)
    macs = (found.macs / 1e9, found.linear / 1e9)
    if printed is None:
        return Line(name, found.parameters / 1e6, *macs, remark=_cascade(name))
    parameters, counted = found.parameters / 1e6, found.fvcore(printed.attention) / 1e9
    return Line(
        name,
        parameters,
        *macs,
        table=printed.table,
        paper_parameters=printed.parameters,
        parameters_ratio=parameters / printed.parameters,
        as_printed=counted,
        paper_macs=printed.macs,
        macs_ratio=counted / printed.macs,
        remark=_remark(found, printed),
    )


def _cascade(name: str) -> str:
    """The sum over the stages of a cascade, beside its last one; what is printed is that sum."""
    cascade, _, stage = name.partition("-")
    stages = CASCADES.get(cascade, ())
    if len(stages) < 2 or stage != str(len(stages)):
        return ""
    with torch.device("meta"):
        total = sum(parameters(build(config)) for config in stages) / 1e6
    printed = IN_ALL.get(cascade)
    return f"{cascade} in all: {total:.1f} M" + (
        f"; table 3 prints {printed:.0f} M" if printed else ""
    )


def _remark(found: Cost, printed: Printed) -> str:
    """Which figures agree with the paper's, and why the others do not."""
    off = {
        "parameters": found.parameters / 1e6 / printed.parameters - 1,
        "MACs": found.fvcore(printed.attention) / 1e9 / printed.macs - 1,
    }
    agree = [name for name, gap in off.items() if abs(gap) <= TOLERANCE]
    wrong = [text for text in (printed.wrong_parameters, printed.wrong_macs) if text]
    verdict = {0: "", 1: f"{''.join(agree)} verified", 2: "verified"}[len(agree)]
    return "; ".join(text for text in (verdict, *wrong) if text)
