"""Pictures at a scanner's own size: the 112-pixel clip enlarged and set on a wider black screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoflow.data.phantom.render import SIZE
from echoflow.data.resample import resize


@dataclass(frozen=True)
class Screen:
    """`height` x `width` pixels; the clip is enlarged `scale` times and stands in the middle."""

    scale: int
    height: int
    width: int

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the picture's upper left pixel."""
        side = self.scale * SIZE
        return (self.height - side) // 2, (self.width - side) // 2

    def video(self, video: np.ndarray) -> np.ndarray:
        """uint8 (t, 112, 112) -> (t, height, width)."""
        side = self.scale * SIZE
        top, left = self.corner
        out = np.zeros((len(video), self.height, self.width), dtype=np.uint8)
        out[:, top : top + side, left : left + side] = resize(video, side, side)
        return out

    def points(self, points: np.ndarray) -> np.ndarray:
        """Pixel positions (..., 2) `x, y` of the clip, on the screen."""
        top, left = self.corner
        return (points + 0.5) * self.scale - 0.5 + np.array([left, top])

    def pixels(self) -> np.ndarray:
        """Where each pixel (height, width, 2) of the screen lies in the clip, as `x, y`."""
        top, left = self.corner
        x, y = np.meshgrid(np.arange(self.width) - left, np.arange(self.height) - top)
        return ((np.stack([x, y], -1) + 0.5) / self.scale - 0.5).astype(np.float32)
