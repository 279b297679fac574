"""The cardiac cycle in time: beats, volume curve, valve openings, respiration.

A beat starts at the R wave: isovolumic contraction, ejection, isovolumic relaxation, E wave,
diastasis, A wave. Volumes are regularised incomplete beta functions, so the flow is smooth and the
extremes are exact plateaus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

IVC = 0.05  # isovolumic contraction, s


@dataclass(frozen=True)
class Phases:
    """Onsets and durations in s within one beat of length `rr`."""

    rr: float
    ejection: float
    relaxation: float
    e_wave: float
    a_wave: float

    @classmethod
    def of(cls, rr: float, heart_rate: float, lvet_factor: float) -> Phases:
        """Ejection by Weissler's regression, at most half of the beat; the rest fills."""
        ejection = min((413 - 1.7 * heart_rate) / 1000 * lvet_factor, 0.5 * rr)
        relaxation = min(0.075, 0.12 * rr)
        rest = rr - IVC - ejection - relaxation - 0.01
        a_wave = min(0.13, 0.38 * rest)
        return cls(rr, ejection, relaxation, min(0.21, 0.97 * (rest - a_wave)), a_wave)

    @property
    def e_onset(self) -> float:
        return IVC + self.ejection + self.relaxation

    @property
    def a_onset(self) -> float:
        return self.rr - 0.01 - self.a_wave


@dataclass(frozen=True)
class Cycle:
    """State of the heart per frame, all (t,): `sigma` 0 at end-diastole and 1 at end-systole.

    `respiration` is a unit sine, `walk` a Wiener process (s^.5) for slow through-plane motion.
    """

    time: np.ndarray
    sigma: np.ndarray
    mitral: np.ndarray
    aortic: np.ndarray
    respiration: np.ndarray
    walk: np.ndarray
    r_times: np.ndarray


def _pulse(x: np.ndarray, p: float, q: float) -> np.ndarray:
    """Beta-shaped pulse on [0, 1] with maximum 1."""
    x = np.clip(x, 0, 1)
    mode = (p - 1) / (p + q - 2)
    return (x / mode) ** (p - 1) * ((1 - x) / (1 - mode)) ** (q - 1)


def contraction(tau: np.ndarray, ph: Phases, e_fraction: float) -> np.ndarray:
    """sigma at `tau` seconds after the R wave."""
    ejected = betainc(1.9, 2.3, np.clip((tau - IVC) / ph.ejection, 0, 1))
    early = betainc(1.8, 2.6, np.clip((tau - ph.e_onset) / ph.e_wave, 0, 1))
    late = betainc(2.2, 2.2, np.clip((tau - ph.a_onset) / ph.a_wave, 0, 1))
    return ejected - e_fraction * early - (1 - e_fraction) * late


def valves(tau: np.ndarray, ph: Phases) -> tuple[np.ndarray, np.ndarray]:
    """Mitral and aortic opening in [0, 1] at `tau` seconds after the R wave."""
    early = _pulse((tau - ph.e_onset) / ph.e_wave, 1.8, 2.6) ** 0.6
    late = 0.8 * _pulse((tau - ph.a_onset) / ph.a_wave, 2.2, 2.2)
    between = (tau > ph.e_onset + 0.5 * ph.e_wave) & (tau < ph.a_onset + 0.5 * ph.a_wave)
    mitral = np.maximum(np.maximum(early, late), np.where(between, 0.28, 0.0))
    aortic = np.minimum(1, 1.6 * _pulse((tau - IVC) / ph.ejection, 1.5, 1.7))
    return mitral, aortic


def beat_times(
    rng: np.random.Generator, rr: float, jitter: float, phase: float, end: float
) -> np.ndarray:
    """R-wave times that cover [0, end]; frame 0 lies at `phase` of the first beat."""
    count = int(np.ceil(end / (rr * 0.6))) + 3
    lengths = rr * np.clip(1 + jitter * rng.standard_normal(count), 0.7, 1.4)
    return np.concatenate([[0.0], np.cumsum(lengths)]) - phase * lengths[0]


def cycle(
    rng: np.random.Generator,
    time: np.ndarray,
    heart_rate: float,
    jitter: float,
    lvet_factor: float,
    e_fraction: float,
    phase: float | None,
) -> Cycle:
    """The state at each of the sample times (s, from 0)."""
    first = float(rng.uniform()) if phase is None else phase
    onsets = beat_times(rng, 60 / heart_rate, jitter, first, float(time[-1]))
    beat = np.searchsorted(onsets, time + 1e-9, side="right") - 1
    sigma, mitral, aortic = (np.zeros(len(time)) for _ in range(3))
    for index in np.unique(beat):
        here = beat == index
        phases = Phases.of(float(onsets[index + 1] - onsets[index]), heart_rate, lvet_factor)
        tau = np.maximum(time[here] - onsets[index], 0)
        sigma[here] = contraction(tau, phases, e_fraction)
        mitral[here], aortic[here] = valves(tau, phases)
    breathing = np.sin(2 * np.pi * (rng.uniform(0.2, 0.33) * time + rng.uniform()))
    step = np.diff(time, prepend=time[0])
    walk = np.cumsum(rng.standard_normal(len(time)) * np.sqrt(step))
    seen = onsets[(onsets >= 0) & (onsets <= time[-1])]
    return Cycle(time, np.clip(sigma, 0, 1), mitral, aortic, breathing, walk, seen)
