"""EchoNet-Pediatric as it is shipped: two views, nested or flat, folds, polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_datasets import FPS, PEDIATRIC, film, films, table, traced

from echoflow.data.findings import left_out
from echoflow.data.readers.pediatric import echonet_pediatric
from echoflow.types import InputError, Record, Split, View

CORNERS = np.array([[2.0, 2.0], [9.0, 2.0], [9.0, 9.0], [4.0, 10.0]])
NAME = "CR32a7555-CR32a7582-00003"


def dataset(root: Path, views: tuple[str, ...] = ("A4C", "PSAX"), first: int = 0) -> Path:
    """Four videos per view, of folds 0, 7, 8 and 9."""
    for view in views:
        names = [f"{NAME}{first + number}.avi" for number in range(4)]
        films(root / view / "Videos", names)
        folds = zip(names, (0, 7, 8, 9), strict=True)
        rows = [(name, 62.5, "F", 0.4, 6.2, 61, fold) for name, fold in folds]
        table(root / view / "FileList.csv", PEDIATRIC, rows)
        lines = [line for name in names for f in (1, 3) for line in traced(name, f, CORNERS)]
        table(root / view / "VolumeTracings.csv", "FileName,X,Y,Frame", lines)
        first += 4
    return root


def test_reads_what_is_shipped(tmp_path):
    nested = dataset(tmp_path / "pediatric_echo_avi" / "pediatric_echo_avi")
    manifest = echonet_pediatric(tmp_path)
    assert manifest.root == nested
    assert manifest.findings == ()
    assert manifest.records[0] == Record(
        f"{NAME}0", f"A4C/Videos/{NAME}0.avi", "echonet-pediatric", View.A4C, Split.TRAIN, None,
        FPS, 5, 12, 16, 62.5, None, None,
    )  # fmt: skip
    assert [r.split.value for r in manifest.of(view=View.PSAX)] == ["TRAIN", "TRAIN", "VAL", "TEST"]
    extra = {"Sex": "F", "Age": "0.4", "Weight": "6.2", "Height": "61", "Fold": "7"}
    assert manifest.extras[f"{NAME}1"] == extra
    np.testing.assert_array_equal(manifest.outlines[f"{NAME}7"][3], CORNERS)
    assert manifest.video(manifest.records[-1]).is_file()


def test_flat_or_one_view(tmp_path):
    root = dataset(tmp_path)
    assert len(echonet_pediatric(root).records) == 8
    one = echonet_pediatric(root / "PSAX")
    assert {(r.view, r.path[:7]) for r in one.records} == {(View.PSAX, "Videos/")}
    with pytest.raises(InputError, match=r"neither A4C/FileList.csv nor PSAX"):
        echonet_pediatric(root / "A4C" / "Videos")


def test_a_name_in_both_views(tmp_path):
    dataset(tmp_path, ("A4C",))
    dataset(tmp_path, ("PSAX",))
    (tmp_path / "A4C/Videos" / f"{NAME}0.avi").unlink()
    (tmp_path / "PSAX/Videos" / f"{NAME}0.avi").write_bytes(b"")
    manifest = echonet_pediatric(tmp_path)
    assert left_out(manifest.findings) == (f"{NAME}0", f"PSAX-{NAME}0")
    assert [r.uid for r in manifest.of(view=View.PSAX)] == [f"PSAX-{NAME}{i}" for i in (1, 2, 3)]
    assert manifest.outlines.keys() == {r.uid for r in manifest.records} == manifest.extras.keys()


@pytest.mark.parametrize(
    ("fold", "kind", "message"),
    [
        ("10", "bad-split", "folds go from 0 to 9; got 10"),
        ("-1", "bad-split", "at least 0; got '-1'"),
        ("2.5", "bad-split", "whole number; got 2.5"),
        ("", "bad-split", "Split is empty"),
        ("fold", "bad-split", "unknown split 'FOLD'"),
    ],
)
def test_bad_folds(tmp_path, fold, kind, message):
    root = dataset(tmp_path, ("A4C",))
    text = (root / "A4C/FileList.csv").read_text()
    (root / "A4C/FileList.csv").write_text(text.replace("61,0", f"61,{fold}", 1))
    (finding,) = echonet_pediatric(root).findings
    assert (finding.kind, finding.path) == (kind, "A4C/FileList.csv")
    assert finding.excluded == f"{NAME}0"
    assert message in finding.detail


def test_named_splits_with_a_column_of_folds(tmp_path):
    """As the code of 2024 rewrites the table: without suffix, splits by name."""
    films(tmp_path / "A4C/Videos", ["a.avi", "b.avi"])
    header = "FileName,EF,Sex,Age,Weight,Height,Split,Fold,FrameHeight"
    table(
        tmp_path / "A4C/FileList.csv", header, ["a,50,F,1,2,3,VAL,8,112", "b,50,F,1,2,3,TRAIN,,9"]
    )
    manifest = echonet_pediatric(tmp_path)
    assert [r.split for r in manifest.records] == [Split.VAL, Split.TRAIN]
    assert [manifest.extras[uid]["Fold"] for uid in "ab"] == ["8", ""]
    kinds = [f.kind for f in manifest.findings]
    assert kinds == ["suffix", "suffix", "no-tracing"]


MARKS = {
    "No Systolic": ("no-systolic", {1}),
    "No Diastolic": ("no-diastolic", {1}),
    "": ("bad-cell", {1}),
    "99": ("frame-out-of-range", {1}),
    "nan": ("bad-cell", {1}),
}


@pytest.mark.parametrize("mark", MARKS)
def test_frames_that_are_no_frames(tmp_path, mark):
    root = dataset(tmp_path, ("A4C",))
    path = root / "A4C/VolumeTracings.csv"
    lines = path.read_text().splitlines()
    head = [line.rpartition(",")[0] + f",{mark}" for line in lines[5:9]]
    path.write_text("\n".join((*lines[:5], *head, *lines[9:])) + "\n")
    manifest = echonet_pediatric(root)
    (finding,) = manifest.findings
    kind, kept = MARKS[mark]
    assert (finding.kind, finding.path, finding.excluded) == (kind, "A4C/VolumeTracings.csv", None)
    assert f"{NAME}0" in finding.detail
    assert manifest.outlines[f"{NAME}0"].keys() == kept
    assert len(manifest.records) == 4


def test_odd_polygons(tmp_path):
    root = dataset(tmp_path, ("A4C",))
    name = f"{NAME}0.avi"
    twice = np.repeat(CORNERS, 2, axis=0)
    lines = traced(name, 1, CORNERS[:2]) + traced(name, 3, twice - 5)
    table(root / "A4C/VolumeTracings.csv", "FileName,X,Y,Frame", lines)
    manifest = echonet_pediatric(root)
    kinds = [f.kind for f in manifest.findings]
    assert kinds == ["short-tracing", "outside-image", *["no-tracing"] * 3]
    np.testing.assert_array_equal(manifest.outlines[f"{NAME}0"][3], twice - 5)


def test_the_other_view_is_read_although_one_is_bad(tmp_path):
    root = dataset(tmp_path)
    for path in (root / "A4C/Videos").iterdir():
        path.write_bytes(film()[:100])
    manifest = echonet_pediatric(root)
    assert {r.view for r in manifest.records} == {View.PSAX}
    assert len(left_out(manifest.findings)) == 4
