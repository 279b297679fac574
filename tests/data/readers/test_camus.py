"""CAMUS: half sequences of two views, text files, lists, label maps, and sequences turned round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from medical_files import write_nifti

from echoflow.data.findings import left_out
from echoflow.data.prepare import Window, load_clip
from echoflow.data.readers.camus import DATABASE, SPLITS, camus
from echoflow.data.sources import open_source
from echoflow.data.truths import events, lv_masks, measured, scale_of
from echoflow.types import InputError, Split, View

pytest.importorskip("nibabel")

FRAMES, HEIGHT, WIDTH = 5, 24, 20
MM = (0.5, 0.25)


def labels(frames: int = FRAMES) -> np.ndarray:
    """A cavity (1) that loses two rows a frame, its wall (2) and an atrium (3)."""
    maps = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    maps[:, 2:18, 4:14] = 2
    maps[:, 19:23, 5:12] = 3
    for frame in range(frames):
        maps[frame, 3 : 17 - 2 * frame, 6:12] = 1
    return maps


def pictures() -> np.ndarray:
    """Frame i is uniformly 20 * (i + 1)."""
    levels = np.arange(20, 20 * FRAMES + 1, 20, dtype=np.uint8)
    return np.ones((1, HEIGHT, WIDTH), np.uint8) * levels[:, None, None]


def facts(**changes: object) -> str:
    told: dict[str, object] = {
        "ED": 1, "ES": FRAMES, "NbFrame": FRAMES, "Sex": "F", "Age": 60,
        "ImageQuality": "Good", "EF": 55, "FrameRate": 48.5,
    }  # fmt: skip
    return "".join(f"{key}: {value}\n" for key, value in {**told, **changes}.items() if value != "")


def write_view(root: Path, patient: str, name: str = "4CH", **changes: object) -> Path:
    """One view of a patient; returns its folder."""
    folder = root / DATABASE / patient
    arrays = {"": pictures(), "_gt": labels()}
    for suffix, array in arrays.items():
        for stage, part in (("ED", array[0]), ("ES", array[-1]), ("half_sequence", array)):
            write_nifti(folder / f"{patient}_{name}_{stage}{suffix}.nii.gz", part, MM)
    (folder / f"Info_{name}.cfg").write_text(facts(**changes))
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    for patient in ("patient0001", "patient0002"):
        for name in ("4CH", "2CH"):
            write_view(tmp_path, patient, name)
    (tmp_path / SPLITS).mkdir()
    (tmp_path / SPLITS / "subgroup_training.txt").write_text("patient0001\n")
    (tmp_path / SPLITS / "subgroup_testing.txt").write_text("patient0002")
    return tmp_path


def kinds(root: Path) -> set[tuple[str, str, str | None]]:
    return {(f.kind, f.path.rpartition("/")[2], f.excluded) for f in camus(root).findings}


def test_views_patients_and_splits(root):
    manifest = open_source(root)
    assert manifest.findings == ()
    assert [(r.uid, r.view, r.split, r.patient) for r in manifest.records] == [
        ("patient0001_4CH", View.A4C, Split.TRAIN, "patient0001"),
        ("patient0001_2CH", View.OTHER, Split.TRAIN, "patient0001"),
        ("patient0002_4CH", View.A4C, Split.TEST, "patient0002"),
        ("patient0002_2CH", View.OTHER, Split.TEST, "patient0002"),
    ]
    first = manifest.records[0]
    assert (first.frames, first.height, first.width) == (FRAMES, HEIGHT, WIDTH)
    assert (first.fps, first.ef, first.edv, first.source) == (48.5, 55, None, "camus")
    assert manifest.extras[first.uid] == {
        "Chamber": "4CH", "ED": "0", "ES": "4", "Sex": "F", "Age": "60", "ImageQuality": "Good",
        "mm_per_px": "0.5 0.25",
    }  # fmt: skip
    video = load_clip(manifest, first, Window(size=24)).video
    assert video[:, 12, 12].tolist() == [20, 40, 60, 80, 100]


def test_label_maps_become_masks_and_volumes(root):
    manifest = camus(root)
    first = manifest.records[0]
    masks = lv_masks(manifest, first)
    assert list(masks) == list(range(FRAMES))
    assert all((masks[f] == (labels()[f] == 1)).all() for f in masks)
    assert events(masks) == (0, 4)
    assert scale_of(manifest, first) == MM
    found = measured(manifest, first)
    assert found is not None
    assert (found.ed, found.es) == (0, 4)
    assert found.edv is not None
    # a box of 14 rows of 0.25 mm by 6 columns of 0.5 mm, 20 disks in pixels of 1/3 that size
    assert found.edv == pytest.approx(np.pi / 4 * 3**2 * 3.5 / 1000, rel=0.03)
    twice = measured(manifest, first, (1.0, 0.5))
    assert twice is not None
    assert (twice.edv, twice.ef) == pytest.approx((8 * found.edv, found.ef))


def test_a_sequence_from_systole_to_diastole_is_turned_round(root):
    folder = write_view(root, "patient0001", ED=FRAMES, ES=1)
    for suffix, array in (("", pictures()), ("_gt", labels())):
        write_nifti(folder / f"patient0001_4CH_half_sequence{suffix}.nii.gz", array[::-1], MM)
    manifest = camus(root)
    first = manifest.records[0]
    assert [(f.kind, f.excluded) for f in manifest.findings] == [("reversed", None)]
    assert manifest.backwards == {first.uid}
    assert (manifest.extras[first.uid]["ED"], manifest.extras[first.uid]["ES"]) == ("0", "4")
    video = load_clip(manifest, first, Window(size=24)).video
    assert video[:, 12, 12].tolist() == [20, 40, 60, 80, 100]
    masks = lv_masks(manifest, first)
    assert events(masks) == (0, 4)
    assert (masks[1] == (labels()[1] == 1)).all()


def test_stills_stand_in_for_the_labelled_sequence(root):
    folder = root / DATABASE / "patient0001"
    (folder / "patient0001_4CH_half_sequence_gt.nii.gz").unlink()
    manifest = camus(root)
    assert not manifest.findings
    masks = lv_masks(manifest, manifest.records[0])
    assert list(masks) == [0, 4]
    (folder / "patient0001_4CH_ES_gt.nii.gz").unlink()
    video = "patient0001_4CH_half_sequence.nii.gz"
    assert kinds(root) == {("one-tracing", video, None)}
    assert measured(camus(root), camus(root).records[0]) is None
    (folder / "patient0001_4CH_ED_gt.nii.gz").unlink()
    assert kinds(root) == {("no-tracing", video, None)}


def test_label_maps_that_cannot_be_right(root):
    folder = root / DATABASE / "patient0001"
    write_nifti(folder / "patient0001_4CH_ED_gt.nii.gz", labels()[0] + 4, MM)
    write_nifti(folder / "patient0001_4CH_half_sequence_gt.nii.gz", labels(4), MM)
    (folder / "patient0001_4CH_ES_gt.nii.gz").write_bytes(b"")
    (folder / "patient0001_2CH_ES_gt.nii.gz").unlink()
    (folder / "patient0001_2CH_ES_gt.nii.gz").symlink_to("/etc/hostname")
    assert kinds(root) == {
        ("bad-labels", "patient0001_4CH_ED_gt.nii.gz", None),
        ("bad-labels", "patient0001_4CH_ES_gt.nii.gz", None),
        ("bad-labels", "patient0001_4CH_half_sequence_gt.nii.gz", None),
        ("no-tracing", "patient0001_4CH_half_sequence.nii.gz", None),
        ("outside-root", "patient0001_2CH_ES_gt.nii.gz", None),
    }
    assert str(root) not in " ".join(f.detail for f in camus(root).findings)


@pytest.mark.parametrize(
    ("changes", "kind", "out"),
    [
        ({"EF": "n/a"}, "bad-cell", True),
        ({"EF": 0.55}, "bad-ef", True),
        ({"FrameRate": ""}, "no-rate", True),
        ({"FrameRate": -3}, "bad-cell", True),
        ({"NbFrame": 99}, "frame-count", False),
        ({"ES": FRAMES + 2}, "frame-out-of-range", False),
        ({"ED": FRAMES + 2}, "frame-out-of-range", False),
        ({"ED": "first"}, "bad-cell", False),
    ],
)
def test_bad_facts(root, changes, kind, out):
    write_view(root, "patient0001", **changes)
    uid = "patient0001_4CH"
    assert kinds(root) == {(kind, "Info_4CH.cfg", uid if out else None)}
    assert len(camus(root).records) == (3 if out else 4)


def test_volumes_and_names_of_older_text_files(root):
    write_view(root, "patient0001", EF="", LVef=48.5, LVedv=120.5, LVesv=62)
    first = camus(root).records[0]
    assert (first.ef, first.edv, first.esv) == (48.5, 120.5, 62)
    write_view(root, "patient0001", EF="")
    assert camus(root).records[0].ef is None


def test_lists_of_splits(root):
    lists = root / SPLITS
    (lists / "subgroup_training.txt").write_bytes(b"\xef\xbb\xbf  patient0001 \r\nnobody\r\n\r\n")
    (lists / "subgroup_validation.txt").write_text("patient0002\npatient0007\n")
    found = camus(root)
    assert [r.patient for r in found.records] == ["patient0001"] * 2
    assert kinds(root) == {
        ("byte-order-mark", "subgroup_training.txt", None),
        ("line-ends", "subgroup_training.txt", None),
        ("spaces", "subgroup_training.txt", None),
        ("bad-cell", "subgroup_training.txt", None),
        ("repeated-name", "subgroup_testing.txt", "patient0002_4CH"),
        ("repeated-name", "subgroup_testing.txt", "patient0002_2CH"),
        ("missing-video", "patient0007_4CH_half_sequence.nii.gz", "patient0007_4CH"),
        ("missing-video", "patient0007_2CH_half_sequence.nii.gz", "patient0007_2CH"),
    }
    assert len(found.records) + len(left_out(found.findings)) == 6


def test_splits_without_lists(root):
    for path in (root / SPLITS).iterdir():
        path.unlink()
    for patient in ("patient0401", "patient0500", "patient0501"):
        write_view(root, patient)
        write_view(root, patient, "2CH")
    found = camus(root)
    assert [r.split for r in found.records[::2]] == [
        Split.TRAIN, Split.TRAIN, Split.VAL, Split.TEST,
    ]  # fmt: skip
    assert {f.kind for f in found.findings} == {"bad-split"}
    assert left_out(found.findings) == ("patient0501_4CH", "patient0501_2CH")


def test_a_view_without_its_files(root):
    folder = root / DATABASE / "patient0001"
    (folder / "Info_2CH.cfg").unlink()
    (folder / "patient0001_4CH_half_sequence.nii.gz").write_text("a note")
    assert kinds(root) == {
        ("no-measurement", "Info_2CH.cfg", "patient0001_2CH"),
        ("unreadable", "patient0001_4CH_half_sequence.nii.gz", "patient0001_4CH"),
    }


def test_what_is_no_such_dataset(tmp_path):
    with pytest.raises(InputError, match="there is no folder database_nifti"):
        camus(tmp_path)
