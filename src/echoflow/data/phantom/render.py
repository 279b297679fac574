"""From a moving scene to ultrasound pictures: warp, speckle, beam, noise, display, scan conversion.

Everything happens on a polar grid of 168 depths by 128 lines, a few frames at a time so that the
work stays in the cache. Complex speckle is multiplied in the material frame: strain decorrelates
it, rigid motion does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from echoflow.data.phantom.canvas import TEXEL
from echoflow.data.phantom.motion import State
from echoflow.data.phantom.scene import Scene, Sector, to_polyline
from echoflow.data.phantom.style import DEPTHS, LINES, Style

SIZE = 112
CHUNK = 4
WAVENUMBER = 10.5  # rad of speckle phase per mm along the beam
LOOKS = 3  # compounded intensities
LOOK_STEP = 4.0  # rad of phase field between looks: independent after the beam
NOISE_FRAMES = 6
LEAFLET = 10 ** (-11 / 20)  # amplitude of a valve leaflet
TAPS = 3, 4  # half widths of the axial and lateral kernels


@dataclass(frozen=True)
class Fan:
    """Polar sample points: positions and beam directions (168 * 128, 2), probe frame, mm."""

    points: np.ndarray
    beams: np.ndarray

    @classmethod
    def of(cls, sector: Sector) -> Fan:
        r = (np.arange(DEPTHS) + 0.5) / DEPTHS * sector.depth
        theta = ((np.arange(LINES) + 0.5) / LINES * 2 - 1) * sector.half_angle
        beams = np.stack([np.sin(theta), np.cos(theta)], -1)
        points = r[:, None, None] * beams
        every = np.broadcast_to(beams, points.shape)
        return cls(points.reshape(-1, 2), every.reshape(-1, 2).copy())


def scan_converter(sector: Sector) -> csr_matrix:
    """Matrix (112 * 112, 168 * 128) that samples the fan bilinearly at the pixel centres."""
    x, y = np.meshgrid(np.arange(SIZE) - sector.apex[0], np.arange(SIZE) - sector.apex[1])
    depth = np.hypot(x, y) / sector.radius * DEPTHS - 0.5
    line = (np.arctan2(x, y) / sector.half_angle + 1) / 2 * LINES - 0.5
    seen = (depth < DEPTHS - 0.5) & (line > -0.5) & (line < LINES - 0.5)
    pixel = np.flatnonzero(seen)
    depth = np.clip(depth[seen], 0, DEPTHS - 1.001)
    line = np.clip(line[seen], 0, LINES - 1.001)
    i, j = depth.astype(np.int32), line.astype(np.int32)
    di, dj = depth - i, line - j
    column = i * LINES + j
    columns = np.stack([column, column + 1, column + LINES, column + LINES + 1], 1)
    values = np.stack([(1 - di) * (1 - dj), (1 - di) * dj, di * (1 - dj), di * dj], 1)
    start = np.zeros(SIZE * SIZE + 1, dtype=np.int32)
    start[1:] = np.cumsum(np.bincount(pixel, minlength=SIZE * SIZE)) * 4
    data = values.ravel().astype(np.float32)
    return csr_matrix((data, columns.ravel(), start), shape=(SIZE * SIZE, DEPTHS * LINES))


def sector_mask(sector: Sector) -> np.ndarray:
    """Pixels (112, 112) that the fan covers."""
    x, y = np.meshgrid(np.arange(SIZE) - sector.apex[0], np.arange(SIZE) - sector.apex[1])
    line = np.abs(np.arctan2(x, y)) < sector.half_angle
    return line & (np.hypot(x, y) < sector.radius)


def _kernel(spread: np.ndarray, half: int) -> Tensor:
    """Unit-energy Gaussian taps (2 half + 1, depth) for a spread in samples per depth."""
    offset = np.arange(-half, half + 1)[:, None]
    taps = np.exp(-0.5 * (offset / spread[None]) ** 2)
    return torch.from_numpy((taps / np.sqrt((taps**2).sum(0))).astype(np.float32))


def _smear(x: Tensor, taps: Tensor, dim: int) -> Tensor:
    """Multiply-and-add shifted copies of x (..., depth, line) with taps per depth."""
    half = len(taps) // 2
    size = x.shape[dim]
    out = x * taps[half][:, None]
    for k in range(len(taps)):
        shift = k - half
        if shift == 0:
            continue
        into = out.narrow(dim, max(0, -shift), size - abs(shift))
        source = x.narrow(dim, max(0, shift), size - abs(shift))
        rows = taps[k].narrow(0, max(0, -shift), size - abs(shift)) if dim == -2 else taps[k]
        into.addcmul_(source, rows[:, None])
    return out


class Beam:
    """The depth-varying point spread of the scanner: separable, unit energy."""

    def __init__(self, sector: Sector) -> None:
        ratio = (np.arange(DEPTHS) + 0.5) / DEPTHS
        axial = (0.12 + 0.55 * ratio) * DEPTHS / sector.radius
        step = np.rad2deg(2 * sector.half_angle) / LINES
        self.axial = _kernel(axial, TAPS[0])
        self.lateral = _kernel((0.53 + 1.10 * ratio) / step, TAPS[1])

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., 168, 128), smeared along depth and across lines."""
        return _smear(_smear(x, self.axial, -2), self.lateral, -1)


