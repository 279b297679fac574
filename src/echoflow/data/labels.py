"""Label maps: what is where in a picture, in the five labels of Free-Echo (Nguyen et al. 2024).

    0 outside the sector   1 sector   2 left ventricle   3 myocardium   4 left atrium

Maps come in three layouts: `free-echo` as above; `camus`, where the sector is not drawn and the
other labels are one less; `cavity`, the left ventricle alone, 0 and 1 or 0 and 255. A map of any
layout that has no myocardium gets one: a dilation of the cavity, as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from echoflow.data.truths import polygon_mask
from echoflow.types import InputError, choose

if TYPE_CHECKING:
    from torch import Tensor


class Label(IntEnum):
    """What a pixel shows."""

    OUTSIDE = 0
    SECTOR = 1
    CAVITY = 2
    MYOCARDIUM = 3
    ATRIUM = 4


Layout = Literal["auto", "free-echo", "camus", "cavity"]
LAYOUTS: Mapping[str, tuple[int, ...]] = {
    "free-echo": (0, 1, 2, 3, 4),
    "camus": (0, 1, 2, 3),
    "cavity": (0, 1, 255),
}
"""The values that a map of each layout may hold."""

WALL = 10 / 256
"""Share of the side of a map by which the cavity grows for its wall: five times two pixels of 256,
the size that the released code was used at."""
_SPECK = 0.005  # of a picture: smaller bright regions are no part of the sector
_APEX, _RADIUS, _HALF_ANGLE = (0.55, 0.06), 0.94, np.pi / 4


def read_labels(path: str | Path, layout: Layout = "auto") -> np.ndarray:
    """An image file -> uint8 (h, w) in the values of its layout, for `in_free_echo`.

    Labels may also be wider numbers, or the entries of a palette of colours, but not colours
    themselves.
    """
    video = _numbers(Path(path))
    if len(video) > 1:
        raise InputError(f"{path} has {len(video)} frames; a label map is a single image.")
    try:
        layout_of(video[0], layout)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return video[0]


def load_labels(
    path: str | Path,
    size: int,
    layout: Layout = "auto",
    sector: str | Path | None = None,
    resize: bool = False,
) -> np.ndarray:
    """An image file -> the five labels, (size, size); another size is refused, or with `resize`
    brought to it. `sector` is an image that is bright where the scanner sees. `InputError` also for
    a ventricle of which no more than an outline or a speck is drawn, or that the sector leaves less
    than half of."""
    labels, cone = read_labels(path, layout), None if sector is None else _bright(sector)
    maps = {path: labels} if cone is None else {path: labels, sector: cone}
    for name, each in maps.items():
        height, width = each.shape
        if height != width or (height != size and not resize):
            cure = "; resize it without smoothing, or ask for it (--resize)" * (height == width)
            raise InputError(
                f"{name} has {height}x{width} pixels; this model needs {size}x{size}"
                f"{cure or ', so cut it to a square'}."
            )
    kind = cast(Layout, layout_of(labels, layout))
    cone = None if cone is None else resized(cone, size, size)
    labels = resized(labels, size, size)
    try:
        cavity = _filled(_heart(labels, kind) == Label.CAVITY)
        _refuse_cut(cavity, cone)
        return in_free_echo(labels, kind, cone)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _numbers(path: Path) -> np.ndarray:
    """The frames of a file (t, h, w) as the numbers that are written in it."""
    from echoflow.data import nifti
    from echoflow.data.medical import medical_format
    from echoflow.data.video import read_gray

    if path.is_file() and medical_format(path) == "nifti":
        return nifti.read_labels(path)
    labels = read_gray(path, "labels")[0]
    colours = read_gray(path, "keep")[0]
    coloured = (colours != colours[..., :1]).any()
    if coloured and np.array_equal(labels, read_gray(path)[0]):
        raise InputError(
            f"{path} is a picture in colours, which are no labels; write one number for each "
            "pixel: 0 and 255 for a cavity, or the labels."
        )
    return labels


def _bright(path: str | Path) -> np.ndarray:
    """Where an image is brighter than half, bool (h, w)."""
    from echoflow.data.video import read_gray

    video, _ = read_gray(path)
    if len(video) > 1:
        raise InputError(f"{path} has {len(video)} frames; a sector is a single image.")
    bright = video[0] > 127
    if not bright.any():
        raise InputError(
            f"{path} is nowhere brighter than half; draw the sector that it shows in white."
        )
    return bright


def _filled(cavity: np.ndarray) -> np.ndarray:
    """bool (h, w), unless it is the outline of a ventricle or a speck. None at all may pass."""
    whole = ndimage.binary_fill_holes(cavity)
    if whole is not None and whole.sum() > 2 * cavity.sum():
        raise InputError("only the outline of the left ventricle is drawn; fill it.")
    if cavity.any() and not ndimage.binary_erosion(cavity, np.ones((3, 3)), border_value=1).any():
        raise InputError(
            f"the left ventricle is nowhere 3 pixels wide at {cavity.shape[0]}x{cavity.shape[1]}; "
            "draw it filled and larger."
        )
    return cavity


def _refuse_cut(cavity: np.ndarray, sector: np.ndarray | None) -> None:
    """`InputError` for a sector (h, w) that has some of the cavity, but less than half of it."""
    if sector is not None and 0 < (kept := (cavity & sector).sum()) < cavity.sum() / 2:
        raise InputError(
            f"the sector leaves {100 * kept / cavity.sum():.0f} % of the left ventricle; give an "
            "image that is white wherever the scanner sees."
        )


def layout_of(labels: np.ndarray, layout: Layout = "auto") -> str:
    """The layout of a map (h, w); `auto` takes what has no other value than 0 and 1, or 0 and 255,
    as a cavity. `InputError` for unknown labels, for a map that is all background, and under `auto`
    for one whose values have a ventricle in free-echo and another in camus."""
    choose(layout, get_args(Layout), "layout of a label map")
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise InputError(f"a label map has axes (h, w); got shape {labels.shape}.")
    found = np.unique(labels)
    if not found.any():
        raise InputError("the label map is all background; draw the left ventricle in it.")
    if layout == "auto" and {1, 2} <= set(found.tolist()) <= set(LAYOUTS["camus"]):
        raise InputError(
            "the label map may be read in two ways: label 1 is the sector in the layout free-echo "
            "and the left ventricle in camus. Say which it is: --layout free-echo, or camus."
        )
    cavity = np.isin(found, (0, 1)).all() or np.isin(found, (0, 255)).all()
    kind = ("cavity" if cavity else "free-echo") if layout == "auto" else layout
    unknown = [f"{value:g}" for value in found if value not in LAYOUTS[kind]]
    if unknown or (kind == "cavity" and not cavity):
        shown = ", ".join(unknown[:4] or ["1 beside 255"]) + (" ..." if len(unknown) > 4 else "")
        allowed = ", ".join(map(str, LAYOUTS[kind]))
        raise InputError(
            f"the label map holds {shown}; the layout {kind} has {allowed}. Draw a cavity as 0 and "
            "255, or write 0 outside, 1 sector, 2 left ventricle, 3 myocardium, 4 left atrium, "
            "without smoothing."
        )
    if len(found) == 1:
        raise InputError(
            f"the label map is {found[0]:g} all over; draw the left ventricle in it, and leave 0 "
            "around it."
        )
    if kind == "cavity" and labels[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        raise InputError(
            f"the label map has {found[-1]:g} in all four corners; draw the left ventricle as "
            f"{found[-1]:g} on 0, not the other way round."
        )
    return kind


def in_free_echo(
    labels: np.ndarray,
    layout: Layout = "auto",
    sector: np.ndarray | None = None,
    wall: int | None = None,
) -> np.ndarray:
    """A map (h, w) of any layout -> uint8 (h, w) of the five labels.

    `sector` (h, w) bool is what the scanner shows; what lies outside it is cut off. By default it
    is the one that is drawn, of which nothing is cut, or else a `fan` and all that is drawn; a
    ventricle wholly outside the fan is refused. `wall` is the thickness in pixels of a myocardium
    that has to be made, by default `WALL` of the longer side. A free-echo map with a myocardium
    and no sector stays as it is.
    """
    labels = np.asarray(labels)
    kind = layout_of(labels, layout)
    heart = walled(_heart(labels, kind), wall)
    if sector is None:
        sector = _seen(labels, kind)
    elif sector.shape != labels.shape:
        raise InputError(
            f"the sector has {'x'.join(map(str, sector.shape))} pixels, the label map "
            f"{'x'.join(map(str, labels.shape))}; give both the same size."
        )
    full = np.where(sector, np.where(heart == 0, Label.SECTOR, heart), Label.OUTSIDE)
    return checked(full.astype(np.uint8))


def _heart(labels: np.ndarray, kind: str) -> np.ndarray:
    """What is drawn of the heart in a map (h, w) of a layout, in the five labels; 0 elsewhere."""
    if kind == "free-echo":
        return np.where(labels > Label.SECTOR, labels, 0)
    return np.where(labels > 0, labels + 1 if kind == "camus" else Label.CAVITY, 0)


def _seen(labels: np.ndarray, kind: str) -> np.ndarray:
    """The sector of a map (h, w) that nobody gave, bool: its own, or a fan widened by the map."""
    own = np.isin(labels, (Label.SECTOR, Label.MYOCARDIUM)).any()
    if kind == "free-echo" and own:
        return labels > 0
    usual = fan(*labels.shape)
    met = (usual & (_heart(labels, kind) == Label.CAVITY)).any()
    return usual | (labels > 0) if met else usual  # what was drawn was seen


def checked(labels: np.ndarray) -> np.ndarray:
    """A map with a left ventricle in it, and no other labels than the five."""
    if not (labels == Label.CAVITY).any():
        raise InputError(
            f"no left ventricle (label {Label.CAVITY:d}) inside the sector of this label map; draw "
            "it, or give the sector that it lies in."
        )
    return known(labels)


def known(labels: np.ndarray) -> np.ndarray:
    """Maps of any shape that hold no other labels than the five."""
    odd = np.setdiff1d(labels, list(Label))
    if len(odd):
        raise InputError(
            f"the label map holds {', '.join(f'{one:g}' for one in odd[:4])}; it may hold 0 "
            "outside, 1 sector, 2 left ventricle, 3 myocardium, 4 left atrium. Bring others to "
            "these with in_free_echo."
        )
    return labels


def walled(heart: np.ndarray, wall: int | None = None) -> np.ndarray:
    """Labels (h, w) with a myocardium around the cavity, where nothing is drawn, if none is."""
    if (heart == Label.MYOCARDIUM).any():
        return heart
    return np.where(heart == 0, with_wall(heart == Label.CAVITY, wall), heart)


def with_wall(cavity: np.ndarray, wall: int | None = None) -> np.ndarray:
    """bool (h, w) -> cavity and myocardium, uint8: the ring that a square dilation adds."""
    wall = max(1, round(WALL * max(cavity.shape))) if wall is None else wall
    grown = ndimage.maximum_filter(cavity, size=2 * wall + 1, mode="constant")
    return (grown * Label.MYOCARDIUM + cavity * (Label.CAVITY - Label.MYOCARDIUM)).astype(np.uint8)


def fan(height: int, width: int) -> np.ndarray:
    """A sector as clips of this field usually show it, bool (h, w): apex at the top, 90 degrees."""
    x, y = np.meshgrid(
        (np.arange(width) + 0.5) / width - _APEX[0], (np.arange(height) + 0.5) / height - _APEX[1]
    )
    return (np.abs(np.arctan2(x, y)) < _HALF_ANGLE) & (np.hypot(x, y) < _RADIUS)


def sector_of(video: np.ndarray, level: int = 8) -> np.ndarray:
    """uint8 (t, h, w) -> what the scanner shows, bool (h, w): the convex hull of all that is bright
    in some frame, since dark cavities reach its border. Specks and writings count for nothing."""
    seen = np.asarray(video).max(0) > level
    regions, _ = cast(tuple[np.ndarray, int], ndimage.label(seen))
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    rows, columns = np.nonzero((sizes >= _SPECK * seen.size)[regions])
    if len(rows) < 3 or not np.ptp(rows) or not np.ptp(columns):
        return np.zeros(seen.shape, bool)
    points = np.stack([columns, rows], axis=1)
    return polygon_mask(points[ConvexHull(points).vertices], *seen.shape)


def resized(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Labels (..., h, w) at another size: each pixel takes the label under its centre."""
    rows = ((np.arange(height) + 0.5) * labels.shape[-2] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * labels.shape[-1] / width).astype(int)
    return labels[..., rows[:, None], columns]


def planes(labels: np.ndarray) -> Tensor:
    """(..., h, w) -> float32 (..., 4, h, w): a plane of 0 and 1 for each label but 0."""
    import torch

    one_hot = np.stack([labels == label for label in Label if label], axis=-3)
    return torch.from_numpy(one_hot.astype(np.float32))
