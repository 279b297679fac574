"""Rate and phase of a curve: closed forms, exact phantom hearts, and what is no rhythm."""

import numpy as np
import pytest

from echoflow.data.phantom.clip import beats_of
from echoflow.data.phantom.population import Population
from echoflow.metrics.rhythm import rhythm
from echoflow.types import InputError, View


def wave(rate: float, fps: float, frames: int, ed: float = 0.0) -> np.ndarray:
    """A volume curve with two harmonics whose maximum is at `ed` s."""
    angle = 2 * np.pi * (np.arange(frames) / fps - ed) * rate / 60
    return 100 + 30 * np.cos(angle) + 5 * np.cos(2 * angle)


@pytest.mark.parametrize("rate", [48.0, 70.0, 133.0])
@pytest.mark.parametrize(("fps", "frames"), [(16.0, 32), (50.0, 100)])
def test_a_periodic_curve_is_read_exactly(rate: float, fps: float, frames: int) -> None:
    found = rhythm(wave(rate, fps, frames), fps)
    assert found.rate == pytest.approx(rate, abs=0.05)
    assert found.ed == pytest.approx(0, abs=0.005)
    assert found.systole == pytest.approx(30 / rate, abs=0.01)
    assert found.explained > 0.9999


def test_a_clip_may_begin_anywhere_and_lack_frames() -> None:
    curve = wave(75, 32, 64, ed=0.3)
    curve[[3, 17, 40]] = np.nan
    found = rhythm(curve, 32)
    assert found.ed == pytest.approx(0.3, abs=0.005)
    assert found.phase(0.3 + 2 * 0.8) == pytest.approx(2.0, abs=0.02)
    assert rhythm(wave(75, 32, 64, ed=0.6), 32).ed == pytest.approx(-0.2, abs=0.005)


@pytest.mark.parametrize("cohort", ["adult", "paediatric"])
def test_phantom_hearts_with_irregular_beats(cohort: str) -> None:
    population = Population(30, 5, (cohort,), (View.A4C,), 64, 32.0, 1, 0.0, (15.0, 75.0))
    errors, late = [], []
    for number in range(30):
        heart = population.member(number)
        beats = beats_of(heart, View.A4C, 64, 32.0, 0, 0.0)
        found = rhythm(heart.ventricle.volume(beats.sigma), 32.0)
        errors.append(found.rate - 60 / np.diff(beats.r_times).mean())
        late.append(found.ed)
    assert np.abs(errors).mean() < 0.5
    assert np.abs(errors).max() < 2
    assert np.abs(late).max() < 0.08  # the plateau of isovolumic contraction is 0.05 s long


def test_noise_of_a_segmenter_does_not_double_the_rate() -> None:
    rng = np.random.default_rng(0)
    noisy = [rhythm(wave(66, 16, 32) + rng.normal(0, 5, 32), 16).rate for _ in range(20)]
    assert np.abs(np.array(noisy) - 66).max() < 6


@pytest.mark.parametrize("curve", [np.full(32, 7.0), wave(60, 16, 8), np.full(32, np.nan), []])
def test_what_has_no_rhythm_is_refused(curve: np.ndarray) -> None:
    with pytest.raises(InputError, match="a rhythm needs a curve that moves"):
        rhythm(curve, 16)
