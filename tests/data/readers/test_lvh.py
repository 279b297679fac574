"""EchoNet-LVH: calipers to Teichholz volumes; native sizes; what is wrong with a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_datasets import FPS, FRAMES, HEIGHT, WIDTH, films, table

from echoflow.data.findings import Finding, left_out
from echoflow.data.manifest import Manifest
from echoflow.data.readers.lvh import MEASUREMENTS, echonet_lvh
from echoflow.data.sources import open_source
from echoflow.types import InputError, Split, View

HEADER = ",HashedFileName,Calc,CalcValue,Frame,X1,X2,Y1,Y2,Frames,FPS,Width,Height,split"
DEFAULT = {
    "": 0,
    "HashedFileName": "0XA",
    "Calc": "LVIDd",
    "CalcValue": 5,
    "Frame": 0,
    "X1": 2,
    "X2": 5,
    "Y1": 1,
    "Y2": 5,
    "Frames": FRAMES,
    "FPS": 50,
    "Width": WIDTH,
    "Height": HEIGHT,
    "split": "train",
}


def row(**changes: object) -> list[object]:
    """A sound measurement: 5 cm and 5 px long, in the first frame."""
    return list({**DEFAULT, **changes}.values())


def pair(uid: str, **changes: object) -> list[list[object]]:
    """Both internal diameters of a video: 5 and 3 cm."""
    diastole = row(HashedFileName=uid, **changes)
    return [diastole, row(**{"HashedFileName": uid, "Calc": "LVIDs", "CalcValue": 3, "Frame": 3,
                             **changes})]  # fmt: skip


def write(root: Path, rows: list[list[object]], header: str = HEADER) -> Path:
    for batch, name in enumerate("ABC", 1):
        films(root / f"Batch{batch}", [f"0X{name}.avi"])
    table(root / MEASUREMENTS, header, rows)
    return root


def read(root: Path, *rows: list[object]) -> tuple[Manifest, list[Finding]]:
    """With sound rows for B and C; findings of A alone."""
    manifest = echonet_lvh(write(root, [*rows, *pair("0XB"), *pair("0XC", split="val")]))
    return manifest, list(manifest.findings)


def kinds(findings: list[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.kind, finding.excluded) for finding in findings]


def test_diameters_become_volumes(tmp_path):
    rows = [*pair("0XA"), row(Calc="IVSd", CalcValue=1.1, X2=2, Y2=2.1), *pair("0XB", split="test")]
    write(tmp_path, [*rows, *pair("0XC", split="val")])
    manifest = open_source(tmp_path)
    assert not manifest.findings
    first = manifest.records[0]
    assert (first.uid, first.path, first.source) == ("0XA", "Batch1/0XA.avi", "echonet-lvh")
    assert (first.view, first.patient, first.fps) == (View.PLAX, None, 50)
    assert (first.frames, first.height, first.width) == (FRAMES, HEIGHT, WIDTH)
    assert first.edv == pytest.approx(118.2432, abs=1e-4)
    assert first.esv == pytest.approx(35)
    assert first.ef == pytest.approx(70.4, abs=1e-4)
    assert [r.split for r in manifest.records] == [Split.TRAIN, Split.TEST, Split.VAL]
    assert manifest.extras["0XA"] == {
        "LVIDd": "5", "LVIDd_frame": "0", "LVIDd_ends": "2 1 5 5",
        "LVIDs": "3", "LVIDs_frame": "3", "LVIDs_ends": "2 1 5 5",
        "IVSd": "1.1", "IVSd_frame": "0", "IVSd_ends": "2 1 2 2.1",
        "mm_per_px": "10",
    }  # fmt: skip
    assert manifest.tracings == manifest.outlines == manifest.label_maps == {}


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([0, 3], ["0", "3"]),
        ([1, FRAMES], ["0", "4"]),
        ([1, 3], ["1", "3"]),
        ([0, FRAMES], ["0", ""]),
    ],
)
def test_frames_count_from_0_or_1(tmp_path, frames, expected):
    """From 1 if no frame is 0 and one is the last from 1; else from 0."""
    rows = [row(Frame=frames[0]), row(Calc="LVIDs", CalcValue=3, Frame=frames[1])]
    films(tmp_path / "Batch1", ["0XA.avi"])
    table(tmp_path / MEASUREMENTS, HEADER, rows)
    told = echonet_lvh(tmp_path).extras["0XA"]
    assert [told["LVIDd_frame"], told["LVIDs_frame"]] == expected
    forced = echonet_lvh(tmp_path, first_frame=1).extras["0XA"]
    assert forced["LVIDs_frame"] == str(frames[1] - 1)


def test_repeated_measurements_give_their_median(tmp_path):
    beats = [row(CalcValue=cm, Frame=n) for n, cm in enumerate((4.9, 5.3, 5.0))]
    manifest, findings = read(tmp_path, *beats, row(Calc="LVIDs", CalcValue=3))
    assert kinds(findings) == [("repeated-measurement", None)]
    assert "3 measurements (4.9, 5.3, 5 cm)" in findings[0].detail
    assert manifest.extras["0XA"]["LVIDd"] == "5"
    assert manifest.extras["0XA"]["LVIDd_frame"] == "2"


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([row()], "no-measurement", "LVIDs of this video is not measured"),
        ([row(Calc="IVSd")], "no-measurement", "LVIDd of this video"),
        (pair("0XA", CalcValue="n/a"), "bad-cell", "CalcValue must be a number; got 'n/a'"),
        (pair("0XA", CalcValue=-2), "bad-cell", "more than 0 and up to 20; got -2"),
        (pair("0XA", CalcValue=48), "bad-cell", "must be in cm"),
        (pair("0XA", CalcValue=4), "bad-ef", "LVIDs 4 cm is not less than LVIDd 4 cm"),
        (pair("0XA", split="practice"), "bad-split", "unknown split 'PRACTICE'"),
        (pair("0XA", split=""), "bad-split", "split is empty"),
        (
            [row(), row(Calc="LVIDs", CalcValue=3, split="val")],
            "bad-split",
            "in the splits TRAIN, VAL",
        ),
    ],
)
def test_labels_are_believed_or_the_video_is_left_out(tmp_path, rows, kind, words):
    manifest, findings = read(tmp_path, *rows)
    assert kinds(findings) == [(kind, "0XA")]
    assert words in findings[0].detail
    assert findings[0].detail.startswith("0XA, line 2")
    assert [r.uid for r in manifest.records] == ["0XB", "0XC"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"Frames": 9}, "frame-count"),
        ({"Frames": "many"}, "bad-cell"),
        ({"Width": HEIGHT}, "wrong-size"),
        ({"FPS": ""}, "bad-cell"),
        ({"X1": WIDTH + 40}, "outside-image"),
        ({"Frame": 80}, "frame-out-of-range"),
        ({"Frame": "?"}, "bad-cell"),
        ({"HashedFileName": " 0XA "}, "spaces"),
        ({"HashedFileName": "0XA.avi"}, "suffix"),
    ],
)
def test_what_is_read_around(tmp_path, changes, kind):
    rows = [row(**changes), row(**{**changes, "Calc": "LVIDs", "CalcValue": 3})]
    manifest, findings = read(tmp_path, *rows)
    assert {(f.kind, f.excluded) for f in findings} == {(kind, None)}
    assert all("0XA" in f.detail for f in findings)
    assert len(findings) <= 2
    assert len(manifest.records) == 3
    assert manifest.records[0].ef == pytest.approx(70.4, abs=1e-4)
    assert manifest.records[0].frames == FRAMES
    assert manifest.records[0].fps == (FPS if "FPS" in changes else 50)


def test_a_bad_row_beside_good_ones(tmp_path):
    """Walls and unknown names may be wrong; a diameter that is also there in a good row counts."""
    extra = [row(Calc="IVSd", CalcValue=""), row(Calc="Aorta"), row(CalcValue="x")]
    manifest, findings = read(tmp_path, *pair("0XA"), *extra)
    assert kinds(findings) == [("bad-cell", None)] * 3
    assert len(manifest.records) == 3


def test_every_file_and_row_is_accounted_for(tmp_path):
    write(tmp_path, [*pair("0XA"), *pair("0XB"), *pair("0XNONE"), *pair("../0XOUT"), *pair("")])
    films(tmp_path / "Batch4", ["0XB.avi", "0XMORE.avi"])
    (tmp_path / "Batch2" / "0XL.avi").symlink_to("/etc/hostname")
    (tmp_path / "Batch1" / "0XA.avi").write_bytes(b"")
    manifest = echonet_lvh(tmp_path)
    assert [r.uid for r in manifest.records] == ["0XB"]
    by_kind = {(f.kind, f.excluded) for f in manifest.findings}
    assert by_kind == {
        ("empty-file", "0XA"),
        ("repeated-name", "Batch4/0XB.avi"),
        ("missing-video", "0XNONE"),
        ("outside-root", "0XOUT"),
        ("outside-root", "0XL"),
        ("bad-cell", f"{MEASUREMENTS}:10"),
        ("bad-cell", f"{MEASUREMENTS}:11"),
        ("unlisted-video", "0XC"),
        ("unlisted-video", "0XMORE"),
    }
    assert len(left_out(manifest.findings)) == 9


def test_what_is_no_such_dataset(tmp_path):
    with pytest.raises(InputError, match=r"there is no MeasurementsList.csv"):
        echonet_lvh(tmp_path)
    table(tmp_path / MEASUREMENTS, "HashedFileName,Calc", [])
    with pytest.raises(InputError, match="lacks the column CalcValue, Frame, split"):
        echonet_lvh(tmp_path)
