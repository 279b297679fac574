"""What is exactly known about a phantom clip: volumes, masks, tracings, events."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from echoflow.data.phantom.cycle import Cycle
from echoflow.data.phantom.motion import LongAxisMotion, ShortAxisMotion, State
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.data.phantom.render import SIZE, sector_mask
from echoflow.data.phantom.scene import Scene
from echoflow.types import InputError, View

CHORDS = 20


@dataclass(frozen=True)
class Truth:
    """Exact labels. Per frame: volume mL, length and equatorial radius mm, sigma, valve openings.

    `mask` (t, 112, 112) is the cavity of the left ventricle (papillary muscles count as cavity)
    inside the sector; `ed` and `es` are the frames of the largest and the smallest volume.
    """

    volume: np.ndarray
    length: np.ndarray
    radius: np.ndarray
    sigma: np.ndarray
    mitral_open: np.ndarray
    aortic_open: np.ndarray
    r_times: np.ndarray
    mask: np.ndarray
    ed: int
    es: int
    ef: float
    edv: float
    esv: float
    mm_per_px: float
    view: View
    patient: int
    parameters: dict
    chords: np.ndarray = field(repr=False)

    def tracing(self, frame: int) -> np.ndarray:
        """(21, 4) rows x1, y1, x2, y2 in px: the long axis from the apex, then 20 chords.

        In A4C the chords are the 20 disks of Simpson's rule. PLAX gives the same for its plane;
        in PSAX row 0 is the vertical diameter and the chords cut the ring from top to bottom.
        """
        if not 0 <= frame < len(self.chords):
            raise InputError(f"frame must lie in [0, {len(self.chords) - 1}]; got {frame}.")
        return self.chords[frame]


def truth_of(patient: PhantomPatient, scene: Scene, state: State, beats: Cycle) -> Truth:
    """Evaluate the geometry that was rendered."""
    volume = scene.heart.volume(state.sigma)
    return Truth(
        volume=volume,
        length=state.length,
        radius=state.radius,
        sigma=state.sigma,
        mitral_open=beats.mitral,
        aortic_open=beats.aortic,
        r_times=beats.r_times,
        mask=cavity_masks(scene, state),
        ed=int(np.argmax(volume)),
        es=int(np.argmin(volume)),
        ef=patient.ef,
        edv=patient.edv,
        esv=patient.esv,
        mm_per_px=scene.sector.mm_per_px,
        view=scene.view,
        patient=patient.patient,
        parameters=patient.parameters(),
        chords=_chords(scene, state),
    )


def _pixels(scene: Scene, clipped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pixels (in the sector) and their local coordinates (p, 2) in mm."""
    sector = scene.sector
    seen = sector_mask(sector)
    index = np.flatnonzero(seen) if clipped else np.arange(seen.size)
    x, y = index % SIZE - sector.apex[0], index // SIZE - sector.apex[1]
    return index, scene.pose.local(np.stack([x, y], -1) * sector.mm_per_px).astype(np.float32)


def cavity_masks(scene: Scene, state: State, clipped: bool = True) -> np.ndarray:
    """Cavity masks (t, 112, 112), by default only what the sector shows."""
    index, points = _pixels(scene, clipped)
    drift = scene.pose.turned(state.drift).astype(np.float32)
    out = np.zeros((len(state.sigma), SIZE * SIZE), dtype=bool)
    for start in range(0, len(out), 8):
        part = slice(start, start + 8)
        u, v = points[:, 0] - drift[part, :1], points[:, 1] - drift[part, 1:]
        out[part, index] = _inside(scene, u, v, state.frames(part))
    return out.reshape(-1, SIZE, SIZE)


def _inside(scene: Scene, u: np.ndarray, v: np.ndarray, state: State) -> np.ndarray:
    """Whether the points (t, p) lie in the cavity."""
    sigma, radius = (x[:, None].astype(np.float32) for x in (state.sigma, state.radius))
    motion = scene.motion
    if isinstance(motion, ShortAxisMotion):
        theta = np.arctan2(v, u) - state.twist[:, None]
        return np.hypot(u, v) < motion.endocardium(theta, radius, sigma)
    zeta = u / state.length[:, None].astype(np.float32)
    level = np.clip(zeta, 0, 1)
    across = v - scene.heart.centre(level)
    now, _ = motion.endocardium(level, across > 0, radius, sigma)
    return (zeta >= 0) & (zeta <= 1) & (np.abs(across) < now)


def _chords(scene: Scene, state: State) -> np.ndarray:
    """Tracings (t, 21, 4) of all frames in px."""
    motion = scene.motion
    local = (
        _ring_chords(motion, state)
        if isinstance(motion, ShortAxisMotion)
        else _axis_chords(scene, motion, state)
    )
    drift = state.drift[:, None, None, :]
    pixels = (scene.pose.probe(local) + drift) / scene.sector.mm_per_px + scene.sector.apex
    return pixels.reshape(len(local), CHORDS + 1, 4)


def _axis_chords(scene: Scene, motion: LongAxisMotion, state: State) -> np.ndarray:
    """Long axis and the middles of 20 disks, local (t, 21, 2, 2)."""
    heart = scene.heart
    length, sigma = state.length[:, None], state.sigma[:, None]
    zeta = (np.arange(CHORDS)[None, :] + 0.5) / CHORDS
    out = np.zeros((len(length), CHORDS + 1, 2, 2))
    out[:, 0, 1, 0] = state.length
    centre = heart.centre(zeta)
    for end, (phi, side) in enumerate(zip(motion.phis, (-1, 1), strict=True)):
        radius = heart.wall_radius(zeta, phi, state.radius[:, None], sigma)
        out[:, 1:, end, 0] = zeta * length
        out[:, 1:, end, 1] = centre + side * radius
    return out


def _ring_chords(motion: ShortAxisMotion, state: State) -> np.ndarray:
    """Horizontal chords of the ring from top to bottom, local (t, 21, 2, 2)."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, 181)
    out = np.zeros((len(state.sigma), CHORDS + 1, 2, 2))
    for frame in range(len(out)):
        radius, sigma = state.radius[frame], state.sigma[frame]
        sides = []
        for angle in (np.pi - theta, theta):
            r = motion.endocardium(angle - state.twist[frame], radius, sigma)
            sides.append((r * np.cos(angle), r * np.sin(angle)))
        low = max(side[1][0] for side in sides)
        high = min(side[1][-1] for side in sides)
        level = low + (np.arange(CHORDS) + 0.5) / CHORDS * (high - low)
        out[frame, 0] = [[0, low], [0, high]]
        for end, (x, y) in enumerate(sides):
            out[frame, 1:, end] = np.stack([np.interp(level, y, x), level], -1)
    return out
