"""A folder of DICOM files: names that say nothing, patients kept together, labels from a table."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from medical_files import IDENTIFIERS, marked, write_dicom
from small_datasets import table

from echoflow.data.findings import left_out
from echoflow.data.prepare import Window, load_clip
from echoflow.data.readers.dicom import LABELS, dicom
from echoflow.data.sources import open_source
from echoflow.types import InputError, Split, View

pytest.importorskip("pydicom")

REGION = (2, 4, 18, 28)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 20, 30), dtype=np.uint8)


@pytest.fixture
def root(tmp_path) -> Path:
    """Two clips of one patient, one of another, with and without a suffix."""
    write_dicom(tmp_path / "Mustermann" / "IM_0001", noise(1), region=REGION)
    write_dicom(tmp_path / "Mustermann" / "b.dcm", noise(2), region=REGION)
    write_dicom(tmp_path / "c.DCM", noise(3), region=REGION, tags={"PatientID": "other"})
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def test_loops_are_found_and_named_after_their_pixels(root):
    manifest = open_source(root)
    assert not manifest.findings
    assert sorted(r.path for r in manifest.records) == ["Mustermann/IM_0001", "Mustermann/b.dcm",
                                                        "c.DCM"]  # fmt: skip
    for record in manifest.records:
        assert len(record.uid) == 16
        assert (record.frames, record.height, record.width, record.fps) == (4, 16, 24, 50)
        assert (record.view, record.split, record.ef) == (View.OTHER, Split.TRAIN, None)
        assert manifest.extras[record.uid] == {"mm_per_px": "0.5 1"}
    first = next(r for r in manifest.records if r.path.endswith("IM_0001"))
    clip = load_clip(manifest, first, Window(size=24))
    assert (clip.video[:, 4:20] == noise(1)[:, 2:18, 4:28]).all()


def test_clips_of_a_patient_share_a_name_that_is_not_the_patients(root):
    patients = {r.path: r.patient for r in dicom(root).records}
    assert patients["Mustermann/IM_0001"] == patients["Mustermann/b.dcm"]
    assert patients["Mustermann/b.dcm"] != patients["c.DCM"]
    assert all(patient and patient.startswith("of-") for patient in patients.values())


def test_no_identifier_is_kept(root):
    """Everything but the path, which a user gave, and which outputs do not repeat."""
    manifest = dicom(root)
    told = json.dumps([{**asdict(r), "path": ""} for r in manifest.records], default=str)
    told += json.dumps([dict(cells) for cells in manifest.extras.values()])
    assert not [name for name, value in IDENTIFIERS.items() if value in told]
    assert "Mustermann" not in told


def test_labels_from_a_table(root):
    table(
        root / LABELS,
        "FileName,EF,EDV,ESV,View,Split,FPS,Patient,Name",
        ["c.DCM,61.5,120,46.2,psax,val,25,MRN-1,Erika", "Mustermann/b.dcm,,,,,,,,"],
    )
    manifest = dicom(root)
    assert not manifest.findings
    labelled = next(r for r in manifest.records if r.path == "c.DCM")
    assert (labelled.ef, labelled.edv, labelled.esv, labelled.fps) == (61.5, 120, 46.2, 25)
    assert (labelled.view, labelled.split) == (View.PSAX, Split.VAL)
    assert labelled.patient != "MRN-1"
    assert "Erika" not in str(manifest.extras)


def test_everything_is_accounted_for(root):
    rate_free = {"FrameTime": None}
    write_dicom(root / "copy.dcm", noise(3), region=REGION)
    write_dicom(root / "slow.dcm", noise(4), region=REGION, tags=rate_free)
    write_dicom(root / "told.dcm", noise(5), region=REGION, tags=rate_free)
    write_dicom(root / "whole.dcm", noise(6))
    write_dicom(root / "burnt.dcm", noise(7), tags={"BurnedInAnnotation": "YES"})
    spectrum = [marked(REGION, 0.05, spatial=3)]
    write_dicom(root / "doppler.dcm", noise(8), tags={"SequenceOfUltrasoundRegions": spectrum})
    write_dicom(root / "report.dcm", noise(9), tags={"Rows": None, "Columns": None})
    (root / "empty.dcm").write_bytes(b"")
    (root / "text.dcm").write_text("no scan")
    cut = write_dicom(root / "cut.dcm", noise(10), region=REGION, syntax="rle")
    cut.write_bytes(cut.read_bytes()[:-400])
    (root / "link.dcm").symlink_to("/etc/hostname")
    table(
        root / LABELS,
        "FileName,EF,FPS",
        ["told.dcm,50,40", "c.DCM,0.5,", "none.dcm,50,", "/etc/x.dcm,50,", ",1,", "c.DCM,50,"],
    )
    manifest = dicom(root)
    assert {(f.kind, f.path, f.excluded) for f in manifest.findings} == {
        ("repeated-name", "copy.dcm", "copy.dcm"),
        ("no-rate", "slow.dcm", "slow.dcm"),
        ("no-region", "whole.dcm", None),
        ("burnt-in", "burnt.dcm", "burnt.dcm"),
        ("no-region", "doppler.dcm", "doppler.dcm"),
        ("unreadable", "report.dcm", "report.dcm"),
        ("empty-file", "empty.dcm", "empty.dcm"),
        ("unreadable", "text.dcm", "text.dcm"),
        ("truncated", "cut.dcm", "cut.dcm"),
        ("outside-root", "link.dcm", "link.dcm"),
        ("bad-ef", LABELS, "c.DCM"),
        ("missing-video", LABELS, "none.dcm"),
        ("outside-root", LABELS, "/etc/x.dcm"),
        ("bad-cell", LABELS, None),
        ("repeated-name", LABELS, None),
    }
    assert sorted(r.path for r in manifest.records) == [
        "Mustermann/IM_0001", "Mustermann/b.dcm", "told.dcm", "whole.dcm",
    ]  # fmt: skip
    assert len(left_out(manifest.findings)) == 12
    told = next(r for r in manifest.records if r.path == "told.dcm")
    assert (told.fps, told.ef) == (40, 50)


def test_what_is_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="there is no DICOM file"):
        dicom(tmp_path)
