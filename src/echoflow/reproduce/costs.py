"""EchoFlow's Tables 2 and 3 as far as they follow from the networks: parameters, multiply-adds."""

from __future__ import annotations

from echoflow.metrics.report import Report
from echoflow.networks.published import PAPER, line

METRICS = ("params_m", "macs_g")
NOTE = (
    "multiply-adds are counted as the paper's are: by fvcore's rules, norms included, attention "
    "products only in FMvT. A difference of parameters that is no misprint is a figure cut off."
)


def costs(table: int) -> dict[str, Report]:
    """A report for every network that the table prints, in the paper's convention.

    Nothing is measured, so there is no n, no seed and no interval: shapes decide.
    """
    found: dict[str, Report] = {}
    for name, printed in PAPER.items():
        if printed.table == table:
            one = line(name)
            metrics = {"params_m": one.parameters, "macs_g": float(one.as_printed or 0.0)}
            wrong = (printed.wrong_parameters, printed.wrong_macs)
            notes = tuple(f"{name}: {text}." for text in wrong if text)
            settings = {"batch": 1, "pixels": [112, 112]}
            found[name] = Report(name, metrics, 1, settings, notes=(NOTE, *notes))
    return found
