"""TMED-2: stills at any depth, with labels, with labels of others, or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_datasets import table

from echoflow.data.findings import left_out
from echoflow.data.readers.tmed2 import LABELS, tmed2
from echoflow.data.sources import open_source
from echoflow.types import InputError, Split, View

HEADER = "query_key,view_label,diagnosis_label,view_classifier_split,diagnosis_classifier_split"
BOTH, VIEWS, NONE = "view_and_diagnosis_labeled_set", "view_labeled_set", "unlabeled_set"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((112, 112), 90, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path) -> Path:
    """As one unpacked archive has it, one folder too deep."""
    base = tmp_path / "approved_users_only"
    for name in ("1009s2_12", "1009s2_13", "1011s1_0"):
        picture(base / BOTH / "labeled" / "labeled" / f"{name}.png")
    picture(base / VIEWS / "labeled" / "2000s1_5.png")
    picture(base / NONE / "unlabeled" / "3000s1_7.png")
    rows = [
        "1009s2_12.png,PLAX,severe_AS,train,train",
        "1009s2_13.png,A2C,severe_AS,train,train",
        "1011s1_0.png,PSAX,no_AS,val,val",
        "2000s1_5.png,A4C,Not_Provided,test,",
    ]
    table(base / LABELS, HEADER, rows)
    table(base / "DEV479" / "TMED2_fold0_labeledpart.csv", HEADER, rows[:2])
    return tmp_path


def test_all_sets_are_merged(root):
    manifest = open_source(root)
    assert manifest.findings == ()
    assert [(r.uid, r.view, r.patient) for r in manifest.records] == [
        ("3000s1_7", View.OTHER, "3000"),
        ("1009s2_12", View.PLAX, "1009"),
        ("1009s2_13", View.OTHER, "1009"),
        ("1011s1_0", View.PSAX, "1011"),
        ("2000s1_5", View.A4C, "2000"),
    ]
    assert {(r.split, r.ef, r.frames, r.fps, r.height) for r in manifest.records} == {
        (Split.TRAIN, None, 1, 1.0, 112)
    }
    assert manifest.extras["1009s2_13"] == {
        "Set": f"{BOTH}/labeled/labeled",
        "view_label": "A2C",
        "diagnosis_label": "severe_AS",
        "view_classifier_split": "train",
        "diagnosis_classifier_split": "train",
    }


def test_without_any_label(root):
    base = root / "approved_users_only"
    (base / LABELS).unlink()
    (base / "DEV479" / "TMED2_fold0_labeledpart.csv").unlink()
    manifest = open_source(root)
    assert len(manifest.records) == 5
    assert {r.view for r in manifest.records} == {View.OTHER}
    assert not manifest.findings


def test_bad_files_and_rows(root):
    base = root / "approved_users_only"
    (base / NONE / "4000s1_1.png").write_bytes(b"")
    (base / NONE / "4000s1_2.png").write_text("no picture")
    picture(base / NONE / "1009s2_12.png")
    picture(base / NONE / "strange name.png")
    (base / NONE / "link.png").symlink_to("/etc/hostname")
    with (base / LABELS).open("a") as file:
        file.write("9s1_1.png,PLAX,no_AS,train,train\n/etc/x.png,PLAX,no_AS,,\n3000s1_7,A9C,x,,\n")
        file.write("1011s1_0.png,A4C,no_AS,val,val\n,,,,\n3000s1_7.png,1,2,3,4,5\n")
    table(base / "other.csv", "FileName,EF", ["x,1"])
    manifest = tmed2(base)
    assert {(f.kind, f.excluded) for f in manifest.findings} == {
        ("empty-file", "4000s1_1"),
        ("unreadable", "4000s1_2"),
        ("repeated-name", f"{BOTH}/labeled/labeled/1009s2_12.png"),
        ("outside-root", f"{NONE}/link.png"),
        ("missing-video", "9s1_1"),
        ("outside-root", None),
        ("bad-view", None),
        ("repeated-name", None),
        ("bad-cell", None),
    }
    assert len(manifest.records) == 6
    assert len(left_out(manifest.findings)) == 5
    strange = next(r for r in manifest.records if r.uid == "strange name")
    assert (strange.patient, strange.view) == (None, View.OTHER)


def test_what_is_no_such_dataset(tmp_path):
    with pytest.raises(InputError, match="there is no PNG file"):
        tmed2(tmp_path)
