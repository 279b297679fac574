"""Image statistics of fresh phantom patients beside those of 100 public four-chamber clips.

The real column holds aggregate figures only. Clips have 16 frames at 8 frames/s; everything is
measured inside one fixed fan. Usage: python benchmarks/phantom_statistics.py [--patients 60]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from where import where

from echoflow.data.phantom import PhantomPatient

LAGS = {1: "125 ms", 2: "250 ms", 4: "500 ms", 7: "875 ms"}
REAL = {
    "mean grey": 49.0,
    "sd inside clip": 52.6,
    "sd of clip means": 11.5,
    "percentile 25": 3,
    "percentile 50": 28,
    "percentile 75": 80,
    "percentile 90": 133,
    "percentile 95": 163,
    "percentile 99": 212,
    "axial fwhm near": 1.5,
    "axial fwhm mid": 1.9,
    "axial fwhm far": 2.4,
    "lateral fwhm near": 1.7,
    "lateral fwhm mid": 2.5,
    "lateral fwhm far": 3.8,
    "correlation 125 ms": 0.795,
    "correlation 250 ms": 0.702,
    "correlation 500 ms": 0.685,
    "correlation 875 ms": 0.737,
    "high-pass correlation 125 ms": 0.416,
    "high-pass correlation 250 ms": 0.291,
    "high-pass correlation 500 ms": 0.270,
    "high-pass correlation 875 ms": 0.346,
    "temporal sd": 21.4,
    "contrast at 20-40": 14,
    "contrast at 40-70": 22.5,
    "contrast at 70-110": 29,
    "contrast at 110-160": 31,
}
SPECTRUM = ((1, 2), (2, 4), (4, 8), (8, 16), (16, 24), (24, 32))  # cycles per 64 pixels


def fan() -> np.ndarray:
    """The fixed fan (112, 112) in which everything is measured."""
    x, y = np.meshgrid(np.arange(112) - 61.5, np.arange(112) - 7.0)
    return (np.abs(np.arctan2(x, y)) < np.deg2rad(43)) & (np.hypot(x, y) < 101)


def grey_levels(videos: list[np.ndarray], mask: np.ndarray) -> dict[str, float]:
    inside = [v[:, mask].astype(np.float32) for v in videos]
    pixels = np.concatenate([v.ravel() for v in inside])
    out = {
        "mean grey": float(pixels.mean()),
        "sd inside clip": float(np.mean([v.std() for v in inside])),
        "sd of clip means": float(np.std([v.mean() for v in inside])),
    }
    points = (25, 50, 75, 90, 95, 99)
    values = np.percentile(pixels, points)
    return out | {f"percentile {p}": float(v) for p, v in zip(points, values, strict=True)}


def high_pass(video: np.ndarray) -> np.ndarray:
    """(f - blur) of float frames (t, h, w), the blur 3 px wide."""
    return video - gaussian_filter(video, (0, 3, 3))


def half_width(correlation: np.ndarray) -> float:
    """Full width at half maximum of a correlation at shifts 0, 1, 2, ..."""
    below = int(np.argmax(correlation < 0.5))
    if below == 0:
        return float(2 * len(correlation))
    high, low = correlation[below - 1], correlation[below]
    return float(2 * (below - 1 + (high - 0.5) / (high - low)))


def speckle_widths(videos: list[np.ndarray], mask: np.ndarray) -> dict[str, float]:
    """Axial (vertical) and lateral widths of the normalised speckle in three depth bands."""
    bands = {"near": slice(15, 45), "mid": slice(45, 75), "far": slice(75, 105)}
    sums = {(axis, name): np.zeros(8) for axis in ("axial", "lateral") for name in bands}
    for video in videos:
        for frame in video[::5].astype(np.float32):
            rest = frame - gaussian_filter(frame, 3)
            spread = np.sqrt(np.maximum(gaussian_filter(rest**2, 3), 1e-3))
            # Only near the middle line do rows and columns follow the beam and its normal.
            z = np.where(mask & (spread > 3), rest / spread, 0.0)[:, 41:83]
            for name, rows in bands.items():
                part = z[rows]
                for k in range(8):
                    sums["axial", name][k] += (part[k:] * part[: len(part) - k]).mean()
                    sums["lateral", name][k] += (part[:, k:] * part[:, : 42 - k]).mean()
    return {f"{a} fwhm {n}": half_width(s / s[0]) for (a, n), s in sums.items()}


def correlations(videos: list[np.ndarray], mask: np.ndarray) -> dict[str, float]:
    out: dict[str, list[float]] = {}
    for video in videos:
        raw = video.astype(np.float32)
        for prefix, frames in (("", raw), ("high-pass ", high_pass(raw))):
            flat = frames[:, mask]
            flat = flat - flat.mean(1, keepdims=True)
            flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
            for lag, name in LAGS.items():
                values = (flat[lag:] * flat[:-lag]).sum(1)
                out.setdefault(f"{prefix}correlation {name}", []).append(float(values.mean()))
    return {name: float(np.mean(values)) for name, values in out.items()}


def contrast(videos: list[np.ndarray], mask: np.ndarray) -> dict[str, float]:
    """Mean 5 x 5 standard deviation where the 5 x 5 mean lies in a range of grey."""
    means, spreads = [], []
    for video in videos:
        for frame in video[::5].astype(np.float64):
            mean = uniform_filter(frame, 5)
            spread = np.sqrt(np.maximum(uniform_filter(frame**2, 5) - mean**2, 0))
            means.append(mean[mask])
            spreads.append(spread[mask])
    mean, spread = np.concatenate(means), np.concatenate(spreads)
    ranges = ((20, 40), (40, 70), (70, 110), (110, 160))
    return {
        f"contrast at {a}-{b}": float(spread[(mean >= a) & (mean < b)].mean()) for a, b in ranges
    }


def spectrum(videos: list[np.ndarray]) -> dict[str, float]:
    """Mean power in dB per octave-like band of a Hann window of 64 x 64 in the middle."""
    window = np.hanning(64)[:, None] * np.hanning(64)
    fy, fx = np.meshgrid(np.fft.fftfreq(64) * 64, np.fft.fftfreq(64) * 64, indexing="ij")
    radius = np.hypot(fx, fy)
    power = np.zeros((64, 64))
    for video in videos:
        for frame in video[::5].astype(np.float64):
            crop = frame[30:94, 30:94]
            power += np.abs(np.fft.fft2((crop - crop.mean()) * window)) ** 2
    power /= power.sum()
    return {
        f"spectrum {a}-{b} c/64px, dB": float(
            10 * np.log10(power[(radius >= a) & (radius < b)].mean())
        )
        for a, b in SPECTRUM
    }


def statistics(videos: list[np.ndarray]) -> dict[str, float]:
    """All figures of a set of clips (t, 112, 112) at 8 frames/s."""
    mask = fan()
    temporal = float(np.mean([v[:, mask].astype(np.float32).std(0).mean() for v in videos]))
    return {
        **grey_levels(videos, mask),
        **speckle_widths(videos, mask),
        **correlations(videos, mask),
        "temporal sd": temporal,
        **contrast(videos, mask),
        **spectrum(videos),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--view", default="A4C")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    videos = [
        PhantomPatient.sample(args.seed, p).render(args.view, frames=16, fps=8.0).clip.video
        for p in range(args.patients)
    ]
    found = statistics(videos)
    print(f"{'statistic':34s} {'real':>8s} {'phantom':>8s}")
    for name, value in found.items():
        real = f"{REAL[name]:8.3g}" if name in REAL else " " * 8
        print(f"{name:34s} {real} {value:8.3g}")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = {n: {"real": REAL.get(n), "phantom": round(v, 4)} for n, v in found.items()}
    settings = {"patients": args.patients, "seed": args.seed, "view": args.view}
    text = json.dumps({**where(), "settings": settings, "statistics": rows}, indent=2)
    (args.out / f"phantom_statistics_{args.view.lower()}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
