"""The parasternal short axis at the papillary muscles: a ring, with the right ventricle beside."""

from __future__ import annotations

import numpy as np

from echoflow.data.phantom.canvas import Canvas, Grid, Pose, band, disk, inside, inter, union
from echoflow.data.phantom.motion import ShortAxisMotion
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.data.phantom.scene import Scene, Sector
from echoflow.types import View

LEVEL = 0.55  # zeta of the slice


def psax(patient: PhantomPatient, rng: np.random.Generator, contrast: float, tail: float) -> Scene:
    """Paint the view; `contrast` (dB) lightens the tissue outside the heart."""
    sc, heart = patient.scale, patient.ventricle
    size = max(sc, (patient.a0 + 1.15 * patient.septum) / 36)
    depth = rng.uniform(108, 135) * size
    sector = Sector.draw(rng, depth)
    centre = np.array([rng.normal(3, 3) * sc, rng.uniform(0.46, 0.55) * depth])
    pose = Pose(centre, np.eye(2))
    grid = Grid.around(pose.local(sector.rim()))
    canvas = Canvas(grid, rng, pose)
    motion = ShortAxisMotion(heart, LEVEL, (patient.septum, patient.lateral))
    _paint(canvas, motion, patient, rng, contrast)
    amplitude = canvas.amplitude(tail)
    return Scene(View.PSAX, heart, sector, pose, grid, amplitude, motion, None, 1.1 * sc)


def _paint(
    canvas: Canvas,
    motion: ShortAxisMotion,
    patient: PhantomPatient,
    rng: np.random.Generator,
    contrast: float,
) -> None:
    x, y = canvas.u, canvas.v
    theta, r = np.arctan2(y, x), np.hypot(x, y)
    zero = np.array(0.0)
    endo = motion.endocardium(theta, np.array(patient.a0), zero)
    lv = (r - endo).astype(np.float32)
    wall = lv - motion.wall(theta)
    rv, free = _right_ventricle(patient, x, y, wall, rng)
    outline = union(wall, free)
    canvas.background(outline, contrast, 0.12)
    canvas.fill(outline, -21 + 1.2 * canvas.fine)
    posterior = inside((8 - y) / 1.0, 8.0)
    canvas.add((4 + rng.uniform(0, 11) * posterior) * band(outline, 0.8, 2.0))
    canvas.fill(wall, -19.5 + 1.6 * canvas.fine)
    canvas.add(5 * band(lv, 1.0, 1.2))
    canvas.fill(rv, -61.0)
    trabeculae = 26 * np.clip(canvas.fine - 1.1, 0, 1.3)
    canvas.add(trabeculae * inside(rv))
    canvas.fill(lv, -64.0, 0.8)
    for low, high in ((25, 48), (128, 152)):
        _papillary(canvas, motion, patient, lv, np.deg2rad(rng.uniform(low, high)), rng)
    canvas.light(union(lv, rv, np.abs(wall) + 0.5), 11.0)


def _right_ventricle(patient: PhantomPatient, x, y, wall, rng) -> tuple[np.ndarray, np.ndarray]:
    """The crescent towards the upper left, and the outer border of its free wall."""
    angle = np.deg2rad(rng.uniform(5, 40))
    toward = np.array([-np.cos(angle), -np.sin(angle)])
    along = x * toward[0] + y * toward[1]
    across = -x * toward[1] + y * toward[0]
    reach = 0.9 * patient.a0 + patient.septum
    half = (0.62 * patient.rv_width, 1.0 * (patient.a0 + 0.5 * patient.septum))
    body = disk(along, across, (reach, 0.0), half)
    cavity = inter(body, 0.8 - wall)
    return cavity.astype(np.float32), (body - 3.5 * patient.scale).astype(np.float32)


def _papillary(canvas, motion, patient, lv, angle: float, rng) -> None:
    """One papillary muscle on the wall, `angle` below the horizontal."""
    sc = patient.scale
    at = float(motion.endocardium(angle, np.array(patient.a0), np.array(0.0))[0]) - 4.2 * sc
    along = canvas.u * np.cos(angle) + canvas.v * np.sin(angle)
    across = canvas.v * np.cos(angle) - canvas.u * np.sin(angle)
    radii = (rng.uniform(5.0, 6.5) * sc, rng.uniform(3.8, 5.5) * sc)
    muscle = disk(along, across, (at, 0.0), radii)
    canvas.fill(muscle, -20 + 1.6 * canvas.fine)
