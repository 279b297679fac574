"""The pictures of a report, drawn with matplotlib off screen and returned as PNG bytes.

White paper and dark ink also on a dark page: a figure is often copied out of its page.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoflow.metrics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73")  # told apart by colour-blind readers
MARKERS = ("o", "s", "^")
INK, FAINT = "#22303c", "#c8d0d8"


def asked_measured(
    groups: Mapping[str, tuple[ArrayLike, ArrayLike]], floor: float | None, ruler: str = "regressor"
) -> bytes:
    """EF asked against EF measured, a colour and marker per group.

    `floor` is the ruler's own mean error on videos of known EF: a band about the diagonal.
    """
    figure, axes = _sheet(5.2, 4.6)
    ends = np.array([0.0, 100.0])
    axes.plot(ends, ends, color=INK, lw=1, label="obeyed exactly")
    if floor is not None:
        axes.fill_between(
            ends,
            ends - floor,
            ends + floor,
            color=FAINT,
            alpha=0.6,
            lw=0,
            label=f"{ruler}'s own error, {floor:.1f}",
        )
    for (name, (asked, measured)), colour, marker in zip(
        groups.items(), COLOURS, MARKERS, strict=False
    ):
        axes.scatter(
            np.asarray(asked),
            np.asarray(measured),
            s=26,
            c=colour,
            marker=marker,
            edgecolor="white",
            linewidth=0.5,
            label=name,
            zorder=3,
        )
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="EF asked for (%)", ylabel="EF measured (%)")
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
    return png(figure)


def similarities(groups: Mapping[str, ArrayLike], taus: Mapping[str, float]) -> bytes:
    """Histograms of each group's highest similarity to a training patient, with every tau."""
    figure, axes = _sheet(6.4, 3.4)
    values = {name: np.asarray(v, float) for name, v in groups.items() if np.size(v)}
    everything = np.concatenate([*values.values(), list(taus.values())])
    low, high = everything.min() - 1e-3, everything.max() + 1e-3
    bins = np.linspace(low, high, 31).tolist()
    for (name, v), colour in zip(values.items(), (*COLOURS, INK), strict=False):
        weights = np.full(len(v), 100.0 / len(v))
        axes.hist(
            v, bins, weights=weights, color=colour, alpha=0.45, label=f"{name} (n = {len(v)})"
        )
        axes.hist(v, bins, weights=weights, color=colour, histtype="step", lw=1.2)
    for (name, tau), style in zip(taus.items(), ("--", "-.", ":"), strict=False):
        axes.axvline(tau, color=INK, lw=1.2, ls=style, label=f"tau {name} {tau:.4f}")
    axes.set(xlabel="correlation with the nearest training patient", ylabel="share (%)")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return png(figure)


def ef_histograms(groups: Mapping[str, ArrayLike]) -> bytes:
    """EF in percent of each group, in steps of 5, as shares so that splits can be compared."""
    figure, axes = _sheet(6.0, 3.4)
    bins = np.arange(0, 101, 5.0)
    for (name, values), colour in zip(groups.items(), (*COLOURS, INK), strict=False):
        v = np.asarray(values, float)
        shares = 100 * np.histogram(v, bins)[0] / len(v)
        label = f"{name} (n = {len(v):,}), {v.mean():.1f} \u00b1 {v.std():.1f}"
        axes.stairs(shares, bins, color=colour, lw=1.5, label=label)
        axes.axvline(float(v.mean()), color=colour, lw=1.0, ls=":")
    axes.set(xlim=(0, 100), xlabel="EF (%)", ylabel="share of the split (%)")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return png(figure)


def printed_and_measured(
    panels: Mapping[str, Mapping[str, tuple[float | None, float | None, Interval | None]]],
    paper: str,
    on: str,
) -> bytes:
    """A panel per metric, a line per row: the number of the paper, ours, and our interval.

    The scales of the panels are their own; rows run from the top.
    """
    names = list(next(iter(panels.values()))) if panels else []
    width, height = 2.6, max(1.8, 0.27 * len(names) + 1.0)
    figure, grid = axes_row(max(1, len(panels)), width, height, most=4)
    places = np.arange(len(names))
    for axes, (metric, rows) in zip(grid, panels.items(), strict=False):
        axes.set(title=metric, ylim=(len(names) - 0.4, -0.6))
        axes.set_yticks(places, names, fontsize=8)
        quoted = np.array([rows[name][0] for name in names], float)  # None becomes nan
        ours = np.array([rows[name][1] for name in names], float)
        axes.plot(quoted, places, "D", mfc="none", color=COLOURS[1], ms=6, label=f"paper, {paper}")
        axes.plot(ours, places, "o", color=COLOURS[0], ms=4.5, label=f"ours, {on}")
        for place, name in enumerate(names):
            interval = rows[name][2]
            if interval is not None:
                axes.plot(interval, (place, place), color=COLOURS[0], lw=1.4)
    if panels:
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return png(figure)


