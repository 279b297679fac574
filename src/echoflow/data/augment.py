"""What training does to recordings so that a network learns what does not matter.

Frames are float in [-1, 1]; every random choice is made with the generator given.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 6  # pixels, at most


def clip(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """A clip (t, h, w), softened or not, with another grain, place, contrast and gain."""
    grained = _speckled(_softened(frames, rng), rng)
    return _retuned(torch.roll(grained, _shift(rng), dims=(-2, -1)), rng)


def masked(frames: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Single frames and their masks (b, h, w) in {0, 1}, turned and moved together.

    Half of the frames look as if they had been recorded less well, and half are blurred, because
    generated frames are softer than recorded ones.
    """
    x, masks = _turned(torch.stack([frames, masks]), rng)
    poor, soft = (torch.from_numpy(rng.random(len(x)) < 0.5)[:, None, None] for _ in "ab")
    x = torch.where(poor, torch.stack([_worsened(frame, rng) for frame in x]), x)
    x = torch.where(soft, _blurred(x), x)
    return torch.stack([_retuned(frame, rng) for frame in x]), masks


def _softened(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of the clips (t, h, w) blurred over 3 pixels, and three in ten over 3 frames."""
    in_space, in_time = rng.random(2) < (0.5, 0.3)
    if in_space:
        frames = _blurred(frames)
    if in_time:
        middle = (frames[:-2] + 2 * frames[1:-1] + frames[2:]) / 4
        frames = torch.cat([frames[:1], middle, frames[-1:]])
    return frames


def _speckled(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Multiplied by a grain that stands still and by one that changes with every frame."""
    still, moving = rng.uniform(0, 0.2, size=2).tolist()
    shape = frames.shape[-2:]
    grain = still * rng.standard_normal((1, *shape), np.float32)
    grain = grain + moving * rng.standard_normal((len(frames), *shape), np.float32)
    coarse = _summed(torch.from_numpy(grain)) / 3
    return ((frames + 1) * (1 + coarse) - 1).clamp(-1, 1)


def _turned(pair: Tensor, rng: np.random.Generator) -> Tensor:
    """Frames and masks (2, b, h, w) moved, turned by up to 0.2 rad, and zoomed."""
    n, (height, width) = pair.shape[1], pair.shape[-2:]
    angle, zoom = rng.uniform(-0.2, 0.2, n), np.exp(rng.uniform(-0.15, 0.35, n))
    shift = 2 / np.array([width, height]) * np.stack([_shift(rng) for _ in range(n)])
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    rows = [np.stack([cos, -sin * height / width], 1), np.stack([sin * width / height, cos], 1)]
    affine = torch.from_numpy(np.concatenate([np.stack(rows, 1), shift[:, :, None]], 2)).float()
    grid = F.affine_grid(affine, [n, 2, height, width], align_corners=False)
    black = pair.new_tensor([-1.0, 0.0])[:, None, None, None]
    seen = F.grid_sample((pair - black).transpose(0, 1), grid, align_corners=False)
    frames, masks = seen.transpose(0, 1) + black
    return torch.stack([frames, (masks > 0.5).float()])


def _worsened(frame: Tensor, rng: np.random.Generator) -> Tensor:
    """A frame (h, w) with another display curve and speckled noise where it is dark."""
    grey = ((frame + 1) / 2).clamp(0, 1) ** float(np.exp(rng.uniform(-0.7, 0.7)))
    noise = torch.from_numpy(np.hypot(*rng.standard_normal((2, *frame.shape), np.float32)))
    grain = _blurred(noise[None])[0]
    level = float(rng.uniform(0, 0.25))
    return 2 * torch.hypot(grey, level * (grain if rng.random() < 0.5 else noise)).clamp(0, 1) - 1


def _retuned(frames: Tensor, rng: np.random.Generator) -> Tensor:
    contrast, gain = rng.uniform(0.85, 1.15), rng.normal(0, 0.05)
    return ((frames + 1) * contrast + gain - 1).clamp(-1, 1)


def _blurred(frames: Tensor) -> Tensor:
    """Each frame of (n, h, w) averaged over 3 x 3 pixels."""
    return _summed(frames) / _summed(torch.ones_like(frames[:1]))


def _summed(frames: Tensor) -> Tensor:
    """Each frame of (n, h, w) summed over 3 x 3 pixels; on a CPU in an eighth of pooling's time."""
    wide = F.pad(frames, (1, 1, 1, 1))
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def _shift(rng: np.random.Generator) -> tuple[int, int]:
    along, across = rng.integers(-SHIFT, SHIFT + 1, size=2).tolist()
    return along, across
