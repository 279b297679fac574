"""Diagrams of agreement: two measurements of one thing, two curves, two videos and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.metrics.figures import (
    COLOURS,
    INK,
    MARKERS,
    axes_row,
    captioned,
    png,
    shades,
    side_by_side,
)
from echoflow.types import InputError

Picture = NDArray[np.uint8]
Curves = tuple[ArrayLike, ArrayLike]
"""The true and the generated values of one quantity, frame by frame."""


def bland_altman(
    groups: Mapping[str, tuple[ArrayLike, ArrayLike]], unit: str = "EF, points"
) -> bytes:
    """Difference of two measurements against their mean, with bias and limits of agreement.

    Each group is (reference, measured). The limits are bias +- 1.96 standard deviations of all
    differences (Bland and Altman 1986): about 95 % of single videos lie between them.
    """
    pairs = {name: (np.asarray(a, float), np.asarray(b, float)) for name, (a, b) in groups.items()}
    apart = np.concatenate([b - a for a, b in pairs.values()]) if pairs else np.empty(0)
    if len(apart) < 2:
        raise InputError(f"limits of agreement need at least 2 pairs; got {len(apart)}.")
    bias, reach = float(apart.mean()), 1.96 * float(apart.std(ddof=1))
    figure, (axes,) = axes_row(1, 5.2, 4.0)
    for (name, (a, b)), colour, marker in zip(pairs.items(), COLOURS, MARKERS, strict=False):
        style = {"s": 26, "c": colour, "marker": marker, "edgecolor": "white", "linewidth": 0.5}
        axes.scatter((a + b) / 2, b - a, label=name, zorder=3, **style)
    for level, dash, word in (
        (bias, "-", "bias"),
        (bias - reach, "--", "-1.96 SD"),
        (bias + reach, "--", "+1.96 SD"),
    ):
        axes.axhline(level, color=INK, lw=1.0, ls=dash)
        axes.annotate(
            f"{word} {level:+.1f}",
            (1.0, level),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.axhline(0, color=INK, lw=0.5, ls=":")
    span = max(abs(bias) + reach, float(np.abs(apart).max())) * 1.15 + 1e-9
    axes.set(ylim=(-span, span), xlabel=f"mean of both ({unit})", ylabel="measured - reference")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return png(figure)


def volume_curves(
    charts: Mapping[str, Mapping[str, Curves]],
    fps: float | Sequence[float],
    sides: tuple[str, str] = ("true", "found"),
) -> bytes:
    """True (solid) and generated (dashed) volume in percent of the largest, against time in s.

    A panel per heart, at one frame rate or a rate for each, a colour per EF; the legend has those
    of the last panel. A name that begins with an underscore is left out of it. Frames without a
    volume leave a gap.
    """
    figure, grid = axes_row(len(charts), 3.3, 2.8)
    rates = [fps] * len(charts) if isinstance(fps, float | int) else fps
    for axes, (title, curves), rate in zip(grid, charts.items(), rates, strict=True):
        for (name, (true, found)), colour in zip(curves.items(), shades(len(curves)), strict=True):
            for values, dash, label in ((true, "-", name), (found, "--", None)):
                y = 100 * np.asarray(values, float)
                axes.plot(np.arange(len(y)) / rate, y, dash, color=colour, lw=1.4, label=label)
        axes.set(xlabel="time (s)", title=title, ylim=(0, 105))
    grid[0].set_ylabel("volume (% of largest)")
    handles, labels = grid[-1].get_legend_handles_labels()
    for side, dash in zip(sides, ("-", "--"), strict=True):
        handles.append(grid[-1].plot([], [], dash, color=INK, lw=1.4)[0])
        labels.append(side)
    grid[-1].legend(handles, labels, frameon=False, fontsize=8, bbox_to_anchor=(1.0, 1.0))
    return png(figure)


def difference(a: Picture, b: Picture) -> Picture:
    """`a - b` of two videos of one shape as grey: 128 where equal, brighter where `a` is brighter.

    Halved, so that it fits into 8 bits.
    """
    if a.shape != b.shape:
        raise InputError(f"videos of two shapes have no difference: {a.shape} and {b.shape}.")
    return (128 + (a.astype(np.int16) - b.astype(np.int16)) // 2).clip(0, 255).astype(np.uint8)


def comparison(
    rows: Sequence[tuple[Picture, Picture]],
    words: Sequence[str],
    columns: tuple[str, str, str] = ("true", "generated", "generated - true"),
    scale: int = 2,
    differ: bool = True,
) -> Picture:
    """A film: in each row a true video, the generated one and, if they `differ`, the difference.

    `words[i]` is put above the first video of row i; the columns are named in every row.
    """
    if not rows or len(rows) != len(words):
        raise InputError(f"{len(rows)} pairs of videos need as many titles; got {len(words)}.")
    lines = []
    for (true, made), word in zip(rows, words, strict=True):
        first = f"{word}: {columns[0]}" if word else columns[0]
        titles = (first, *columns[1:])
        tiles = (true, made, difference(made, true)) if differ else (true, made)
        shown = [captioned(tile, title, scale) for tile, title in zip(tiles, titles, strict=False)]
        lines.append(side_by_side(shown))
    return np.concatenate(lines, axis=1)
