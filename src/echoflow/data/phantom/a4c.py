"""The apical four-chamber view: both ventricles and both atria, apex under the probe."""

from __future__ import annotations

import numpy as np

from echoflow.data.phantom.canvas import Canvas, Grid, Pose, band, disk, inside, inter, spot, union
from echoflow.data.phantom.motion import LongAxisMotion, State
from echoflow.data.phantom.patient import COHORTS, PhantomPatient
from echoflow.data.phantom.scene import Scene, Sector, two_segments, ventricle_distance
from echoflow.types import View

PHIS = (float(np.pi), 0.0)


def a4c(patient: PhantomPatient, rng: np.random.Generator, contrast: float, tail: float) -> Scene:
    """Paint the view; `contrast` (dB) lightens the tissue outside the heart."""
    sc, heart = patient.scale, patient.ventricle
    apex = rng.uniform(8, 20) * sc
    tilt = np.deg2rad(rng.normal(-1, 6))
    depth = apex + patient.l0 + patient.la_height + rng.uniform(8, 28) * sc
    sector = Sector.draw(rng, depth)
    along = np.array([-np.sin(tilt), np.cos(tilt)])
    across = np.array([np.cos(tilt), np.sin(tilt)])
    pose = Pose(np.array([rng.normal(7, 3) * sc, apex]), np.stack([along, across]))
    grid = Grid.around(pose.local(sector.rim()))
    canvas = Canvas(grid, rng, pose)
    shape = Chambers(patient, canvas.u, canvas.v, rng)
    _paint(canvas, shape, patient, contrast)
    motion = LongAxisMotion(heart, (patient.septum, patient.lateral), PHIS, shape.roof, sc)
    return Scene(
        View.A4C,
        heart,
        sector,
        pose,
        grid,
        canvas.amplitude(tail),
        motion,
        lambda state: _leaflets(patient, shape.rv_base, state),
        1.1 * sc,
    )


def septal_edge(patient: PhantomPatient, z: np.ndarray) -> np.ndarray:
    """y of the right side of the septum at end-diastole."""
    heart = patient.ventricle
    zeta = np.clip(z / heart.l0, 0, 1)
    radius = heart.wall_radius(zeta, np.pi, np.array(heart.a0), np.array(0.0))
    return heart.centre(zeta) - radius - patient.septum


class Chambers:
    """Signed distances (mm) of the chambers on the grid, and the landmarks between them."""

    def __init__(self, patient: PhantomPatient, z, y, rng: np.random.Generator) -> None:
        sc, heart = patient.scale, patient.ventricle
        self.side = 1 / (1 + np.exp(-y / 3))
        wall = patient.septum + (patient.lateral - patient.septum) * self.side
        self.lv_open = ventricle_distance(heart, z, y, 1.0)
        self.lv = inter(self.lv_open, z - heart.l0)
        cap = 1 - 0.3 * np.exp(-((np.maximum(z, 0) / (0.12 * heart.l0)) ** 2))
        self.wall = inter(self.lv_open - wall * cap, z - heart.l0 - 2)
        base = np.asarray(1.0)
        self.rb = float(heart.wall_radius(base, 0.0, np.array(heart.a0), np.array(0.0)))
        self._right_ventricle(patient, z, y)
        self._atria(patient, z, y, rng)
        pad = 3.2 * sc
        self.outline = union(
            self.wall, self.rv - 1.1 * pad, self.la - 0.8 * pad, self.ra - 0.8 * pad
        )

    def _right_ventricle(self, patient: PhantomPatient, z, y) -> None:
        sc, l0 = patient.scale, patient.l0
        self.rv_base = l0 - 5 * sc
        start = patient.rv_apex * l0
        s = np.clip((z - start) / (self.rv_base - start), 0, 1.15)
        width = patient.rv_width * s**0.75 * (1 - 0.12 * s**3)
        edge = septal_edge(patient, z)
        self.free_wall = edge - width
        left = inter(self.free_wall - y, y - edge)
        self.rv = inter(left, start - z, z - self.rv_base).astype(np.float32)
        at = np.asarray(self.rv_base)
        self.rv_hinges = (
            float(septal_edge(patient, at) - patient.rv_width * 0.88),
            float(septal_edge(patient, at)),
        )

    def _atria(self, patient: PhantomPatient, z, y, rng: np.random.Generator) -> None:
        sc, l0 = patient.scale, patient.l0
        left, right = self.rv_hinges
        self.septum_y = -self.rb - 0.45 * patient.septum
        la_w = max(patient.la_width, self.rb + 1.0)
        self.roof = l0 + patient.la_height
        centre = self.septum_y + 2.0 * sc + la_w
        body = disk(z, y, (l0 + 0.5 * patient.la_height, centre), (0.52 * patient.la_height, la_w))
        mouth = inter(np.abs(y) - self.rb, l0 - z, z - l0 - 0.5 * patient.la_height)
        self.la = inter(union(body, mouth), l0 - z).astype(np.float32)
        ra_w = la_w * rng.uniform(0.85, 1.05)
        ra_h = patient.la_height * rng.uniform(0.88, 1.02)
        ra_y = self.septum_y - 2.0 * sc - ra_w
        body = disk(z, y, (self.rv_base + 0.5 * ra_h, ra_y), (0.52 * ra_h, ra_w))
        inner = (max(left, ra_y - ra_w), min(right, self.septum_y - 2 * sc))
        mouth = inter(
            np.abs(y - sum(inner) / 2) - (inner[1] - inner[0]) / 2,
            self.rv_base - z,
            z - self.rv_base - 0.4 * ra_h,
        )
        self.ra = inter(union(body, mouth), self.rv_base - z).astype(np.float32)
        self.middle = l0 + 0.45 * patient.la_height