def _material(scene: Scene, rng: np.random.Generator) -> Tensor:
    """Channels (1, 4, h, w) in the material frame: amplitude, complex texture, phase field."""
    shape = scene.grid.shape
    texture = rng.standard_normal((3, *shape), dtype=np.float32)
    texture[:2] *= 0.5**0.5
    return torch.from_numpy(np.concatenate([scene.amplitude[None], texture]))[None]


class Renderer:
    """Everything about a clip that does not change from frame to frame."""

    def __init__(self, scene: Scene, style: Style, anatomy, rng: np.random.Generator) -> None:
        self.scene, self.style, self.rng = scene, style, rng
        fan = Fan.of(scene.sector)
        self.fan = scene.pose.local(fan.points).astype(np.float32)
        self.beams = scene.pose.turned(fan.beams).astype(np.float32)
        self.along = (self.fan * self.beams).sum(-1)
        self.material = _material(scene, anatomy)
        self.beam = Beam(scene.sector)
        self.convert = scan_converter(scene.sector)
        self.gain = torch.from_numpy(10 ** (style.gain_map / 20))
        self.clutter = self._clutter(anatomy)
        noise = rng.standard_normal((NOISE_FRAMES, 2 * LOOKS, DEPTHS, LINES), dtype=np.float32)
        depth = (np.arange(DEPTHS, dtype=np.float32)[:, None] + 0.5) / DEPTHS
        level = 10 ** ((style.noise - 0.1 * depth**1.5) / 20) * 0.5**0.5
        self.noise = torch.from_numpy(noise * level)

    def _clutter(self, rng: np.random.Generator) -> Tensor:
        """Static clutter (6, 168, 128) of all looks before the beam: near field and haze."""
        wave = rng.standard_normal((2 * LOOKS, DEPTHS, LINES), dtype=np.float32) * np.float32(
            0.5**0.5
        )
        near = 10 ** (self.style.near / 20) * self.style.reverberation
        haze = np.float32(10 ** (self.style.haze / 20))
        return torch.from_numpy((wave * np.sqrt(near**2 + haze**2)).astype(np.float32))

    def video(self, state: State) -> np.ndarray:
        """uint8 (t, 112, 112)."""
        frames = len(state.sigma)
        picks = self.rng.integers(0, NOISE_FRAMES, frames), self.rng.integers(0, LINES, frames)
        near = self._near_leaflets(state)
        gain = None
        out = np.zeros((frames, SIZE, SIZE), dtype=np.uint8)
        for start in range(0, frames, CHUNK):
            part = slice(start, start + CHUNK)
            level = self._decibels(state.frames(part), picks[0][part], picks[1][part], near)
            if gain is None:
                gain = self._auto_gain(level[:1])
            grey = self._display(level + gain).reshape(len(level), -1).numpy()
            out[part] = np.rint(self.convert @ grey.T).T.reshape(-1, SIZE, SIZE)
        return out

    def _near_leaflets(self, state: State) -> list[np.ndarray]:
        """Per leaflet, the indices of the fan samples that it may cover in some frame."""
        if self.scene.leaflets is None:
            return []
        lines = self.scene.leaflets(state)
        drift = np.abs(self.scene.pose.turned(state.drift)).max(0)
        out = []
        for leaf in range(lines.shape[1]):
            corners = lines[:, leaf].reshape(-1, 2)
            reach = 4 * self.scene.leaf_width + drift
            low, high = corners.min(0) - reach, corners.max(0) + reach
            out.append(np.flatnonzero(((self.fan > low) & (self.fan < high)).all(-1)))
        return out

    def _decibels(self, state: State, pick, roll, near: list[np.ndarray]) -> Tensor:
        """Echo intensity in dB (t, 168, 128) of a few frames."""
        sampled, delay = self._warped(state, near)
        amplitude, real, imag, field = (sampled[:, c] for c in range(4))
        echoes = self._speckle(amplitude * self.gain, real, imag, field, delay, state.phase)
        noise = torch.stack(
            [self.noise[p].roll(int(r), -1) for p, r in zip(pick, roll, strict=True)]
        )
        echoes = self.beam(echoes + self.clutter) + noise
        power = (echoes * echoes).sum(1) / LOOKS
        return 10 * torch.log10(power + 1e-9)

    def _warped(self, state: State, near: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Material channels (t, 4, 168, 128) seen now, and the displacement along the beam, mm."""
        grid = self.scene.grid
        drift = self.scene.pose.turned(state.drift).astype(np.float32)
        u = self.fan[:, 0] - drift[:, :1]
        v = self.fan[:, 1] - drift[:, 1:]
        ur, vr = self.scene.motion(u, v, state)
        delay = self.along - ur * self.beams[:, 0] - vr * self.beams[:, 1]
        height, width = grid.shape
        place = np.empty((*u.shape, 2), dtype=np.float32)
        place[..., 0] = (ur - grid.u0) * (2 / (TEXEL * (width - 1))) - 1
        place[..., 1] = (vr - grid.v0) * (2 / (TEXEL * (height - 1))) - 1
        where = torch.from_numpy(place).view(1, -1, LINES, 2)
        sampled = torch.nn.functional.grid_sample(
            self.material, where, mode="bilinear", padding_mode="border", align_corners=True
        )
        sampled = sampled.view(4, len(u), DEPTHS, LINES).transpose(0, 1)
        self._draw_leaflets(sampled, u, v, state, near)
        return sampled, torch.from_numpy(delay).view(-1, DEPTHS, LINES)

    def _draw_leaflets(self, sampled: Tensor, u, v, state: State, near: list[np.ndarray]) -> None:
        """Brighten the amplitude channel along the leaflets, in place."""
        if self.scene.leaflets is None:
            return
        lines = self.scene.leaflets(state)
        amplitude = sampled[:, 0].reshape(len(u), -1)
        for leaf, where in enumerate(near):
            squared = to_polyline(u[:, where], v[:, where], lines[:, leaf])
            level = np.float32(LEAFLET) / (1 + squared / np.float32(self.scene.leaf_width**2)) ** 2
            index = torch.from_numpy(where)
            drawn = torch.maximum(amplitude[:, index], torch.from_numpy(level))
            amplitude[:, index] = drawn
        sampled[:, 0] = amplitude.view(-1, DEPTHS, LINES)

    def _speckle(self, amplitude, real, imag, field, delay, phase: np.ndarray) -> Tensor:
        """Complex looks (t, 6, 168, 128): real and imaginary parts of each."""
        turn = torch.from_numpy(phase.astype(np.float32)).view(-1, 1, 1)
        angle = WAVENUMBER * delay + turn * field
        real, imag = real * amplitude, imag * amplitude
        out = torch.empty(len(amplitude), 2 * LOOKS, DEPTHS, LINES)
        for look in range(LOOKS):
            cos, sin = torch.cos(angle), torch.sin(angle)
            torch.mul(real, cos, out=out[:, 2 * look]).addcmul_(imag, sin, value=-1)
            torch.mul(real, sin, out=out[:, 2 * look + 1]).addcmul_(imag, cos)
            angle = angle + LOOK_STEP * field
        return out

    def _auto_gain(self, level: Tensor) -> float:
        """Total display gain: a sonographer turns the knob towards a mean grey of 52, once."""

        def mean(gain: float) -> float:
            return float(self.convert.dot(self._display(level + gain).reshape(-1).numpy()).mean())

        covered = np.diff(self.convert.indptr).astype(bool).mean()
        low, high = self.style.gain - 20, self.style.gain + 20
        start = mean(self.style.gain) / covered
        target = 52 * (max(start, 1.0) / 52) ** 0.78 * covered
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if mean(middle) < target else (low, middle)
        return (low + high) / 2

    def _display(self, level: Tensor) -> Tensor:
        """Grey values 0..255 of levels in dB: window, soft knee, gamma."""
        x = ((level - self.style.floor) / self.style.window).clamp_(min=0)
        x = torch.where(x > 0.8, 0.8 + 0.2 * torch.tanh(5 * (x - 0.8)), x)
        return x.pow(self.style.gamma).mul_(255)
