"""The curves of trainings, drawn off screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from echoflow.metrics.figures import COLOURS, FAINT, png
from echoflow.types import InputError

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Name of a number -> its steps (n,) and values (n,)."""

COLUMNS = 3
SPAN = 50  # steps that a smoothed curve averages over


def drawn(runs: Mapping[str, Curves], smoothed: Callable[[np.ndarray, int], np.ndarray]) -> bytes:
    """PNG: a panel for each number that some run has logged, a colour for each run.

    Numbers of every step are drawn faintly, and their running mean over 50 steps on top.
    """
    names = list(dict.fromkeys(name for curves in runs.values() for name in curves))
    if not names:
        raise InputError("nothing has been logged yet; there are no curves to draw.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(names) // COLUMNS)
    figure = Figure((4.2 * COLUMNS, 2.6 * rows + 0.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        for number, curves in enumerate(runs.values()):
            if name in curves:
                steps, values = curves[name]
                colour = COLOURS[number % len(COLOURS)]
                many = len(values) > 2 * SPAN
                axes.plot(steps, values, color=FAINT if many else colour, lw=0.7)
                if many:
                    axes.plot(steps, smoothed(values, SPAN), color=colour, lw=1.2)
    figure.legend(*_legend(list(runs)), loc="outside lower center", frameon=False, fontsize=8)
    return png(figure)


def _legend(names: list[str]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    colours = [COLOURS[number % len(COLOURS)] for number in range(len(names))]
    return [Line2D([], [], color=colour) for colour in colours], names
