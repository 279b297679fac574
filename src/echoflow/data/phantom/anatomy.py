"""What annotators would measure in a clip besides the cavity, from its truth alone.

Label maps of the apical view (cavity, myocardium, left atrium) and calipers of the parasternal long
axis (septum, diameter, posterior wall), in the geometry that was rendered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoflow.data.phantom import a4c, plax
from echoflow.data.phantom.motion import LongAxisMotion, State
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.data.phantom.truth import CHORDS, Truth
from echoflow.types import InputError, View

CAVITY, MYOCARDIUM, ATRIUM = 1, 2, 3  # label values, as CAMUS numbers them
CALIPER_CHORD = 14  # of 20 from the apex: at the tips of the mitral leaflets


@dataclass(frozen=True)
class Caliper:
    """A linear measurement: `cm`, and its two ends (2, 2) as `x, y` in px of the clip."""

    cm: float
    ends: np.ndarray


def labels(truth: Truth, frame: int, pixels: np.ndarray) -> np.ndarray:
    """Label map uint8 (h, w) of an A4C frame at `pixels` (h, w, 2), given as `x, y` of the clip.

    The cavity is whole, also where the sector cuts it off in the picture.
    """
    _refuse_other(truth, View.A4C)
    patient = PhantomPatient.of(truth.parameters)
    z, y = _along_and_across(truth, frame, pixels)
    wall = max(patient.septum, patient.lateral)
    wide = max(patient.a0, patient.la_width) + 2 * wall + abs(patient.bend)
    roof = patient.l0 + patient.la_height + wall
    near = (z > -2 * wall) & (z < roof) & (np.abs(y) < 1.5 * wide)
    out = np.zeros(z.shape, dtype=np.uint8)
    out[near] = _labels_at(truth, patient, frame, z[near], y[near])
    return out


def _along_and_across(
    truth: Truth, frame: int, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm from the apex, along the axis and across it (right of it is positive)."""
    apex, base = truth.tracing(frame)[0].reshape(2, 2)
    along = (base - apex) / np.hypot(*(base - apex))
    x, y = ((pixels[..., i] - apex[i]) * truth.mm_per_px for i in range(2))
    across = x * along[1] - y * along[0]
    return (x * along[0] + y * along[1]).astype(np.float32), across.astype(np.float32)


def _labels_at(
    truth: Truth, patient: PhantomPatient, frame: int, z: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Labels (p,) of points in the frame of the ventricle: the painted shapes, pulled back."""
    heart, length = patient.ventricle, truth.length[frame]
    roof = heart.l0 + patient.la_height
    motion = LongAxisMotion(heart, (patient.septum, patient.lateral), a4c.PHIS, roof, patient.scale)
    state = _still(truth, frame)
    then_z, then_y = (moved[0] for moved in motion(z[None], y[None], state))
    # the generator only shapes the right atrium, which has no label
    shape = a4c.Chambers(patient, then_z, then_y, np.random.default_rng(0))
    level = np.clip(z / length, 0, 1)
    aside = y - heart.centre(level)
    now, _ = motion.endocardium(level, aside > 0, np.float32(truth.radius[frame]), state.sigma)
    ventricular = z <= length
    out = np.zeros(z.shape, dtype=np.uint8)
    out[ventricular & (shape.wall < 0)] = MYOCARDIUM
    out[~ventricular & (shape.la < 0)] = ATRIUM
    out[ventricular & (z >= 0) & (np.abs(aside) < now)] = CAVITY
    return out


def _still(truth: Truth, frame: int) -> State:
    """The geometry of one frame."""
    one = slice(frame, frame + 1)
    zero = np.zeros(1)
    return State(
        sigma=truth.sigma[one],
        length=truth.length[one],
        radius=truth.radius[one],
        mitral=zero,
        aortic=zero,
        twist=zero,
        phase=zero,
        drift=np.zeros((1, 2)),
    )


def calipers(truth: Truth, frame: int) -> dict[str, Caliper]:
    """LVPW, LVID and IVS of a PLAX frame, one chain from the posterior wall to the septum.

    They lie on one line and share their ends; walls thicken as the incompressible tissue does.
    """
    _refuse_other(truth, View.PLAX)
    septal, posterior = truth.tracing(frame)[1 + CALIPER_CHORD].reshape(2, 2)
    forward = (septal - posterior) / np.hypot(*(septal - posterior))
    front, back = (_thickness(truth, frame, side) / truth.mm_per_px for side in (0, 1))
    stops = [posterior - back * forward, posterior, septal, septal + front * forward]
    return {
        name: Caliper(
            float(np.hypot(*(end - start))) * truth.mm_per_px / 10, np.stack([start, end])
        )
        for name, start, end in zip(("LVPW", "LVID", "IVS"), stops, stops[1:], strict=False)
    }


def _thickness(truth: Truth, frame: int, side: int) -> float:
    """Thickness in mm of the septum (side 0) or the posterior wall (1) at the calipers."""
    patient = PhantomPatient.of(truth.parameters)
    heart, phi = patient.ventricle, plax.PHIS[side]
    wall = (patient.septum, patient.lateral)[side]
    zeta = np.asarray((CALIPER_CHORD + 0.5) / CHORDS)
    sigma = truth.sigma[frame]
    now = heart.wall_radius(zeta, phi, truth.radius[frame], sigma)
    then = heart.wall_radius(zeta, phi, np.asarray(heart.a0), np.asarray(0.0))
    shortening = truth.length[frame] / heart.l0
    outer = np.sqrt(now**2 + ((then + wall) ** 2 - then**2) / shortening)
    return float(outer - now)


def _refuse_other(truth: Truth, view: View) -> None:
    if truth.view is not view:
        raise InputError(f"this measurement needs a clip in {view.name}; got {truth.view.name}.")
