"""The left ventricle as a dataset knows it, whichever way it was drawn: chords, polygon, label map.

Frames are those of the video as it is read, forwards and from 0. End-diastole is the frame of the
largest area and end-systole that of the smallest: no dataset can be trusted on their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoflow.data import nifti
from echoflow.data.manifest import Manifest
from echoflow.data.masks import area, ed_es, fill_polygon, tracing_mask
from echoflow.data.medical import medical_format
from echoflow.data.table import as_number
from echoflow.data.tree import inside
from echoflow.data.video import read_gray
from echoflow.data.volumes import Method, Plane, Scale, ejection_fraction
from echoflow.types import InputError, Record

LV_LABEL = 1  # in the label maps of CAMUS
SCALE = "mm_per_px"  # the extra column that readers put the scale in: `x`, or `x y`
_FAR = 10_000  # px; a polygon that goes further is pulled back, so that its products stay exact
_LEAST = 3  # corners, or a long axis and two chords: less has no area

Masks = dict[int, np.ndarray]


@dataclass(frozen=True)
class Measured:
    """What the drawn frames of a video say. Volumes are in mL where the scale is known, else None;
    EF in percent."""

    ed: int
    es: int
    ef: float
    edv: float | None
    esv: float | None


def lv_masks(manifest: Manifest, record: Record) -> Masks:
    """frame -> bool (h, w), at the size of the video; empty where nothing is drawn.

    Of a repeated tracing the first counts, of what lies outside the picture the part inside it.
    Frames that the video has not, and drawings without an area, are passed over. `InputError`: a
    label map is damaged or of another size.
    """
    size = (record.height, record.width)
    masks: Masks = {}
    for frame, polygon in manifest.outlines.get(record.uid, {}).items():
        masks[frame] = polygon_mask(polygon, *size)
    for frame, lines in manifest.tracings.get(record.uid, {}).items():
        if len(lines) >= _LEAST:
            masks[frame] = tracing_mask(np.clip(lines, -_FAR, _FAR), *size)
    masks |= {f: maps == LV_LABEL for f, maps in label_maps(manifest, record).items()}
    return {f: m for f, m in sorted(masks.items()) if 0 <= f < record.frames and m.any()}


def polygon_mask(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Corners (n, 2) `x, y` px, in order -> bool (h, w), the outline included.

    Repeated corners do no harm; of less than three there is nothing. The rule is that of tracings:
    corners are rounded to whole pixels and the polygon is filled.
    """
    corners = np.rint(np.clip(np.asarray(polygon, float), -_FAR, _FAR)).astype(int).reshape(-1, 2)
    if len(np.unique(corners, axis=0)) < _LEAST:
        return np.zeros((height, width), bool)
    moved = (corners != np.roll(corners, 1, axis=0)).any(1)
    x, y = corners[moved].T
    return fill_polygon(x, y, height, width)


def events(masks: Mapping[int, np.ndarray]) -> tuple[int, int] | None:
    """ED and ES frame by area; None unless two frames are drawn."""
    frames = sorted(masks)
    if len(frames) < 2:
        return None
    ed, es = ed_es(np.array([area(masks[frame]) for frame in frames]))
    return frames[ed], frames[es]


def scale_of(manifest: Manifest, record: Record) -> Scale | None:
    """mm per pixel of the video, (x, y), where its dataset says."""
    cells = manifest.extras.get(record.uid, {}).get(SCALE, "").split()
    sizes = [as_number(cell) for cell in cells]
    if len(sizes) not in (1, 2) or not all(0 < size < math.inf for size in sizes):
        return None
    return sizes[0], sizes[-1]


def measured(
    manifest: Manifest,
    record: Record,
    mm_per_px: Scale | None = None,
    method: Method = "simpson",
) -> Measured | None:
    """ED, ES, volumes and EF from what is drawn, one plane; None unless two frames are.

    Chords are taken as they are drawn; polygons and label maps are cut into disks. `mm_per_px`
    overrules the scale of the dataset.
    """
    masks = lv_masks(manifest, record)
    found = events(masks)
    if found is None:
        return None
    scale = mm_per_px or scale_of(manifest, record)
    lines = manifest.tracings.get(record.uid, {})
    volumes = {f: _plane(lines.get(f), masks[f], scale or 1.0).volume(method) for f in found}
    # areas and volumes need not agree in hearts that hardly move
    es, ed = sorted(found, key=lambda frame: volumes[frame])
    ef = ejection_fraction(volumes[ed], volumes[es])
    known = scale is not None
    return Measured(ed, es, ef, volumes[ed] if known else None, volumes[es] if known else None)


def _plane(lines: np.ndarray | None, mask: np.ndarray, scale: Scale) -> Plane:
    return Plane.of_mask(mask, scale) if lines is None else Plane.of_tracing(lines, scale)


def label_maps(manifest: Manifest, record: Record) -> Masks:
    """frame -> uint8 (h, w) of the labels of CAMUS, of the frames that have such a map.

    Each file is read once. `InputError`: one is damaged or of another size.
    """
    named = manifest.label_maps.get(record.uid, {})
    found: Masks = {}
    for path in dict.fromkeys(named.values()):
        maps = _label_map(manifest, path, record)
        if record.uid in manifest.backwards:
            maps = maps[::-1]
        for frame in (frame for frame, name in named.items() if name == path):
            if len(maps) == 1 or frame < len(maps):
                found[frame] = maps[0 if len(maps) == 1 else frame]
    return found


def _label_map(manifest: Manifest, name: str, record: Record) -> np.ndarray:
    """uint8 (t, h, w) of labels from NIfTI, or from an image: 255 there also means the LV."""
    path = inside(manifest.root, name)
    if path is None or not Path(path).is_file():
        raise InputError(f"there is no label map {name} in {manifest.root}.")
    if medical_format(path) == "nifti":
        maps = nifti.read_labels(path)
    else:
        maps, _ = read_gray(path)
        maps = np.where(maps == 255, LV_LABEL, maps)
    if maps.shape[1:] != (record.height, record.width) or len(maps) not in (1, record.frames):
        raise InputError(
            f"{path} has {len(maps)} label maps of {maps.shape[1]}x{maps.shape[2]} pixels; the "
            f"video has {record.frames} frames of {record.height}x{record.width}."
        )
    return maps
