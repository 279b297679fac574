"""Laws of the beat: exact extremes, order of the valves, the phase of frame 0."""

from __future__ import annotations

import numpy as np
import pytest

from echoflow.data.phantom.cycle import Cycle, Phases, contraction, cycle, valves


def beats(rate: float = 70, phase: float | None = 0.0, fps: float = 50, seed: int = 0) -> Cycle:
    rng = np.random.default_rng(seed)
    return cycle(rng, np.arange(150) / fps, rate, 0.02, 1.0, 0.68, phase)


@pytest.mark.parametrize("rate", [45, 70, 120, 180])
def test_contraction_runs_from_zero_to_one_and_back(rate: float) -> None:
    phases = Phases.of(60 / rate, rate, 1.0)
    tau = np.linspace(0, phases.rr, 4001)
    sigma = contraction(tau, phases, 0.68)
    assert sigma[0] == 0
    assert abs(sigma[-1]) < 1e-9
    assert sigma.max() == pytest.approx(1, abs=1e-12)
    rising = np.diff(sigma[: int(np.argmax(sigma)) + 1])
    assert (rising >= -1e-12).all()
    assert (np.diff(sigma[tau > phases.e_onset]) <= 1e-12).all()


@pytest.mark.parametrize("rate", [50, 70, 110])
def test_samples_reach_both_extremes(rate: float) -> None:
    for phase in (None, 0.0, 0.5):
        sigma = beats(rate, phase).sigma
        assert sigma.min() < 1e-4
        assert sigma.max() > 1 - 1e-4


def test_frame_zero_is_the_r_wave_when_asked() -> None:
    state = beats(phase=0.0)
    assert state.sigma[0] == 0
    assert state.r_times[0] == 0


def test_valves_are_never_open_together() -> None:
    phases = Phases.of(60 / 70, 70, 1.0)
    mitral, aortic = valves(np.linspace(0, phases.rr, 2001), phases)
    assert (np.minimum(mitral, aortic) < 1e-9).all()
    assert mitral.max() > 0.95
    assert aortic.max() == 1
