"""Solvers: measured order of convergence, and error at an equal number of network calls.

Order: against the exact solution for Gaussian data, where the error is of the solver alone. Error
per call: on a mixture of two Gaussians, whose field is curved, against Heun on a very fine grid.

    python benchmarks/solvers.py            prints both tables, writes results/solvers.json
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path

import torch
from torch import Tensor
from where import where

from echoflow.condition import over
from echoflow.process import EDM, Field, RectifiedFlow
from echoflow.sampling import STEPS, heun, integrate, noise_like

PROCESSES = {"RectifiedFlow": RectifiedFlow(), "RectifiedFlow shift 3": RectifiedFlow(3.0)}
PROCESSES |= {"EDM": EDM()}
CLAIMED = {"euler": 1, "heun": 2, "multistep": 2}
INTERVALS = (16, 32, 64, 128, 256, 512)
CALLS = (8, 16, 25, 50, 100)
SEED, SAMPLES, FINE = 0, 2000, 3000
MEAN, STD = 1.0, 0.3


def mixture(process: RectifiedFlow | EDM, mean: float, std: float) -> Field:
    """The exact field of data N(+-mean, std^2), each sign with probability 1/2."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        t = over(t, x)
        alpha = process.alpha(t)
        variance = alpha**2 * std**2 + t**2
        sign = torch.tanh(alpha * mean * x / variance)  # posterior mean of the sign
        return (x - (alpha * std**2 * x + mean * sign * t**2) / variance) / t

    return field


def order(process: RectifiedFlow | EDM, solver: str) -> dict:
    """Largest relative error by number of intervals, and the order of the last halving.

    EDM's last interval, sigma_min to 0, does not shrink with the others and is left out.
    """
    errors = []
    x = process.t_max * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    for intervals in INTERVALS:
        grid = process.grid(intervals)
        if isinstance(process, EDM):
            grid = process.grid(intervals + 1)[:-1]
        end = integrate(mixture(process, 0.0, STD), x, grid, STEPS[solver])
        t, t_end = grid[0].item(), grid[-1].item()
        a, b = process.alpha(t), process.alpha(t_end)
        exact = x * math.sqrt((b**2 * STD**2 + t_end**2) / (a**2 * STD**2 + t**2))
        errors.append((end - exact).abs().max().item() / exact.abs().max().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    return {"errors": dict(zip(INTERVALS, errors, strict=True)), "orders": orders}


def error_per_call(process: RectifiedFlow | EDM, solver: str) -> dict[int, float]:
    """Root mean square error of samples by number of network calls."""
    field = mixture(process, MEAN, STD)
    x = process.t_max * noise_like((1,), range(SEED, SEED + SAMPLES)).double()
    best = integrate(field, x, process.grid(FINE), heun)
    steps = {calls: (calls + 1) // 2 if solver == "heun" else calls for calls in CALLS}
    runs = {n: integrate(field, x, process.grid(k), STEPS[solver]) for n, k in steps.items()}
    return {n: (end - best).square().mean().sqrt().item() for n, end in runs.items()}


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """A markdown table on the terminal."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def show(rows: list[dict]) -> None:
    """Both tables."""
    orders = [
        [
            *(r["process"], r["solver"]),
            *map("{:.1e}".format, r["errors"].values()),
            *(f"{r['orders'][-1]:.2f}", str(r["claimed_order"])),
        ]
        for r in rows
    ]
    calls = [
        [r["process"], r["solver"], *map("{:.1e}".format, r["rmse_by_calls"].values())]
        for r in rows
    ]
    head = ["process", "solver"]
    title = f"Order of convergence on N(0, {STD}^2): relative error by intervals"
    table(title, [*head, *map(str, INTERVALS), "order", "claimed"], orders)
    title = f"Samples of N(+-{MEAN:g}, {STD}^2): RMSE by network calls ({SAMPLES} samples)"
    table(title, [*head, *map(str, CALLS)], calls)


def settings() -> dict:
    """Everything that is needed to repeat the figures."""
    return {
        **where(),
        "dtype": "float64",
        "seeds": [SEED, SEED + SAMPLES - 1],
        "processes": {name: asdict(process) for name, process in PROCESSES.items()},
        "order_data": {"mean": 0.0, "std": STD},
        "mixture_data": {"mean": MEAN, "std": STD, "samples": SAMPLES, "reference_steps": FINE},
    }


def main() -> None:
    started = time.perf_counter()
    rows = []
    for (name, process), solver in product(PROCESSES.items(), STEPS):
        row = {"process": name, "solver": solver, "claimed_order": CLAIMED[solver]}
        row |= order(process, solver) | {"rmse_by_calls": error_per_call(process, solver)}
        rows.append(row)
    show(rows)
    seconds = round(time.perf_counter() - started, 1)
    out = Path(__file__).parent / "results" / "solvers.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({**settings(), "seconds": seconds, "rows": rows}, indent=1) + "\n")
    print(f"\nwritten: {out.relative_to(Path(__file__).parents[1])}")


if __name__ == "__main__":
    main()
