"""Conventions of the released training code where they differ from ours."""

from __future__ import annotations

from torch import Tensor

from echoflow.condition import over

OFFSET = 1e-5


def offset_pair(
    x0: Tensor, noise: Tensor, t: Tensor, offset: float = OFFSET
) -> tuple[Tensor, Tensor]:
    """x_t and the target v of the released flow matching, whose path keeps `offset` of the noise.

    x_t = (1 - t) x0 + (e + (1 - e) t) noise and v = (1 - e) noise - x0, so at t = 0 a trace of the
    noise is left. `RectifiedFlow` is e = 0, as in the paper; the two differ by at most e per unit.
    """
    t = over(t, x0)
    return (1 - t) * x0 + (offset + (1 - offset) * t) * noise, (1 - offset) * noise - x0
