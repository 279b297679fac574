"""CAMUS: NIfTI stills and half sequences with label maps, a text file per view, lists of splits.

Arrays are stored (width, height[, time]) with the pixel spacing in the header; a sequence runs from
end-diastole to end-systole; frame numbers in the text files count from 1 and the EF is rounded.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from echoflow.data.medical import package
from echoflow.data.phantom.anatomy import labels
from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.dialects.native import Screen
from echoflow.data.phantom.dialects.tables import Tables, plain
from echoflow.data.phantom.sidecar import Known
from echoflow.data.phantom.truth import Truth
from echoflow.types import InputError, Record, Split, View

DATABASE = "database_nifti"
SPLITS = "database_split"
LISTS = {
    Split.TRAIN: "subgroup_training.txt",
    Split.VAL: "subgroup_validation.txt",
    Split.TEST: "subgroup_testing.txt",
}
SCREENS = (Screen(3, 352, 416), Screen(2, 240, 256), Screen(4, 480, 512))
AT_REST = 0.02  # share of the stroke volume that may be missing at the first frame
QUALITY = {1: "Good", 2: "Good", 3: "Medium", 4: "Poor"}


def write(each: PhantomClip, number: int, work: Path, tables: Tables) -> tuple[Known, ...]:
    """Stills, half sequence, their label maps and the text file, for both apical views.

    The phantom paints no two-chamber view: those files hold the mirrored four-chamber picture. Its
    cavity is right, since both planes cut the ventricle at its mean radius; what is around is not.
    """
    clip, truth = each.clip, each.truth
    first, last = half_beat(truth)
    patient = f"patient{number + 1:04d}"
    screen = SCREENS[truth.patient % len(SCREENS)]
    video = screen.video(clip.video[first : last + 1])
    pixels = screen.pixels()
    maps = np.stack([labels(truth, frame, pixels) for frame in range(first, last + 1)])
    tables.add(f"{SPLITS}/{LISTS[clip.split]}", (), [[patient]])
    (work / DATABASE / patient).mkdir(parents=True, exist_ok=True)
    volumes = float(truth.volume[first]), float(truth.volume[last])
    spacing = truth.mm_per_px / screen.scale
    known = []
    for name, view, way in (("4CH", clip.view, 1), ("2CH", View.OTHER, -1)):
        stem = f"{DATABASE}/{patient}/{patient}_{name}"
        half = dataclasses.replace(clip, video=video[..., ::way], view=view, patient=patient)
        path = f"{stem}_half_sequence.nii.gz"
        record = dataclasses.replace(Record.of(half, path), uid=f"{patient}_{name}")
        _write_view(work, stem, half.video, maps[..., ::way], spacing)
        (work / DATABASE / patient / f"Info_{name}.cfg").write_text(_facts(record, truth))
        known.append(Known(record, 0, last - first, *volumes, spacing))
    return tuple(known)


def _write_view(work: Path, stem: str, video: np.ndarray, maps: np.ndarray, spacing: float) -> None:
    for suffix, array in (("", video), ("_gt", maps)):
        for name, part in (("ED", array[0]), ("ES", array[-1]), ("half_sequence", array)):
            write_nifti(work / f"{stem}_{name}{suffix}.nii.gz", part, spacing)


def half_beat(truth: Truth) -> tuple[int, int]:
    """First and last frame of the contraction that ends in the smallest volume it can.

    `InputError` if the clip shows no end-diastole followed by its end-systole.
    """
    stroke = truth.edv - truth.esv
    full = np.flatnonzero(truth.edv - truth.volume < AT_REST * stroke)
    empty = np.flatnonzero(truth.volume - truth.esv < AT_REST * stroke)
    pairs = [(int(full[full < last].max()), int(last)) for last in empty if (full < last).any()]
    if not pairs:
        raise InputError(
            f"a half sequence needs an end-diastole and the end-systole after it; {len(truth.mask)}"
            " frames of this clip do not show both. Ask for more frames, or start at the R wave."
        )
    shortest = min(last - first for first, last in pairs)
    best = [pair for pair in pairs if pair[1] - pair[0] <= shortest + 1]
    return min(best, key=lambda pair: truth.volume[pair[1]])


def write_nifti(path: Path, array: np.ndarray, spacing: float) -> None:
    """uint8 (h, w) or (t, h, w) as NIfTI-1, (w, h[, t]) on disk; `spacing` in mm."""
    nibabel = package("nibabel")
    turned = np.ascontiguousarray(np.moveaxis(array, (-1, -2), (0, 1)))
    # ITK writes pictures without a direction this way: x and y point left and up
    image = nibabel.Nifti1Image(turned, np.diag([-spacing, -spacing, 1.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def read_nifti(path: Path) -> tuple[np.ndarray, float]:
    """What `write_nifti` wrote: the array as it was given, and its spacing."""
    image = package("nibabel").load(path)
    turned = np.asarray(image.dataobj)
    return np.moveaxis(turned, (0, 1), (-1, -2)), float(image.header.get_zooms()[0])


def _facts(record: Record, truth: Truth) -> str:
    rng = np.random.default_rng([truth.patient, record.frames])
    lines = {
        "ED": 1,
        "ES": record.frames,
        "NbFrame": record.frames,
        "Sex": "F" if rng.uniform() < 0.35 else "M",
        "Age": int(rng.integers(20, 90)),
        "ImageQuality": QUALITY[1 + int(rng.integers(4))],
        "EF": round(truth.ef),
        "FrameRate": plain(record.fps),
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())
