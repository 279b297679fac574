"""The parasternal long axis: left ventricle, mitral valve, left atrium, aortic root, RVOT.

The local z axis points to the right of the picture and y points away from the chest wall, so
y < 0 is the anterior septum and y > 0 the inferolateral wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoflow.data.phantom.canvas import Canvas, Grid, Pose, band, disk, inside, inter, spot, union
from echoflow.data.phantom.motion import LongAxisMotion, State
from echoflow.data.phantom.patient import COHORTS, PhantomPatient
from echoflow.data.phantom.scene import Scene, Sector, two_segments, ventricle_distance
from echoflow.data.phantom.ventricle import PLAX_PHI
from echoflow.types import View

PHIS = (PLAX_PHI + float(np.pi), PLAX_PHI)


@dataclass(frozen=True)
class Root:
    """The aortic root tube at end-diastole: centre (z, y) of the annulus, diameter, direction."""

    z: float
    y: float
    diameter: float
    tilt: float

    def frame(self, z, y) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates along and across the root."""
        dz, dy = z - self.z, y - self.y
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return dz * cos + dy * sin, dy * cos - dz * sin

    def place(self, along, across) -> tuple[np.ndarray, np.ndarray]:
        """Local (z, y) of root coordinates, relative to the centre."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return along * cos - across * sin, along * sin + across * cos


def plax(patient: PhantomPatient, rng: np.random.Generator, contrast: float, tail: float) -> Scene:
    """Paint the view; `contrast` (dB) lightens the tissue outside the heart."""
    sc, heart = patient.scale, patient.ventricle
    tilt = np.deg2rad(np.clip(rng.normal(-4, 6), -16, 8))
    right_space = rng.uniform(13, 20) * sc
    front = rng.uniform(9, 14) * sc + 3.5 * sc + right_space + patient.septum
    depth = front + 2 * patient.a0 + patient.lateral + rng.uniform(30, 42) * sc
    sector = Sector.draw(rng, depth)
    axes = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    base = np.array([rng.uniform(0, 0.12) * patient.l0, front + patient.a0])
    pose = Pose(base - patient.l0 * axes[0], axes)
    grid = Grid.around(pose.local(sector.rim()))
    canvas = Canvas(grid, rng, pose)
    shape = Chambers(patient, canvas.u, canvas.v, right_space, rng)
    _paint(canvas, shape, patient, rng, contrast)
    motion = LongAxisMotion(heart, (patient.septum, patient.lateral), PHIS, shape.roof, sc)
    amplitude = canvas.amplitude(tail)
    root, width = shape.root, 1.1 * sc
    return Scene(
        View.PLAX,
        heart,
        sector,
        pose,
        grid,
        amplitude,
        motion,
        lambda state: _leaflets(patient, root, state),
        width,
    )


class Chambers:
    """Signed distances (mm) of the chambers on the grid."""

    def __init__(self, patient: PhantomPatient, z, y, right_space: float, rng) -> None:
        sc, l0, heart = patient.scale, patient.l0, patient.ventricle
        radii = [
            float(heart.wall_radius(np.asarray(1.0), phi, np.array(heart.a0), np.array(0.0)))
            for phi in PHIS
        ]
        self.rb = radii
        oval = float(heart.ellipse(PLAX_PHI))
        side = 1 / (1 + np.exp(-y / 3))
        self.lv_open = ventricle_distance(heart, z, y, oval)
        self.wall = self.lv_open - (patient.septum + (patient.lateral - patient.septum) * side)
        diameter = min(rng.uniform(27, 32) * sc, 1.25 * radii[0] + 0.75 * patient.septum)
        centre = -radii[0] - 0.75 * patient.septum + 0.5 * diameter
        self.root = Root(l0, centre, diameter, float(np.deg2rad(rng.uniform(-18, 2))))
        self._septum_and_root(patient, z, y)
        self._atrium(patient, z, y, rng)
        self._right_side(patient, z, y, right_space)
        self.lv = inter(self.lv_open, z - l0)

    def _septum_and_root(self, patient: PhantomPatient, z, y) -> None:
        sc = patient.scale
        along, across = self.root.frame(z, y)
        bulge = 1 + 0.14 * np.exp(-(((along - 13 * sc) / (8 * sc)) ** 2))
        self.tube = (np.abs(across) - 0.5 * self.root.diameter * bulge).astype(np.float32)
        self.aorta = inter(self.tube, -along)
        self.root_wall = inter(self.tube - 2.2 * sc, -along - 2 * sc)
        self.anterior = np.abs(across + 0.5 * self.root.diameter)
        self.along = along

    def _atrium(self, patient: PhantomPatient, z, y, rng) -> None:
        sc, l0 = patient.scale, patient.l0
        height = min(1.75 * patient.la_width, 40 * sc)
        length = patient.la_height * rng.uniform(0.85, 1.0)
        top = self.root.y + 0.5 * self.root.diameter + 4 * sc
        slope = np.sin(self.root.tilt) * 0.5 * length
        centre = (l0 + 0.5 * length + 1 * sc, top + 0.5 * height + 0.6 * slope)
        body = disk(z, y, centre, (0.54 * length, 0.5 * height))
        low, high = self.root.y + 0.5 * self.root.diameter + 2 * sc, self.rb[1]
        mouth = inter(np.abs(y - (low + high) / 2) - (high - low) / 2, z - l0 - 0.4 * length)
        self.la = inter(union(body, mouth), l0 - z, -(self.tube - 3 * sc)).astype(np.float32)
        self.roof = l0 + 1.05 * length
        at = (l0 + rng.uniform(0.15, 0.5) * length, centre[1] + 0.5 * height + 11 * sc)
        self.descending = disk(z, y, at, (10 * sc, 9 * sc)).astype(np.float32)

    def _right_side(self, patient: PhantomPatient, z, y, right_space: float) -> None:
        sc, l0 = patient.scale, patient.l0
        upper = -self.rb[0] - 0.75 * patient.septum
        line = np.minimum(y, 0)
        septal = np.where(z < l0, self.wall + 0 * line, self.tube - 3.0 * sc)
        top = -patient.a0 - patient.septum - right_space
        rise = np.sin(self.root.tilt) * np.maximum(z - l0, 0)
        ceiling = top + 0.5 * rise - y
        tip = 0.18 * l0
        lift = right_space * np.clip(1 - (z - tip) / (0.5 * l0), 0, 1) ** 2
        self.rvot = inter(-septal + 0.5, ceiling + lift, y - upper + 2, tip - z).astype(np.float32)
        self.free_wall = inter(ceiling + lift - 4 * sc, y - upper + 2, tip - z - 6 * sc).astype(
            np.float32
        )


def _paint(canvas: Canvas, shape: Chambers, patient: PhantomPatient, rng, contrast: float) -> None:
    z, y, sc, l0 = canvas.u, canvas.v, patient.scale, patient.l0
    body = inter(shape.wall, z - l0 - 3 * sc)
    outline = union(body, shape.free_wall, shape.root_wall, shape.la - 3 * sc)
    canvas.background(outline, contrast, 0.12)
    canvas.fill(outline, -22 + 1.2 * canvas.fine)
    posterior = inside((10 - y) / 1.0, 6.0)
    canvas.add((6 + rng.uniform(0, 12)) * posterior * band(outline, 0.8, 2.0))
    canvas.fill(body, -19.5 + 1.6 * canvas.fine)
    canvas.add(5 * band(shape.lv_open, 1.0, 1.2) * (z < l0))
    canvas.fill(shape.root_wall, -15.0)
    canvas.add(6 * band(shape.la, 1.4, 1.3))
    canvas.fill(shape.rvot, -60.0)
    canvas.add(26 * np.clip(canvas.fine - 1.1, 0, 1.3) * inside(shape.rvot) * (z < 0.8 * l0))
    canvas.fill(shape.la, -62.0, 0.8)
    canvas.fill(shape.lv, -64.0, 0.8)
    canvas.fill(shape.aorta, -62.0, 0.8)
    canvas.fill(shape.descending, -52.0)
    if patient.papillary:
        muscle = disk(z, y, (0.5 * l0, 0.72 * patient.a0), (9 * sc, 3.6 * sc))
        canvas.fill(inter(muscle, shape.lv), -25)
    for at, gain in (
        ((l0, shape.rb[1] + 1.5), 12.0),
        ((l0, shape.root.y + 0.5 * shape.root.diameter + 1), 8.0),
        ((l0, shape.root.y - 0.5 * shape.root.diameter), 6.0),
    ):
        canvas.add(gain * spot(z, y, at, 3.4 * sc))
    chambers = (shape.lv, shape.rvot, shape.la, shape.aorta)
    canvas.light(union(*chambers), 11.0)


def _leaflets(patient: PhantomPatient, root: Root, state: State) -> np.ndarray:
    """Mitral leaflets and aortic cusps as polylines (t, 4, 3, 2)."""
    heart, kind = patient.ventricle, COHORTS[patient.cohort]
    base = np.asarray(1.0)
    front, back = (heart.wall_radius(base, p, state.radius, state.sigma) for p in PHIS)
    shrink = front / float(heart.wall_radius(base, PHIS[0], np.array(heart.a0), np.array(0.0)))
    half = 0.5 * root.diameter * shrink
    centre = root.y * shrink
    upper, orifice = centre + half, back - centre - half
    at = np.stack([state.length, upper], -1), np.stack([state.length, back], -1)
    closed = 1.05 if kind.tethered else 0.90
    motion = 0.5 * state.aortic if kind.anterior_motion else 0.0
    length = np.maximum(orifice, 6 * patient.scale)[:, None]
    mitral = [
        two_segments(at[0], 1.05 * length, closed + 0.95 * state.mitral + motion, 1.0),
        two_segments(at[1], 0.62 * length, closed + 0.65 * state.mitral, -1.0),
    ]
    cusps = [_cusp(root, state, centre, half, side) for side in (-1.0, 1.0)]
    return np.stack(mitral + cusps, 1)


def _cusp(root: Root, state: State, centre, half, side: float) -> np.ndarray:
    """An aortic cusp (t, 3, 2): on the root axis when closed, along the wall when open."""
    gap = 0.12 + 0.82 * state.aortic
    reach = (0.0, 0.50, 0.85)
    across = (np.ones_like(gap), 0.35 + 0.60 * state.aortic, gap - 0.12 * (1 - state.aortic))
    joints = []
    for along, part in zip(reach, across, strict=True):
        z, y = root.place(along * half, side * part * half)
        joints.append(np.stack([state.length + z, centre + y], -1))
    return np.stack(joints, 1)