def _paint(canvas: Canvas, shape: Chambers, patient: PhantomPatient, contrast: float) -> None:
    z, y, sc = canvas.u, canvas.v, patient.scale
    canvas.background(shape.outline, contrast, 0.10)
    behind = inside((shape.roof + 2 - z) / 1.0, 4.0) * np.exp(-((y / (60 * sc)) ** 2))
    canvas.add(11 * behind)
    canvas.fill(shape.outline, -22 + 1.2 * canvas.fine)
    lateral = 1 / (1 + np.exp(-(y - 8) / 6))
    roof = 1 / (1 + np.exp(-(z - shape.roof + 6) / 4))
    canvas.add(12 * np.maximum(0.75 * lateral, roof) * band(shape.outline, 0.8, 2.0))
    canvas.fill(inter(shape.rv - 3.5 * sc, z - shape.rv_base), -17 + 1.6 * canvas.fine)
    canvas.fill(shape.wall, -20 + 1.6 * canvas.fine + 3 * (1 - shape.side))
    canvas.add(4 * band(shape.lv_open, 1.0, 1.2) * (z < patient.l0))
    atria = union(shape.la, shape.ra)
    canvas.add(7 * band(atria, 1.4, 1.3) * (z > patient.l0 - 6 * sc))
    between = inter(shape.la - 3 * sc, shape.ra - 3 * sc)
    canvas.fill(between, -17 - 9 * spot(z, y, (shape.middle, shape.septum_y), 6 * sc))
    for chamber, level in ((shape.rv, -62), (shape.la, -63), (shape.ra, -62), (shape.lv, -64)):
        canvas.fill(chamber, float(level), 0.8)
    _texture(canvas, shape, patient)
    for at, gain in _fibrous(shape, patient):
        canvas.add(gain * spot(z, y, at, 3.4 * sc))
    canvas.light(union(shape.lv, shape.rv, shape.la, shape.ra), 10.0)


def _texture(canvas: Canvas, shape: Chambers, patient: PhantomPatient) -> None:
    """Trabeculae of the right ventricle and of the apex, and the lateral papillary muscle."""
    z, y, l0 = canvas.u, canvas.v, patient.l0
    speckles = 26 * np.clip(canvas.fine - 1.1, 0, 1.3)
    canvas.add(speckles * inside(shape.rv) * np.clip(1.3 - z / l0, 0, 1))
    canvas.add(speckles * inside(shape.lv) * np.exp(-((z / (0.22 * l0)) ** 2)))
    if patient.papillary:
        at = (0.56 * l0, 0.74 * patient.a0)
        muscle = disk(z, y, at, (10 * patient.scale, 3.6 * patient.scale))
        canvas.fill(inter(muscle, shape.lv), -27)


def _fibrous(shape: Chambers, patient: PhantomPatient):
    """Bright hinge points: (z, y) and gain in dB."""
    l0 = patient.l0
    yield (l0, shape.rb + 1.5), 9.0
    yield (l0 - 1, -shape.rb - 0.5 * patient.septum), 12.0
    yield (shape.rv_base, shape.rv_hinges[0] - 1), 8.0


def _leaflets(patient: PhantomPatient, rv_base: float, state: State) -> np.ndarray:
    """Mitral and tricuspid leaflets as polylines (t, 4, 3, 2)."""
    heart, kind = patient.ventricle, COHORTS[patient.cohort]
    base = np.asarray(1.0)
    rb = [heart.wall_radius(base, phi, state.radius, state.sigma) for phi in PHIS]
    closed = 0.5 if kind.tethered else 0.30
    angle = closed + 1.05 * state.mitral
    length = state.length
    mean = (rb[0] + rb[1]) / 2
    anterior = angle + (0.35 * state.aortic if kind.anterior_motion else 0)
    stretch = np.cos(0.30) / np.cos(closed)
    leaves = [
        _leaf(length, -rb[0], 1.16 * stretch * mean, anterior, 1.0),
        _leaf(length, rb[1], 0.92 * stretch * mean, angle, -1.0),
    ]
    right_z = rv_base - (heart.l0 - length)
    septal = -rb[0] - patient.septum
    width = patient.rv_width * 0.88
    tricuspid = 0.30 + 1.05 * state.mitral
    leaves += [
        _leaf(right_z, septal, 0.48 * width * np.ones_like(length), tricuspid, -1.0),
        _leaf(right_z, septal - width, 0.58 * width * np.ones_like(length), tricuspid, 1.0),
    ]
    return np.stack(leaves, 1)


def _leaf(z, y, length, angle, inward: float) -> np.ndarray:
    """One leaflet per frame (t, 3, 2)."""
    hinge = np.stack(np.broadcast_arrays(z, y), -1)
    return two_segments(hinge, length[:, None], angle, inward)
