"""Data simple enough to know the answer: exact fields, exact paths, and stored golden values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.process import EDM, Field, Network, Process, RectifiedFlow

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
PROCESSES: dict[str, Process] = {
    "flow": RectifiedFlow(),
    "flow-shifted": RectifiedFlow(shift=2.0),
    "edm": EDM(),
}
MEAN, STD = 0.7, 0.4


def gaussian(process: Process, mean: float = MEAN, std: float = STD) -> Field:
    """The exact field of data N(mean, std^2): x0_hat is the posterior mean."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        t = over(t, x)
        alpha = process.alpha(t)
        gain = alpha * std**2 / (alpha**2 * std**2 + t**2)
        return (x - mean - gain * (x - alpha * mean)) / t

    return field


def transported(process: Process, x: Tensor, t: float, t_next: float) -> Tensor:
    """The exact solution of the Gaussian's ODE: the standard score of x never changes."""
    (a, b), (s, s_next) = (process.alpha(t), process.alpha(t_next)), (t, t_next)
    spread = math.sqrt((b**2 * STD**2 + s_next**2) / (a**2 * STD**2 + s**2))
    return b * MEAN + spread * (x - a * MEAN)


def network(process: Process, field: Field) -> Network:
    """The network, in the process's own output, whose field is `field`."""

    def flow(x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return field(x, t)

    def edm(x: Tensor, c_noise: Tensor, cond: Condition) -> Tensor:
        assert isinstance(process, EDM)
        t, d = (4 * c_noise).exp(), process.sigma_data
        scale = over((t**2 + d**2).sqrt(), x)
        return (over(t, x) / scale * x - field(x * scale, t)) * scale / d

    return edm if isinstance(process, EDM) else flow


class Counted:
    """A field that counts its calls and keeps what it was asked."""

    def __init__(self, field: Field) -> None:
        self.field, self.asked = field, []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v = self.field(x, t)
        self.asked.append((x, t, v))
        return v


def golden(name: str) -> tuple[dict[str, Tensor], dict]:
    path = GOLDEN / f"{name}.safetensors"
    if not path.exists():
        pytest.skip("golden data are not beside this checkout")
    from safetensors.torch import load_file

    return load_file(path), json.loads(path.with_suffix(".json").read_text())