def area_curves(panels: Mapping[str, Mapping[str, ArrayLike]], fps: float) -> bytes:
    """Cavity area in percent of its largest against time: a panel per heart, a line per EF."""
    figure, grid = axes_row(len(panels), 3.1, 2.6)
    for axes, (title, curves) in zip(grid, panels.items(), strict=True):
        for (name, curve), colour in zip(curves.items(), shades(len(curves)), strict=True):
            values = np.asarray(curve, float)
            percent = 100 * values / max(values.max(), 1.0)
            axes.plot(np.arange(len(values)) / fps, percent, color=colour, lw=1.4, label=name)
        axes.set(xlabel="time (s)", title=title, ylim=(0, 105))
    grid[0].set_ylabel("cavity area (% of largest)")
    grid[-1].legend(frameon=False, fontsize=8, title="EF asked", bbox_to_anchor=(1.0, 1.0))
    return png(figure)


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    names: Sequence[str],
    titles: Sequence[Sequence[str]],
) -> bytes:
    """Grey pictures (h, w) in rows, a name left of each row, titles above the pictures of a row.

    `titles[i]` belongs to row i and may be empty.
    """
    columns = max(len(row) for row in rows)
    figure, grid = _grid(len(rows), columns)
    for axes_row, row, name, words in zip(grid, rows, names, titles, strict=True):
        for axes in axes_row:
            axes.set(xticks=[], yticks=[])
            axes.set_frame_on(False)
        for axes, picture in zip(axes_row, row, strict=False):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
        for axes, word in zip(axes_row, words, strict=False):
            axes.set_title(word, fontsize=8, color="white", pad=3)
        axes_row[0].set_ylabel(name, fontsize=9, color="white")
    return png(figure, facecolor="black")


def captioned(video: NDArray[np.uint8], text: str, scale: int = 2) -> NDArray[np.uint8]:
    """A video (t, h, w) enlarged `scale` times with a line of text burnt in above the picture."""
    from PIL import Image, ImageDraw, ImageFont

    _, height, width = video.shape
    banner = Image.new("L", (width * scale, 22), 0)
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(banner).text((width * scale / 2, 11), text, 235, font, anchor="mm")
    size = (width * scale, height * scale)
    frames = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in video]
    return np.stack([np.concatenate([np.asarray(banner), frame]) for frame in frames])


def side_by_side(videos: Sequence[NDArray[np.uint8]], gap: int = 4) -> NDArray[np.uint8]:
    """Videos (t, h, w) of one shape next to each other, with black gaps."""
    first = videos[0]
    bar = np.zeros((*first.shape[:2], gap), np.uint8)
    parts = [part for video in videos for part in (bar, video)][1:]
    return np.concatenate(parts, axis=2)


def shades(n: int) -> list[tuple[float, ...]]:
    from matplotlib import colormaps

    return [colormaps["viridis"](x) for x in np.linspace(0.0, 0.88, n)]


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    figure, grid = axes_row(1, width, height)
    return figure, grid[0]


def axes_row(charts: int, width: float, height: float, most: int = 99) -> tuple[Figure, list[Axes]]:
    """Charts side by side with a common scale, each `width` x `height` inches, `most` in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = min(charts, most), -(-charts // most)
    figure = Figure((width * columns, height * rows), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    grid: list[Axes] = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
    for axes in grid[:charts]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=FAINT, lw=0.5, alpha=0.6)
        axes.set_axisbelow(True)
    for axes in grid[charts:]:
        axes.set_visible(False)
    return figure, grid[:charts]


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((1.25 * columns + 0.3, 1.25 * rows + 0.3), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def png(figure: Figure, facecolor: str = "white") -> bytes:
    """The figure as a file, without the name of the program that drew it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=facecolor, metadata={"Software": None})
    return buffer.getvalue()
