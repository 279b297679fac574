"""A folder of whatever there is, with labels where there are any."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_datasets import film

from echoflow.data.findings import left_out
from echoflow.data.readers.folder import folder
from echoflow.data.video import write_video
from echoflow.types import InputError, Split, View

VIDEO = np.tile(np.arange(0, 240, 15, dtype=np.uint8), (5, 12, 1))


def films(root: Path) -> Path:
    write_video(root / "b.avi", VIDEO, 25)
    (root / "deep").mkdir(parents=True)
    write_video(root / "deep" / "a.gif", VIDEO + np.arange(5, dtype=np.uint8)[:, None, None], 10)
    Image.fromarray(VIDEO[0]).save(root / "c.png")
    (root / "notes.txt").write_text("no video")
    (root / ".hidden.avi").write_text("half a video")
    return root


def test_any_folder_of_videos(tmp_path):
    manifest = folder(films(tmp_path))
    assert [(r.uid, r.path, r.frames, r.height, r.width, r.fps) for r in manifest.records] == [
        ("b", "b.avi", 5, 12, 16, 25.0),
        ("c", "c.png", 1, 12, 16, 1.0),
        ("deep-a", "deep/a.gif", 5, 12, 16, 10.0),
    ]
    assert {(r.view, r.split, r.ef, r.source) for r in manifest.records} == {
        (View.A4C, Split.TRAIN, None, "folder")
    }
    assert (manifest.extras, manifest.findings) == ({}, ())
    assert manifest.video(manifest.records[2]) == tmp_path / "deep/a.gif"


def test_labels_of_a_folder(tmp_path):
    films(tmp_path)
    (tmp_path / "labels.csv").write_text(
        "FileName,EF,View,Split,FPS,Grader\ndeep\\a.gif,61.5,psax,test,8,K\nb,,,,,M\n"
    )
    (tmp_path / "other.csv").write_text("Name,Score\nb,3\n")
    manifest = folder(tmp_path)
    rows = {r.uid: r for r in manifest.records}
    assert rows["deep-a"].ef == 61.5
    assert (rows["deep-a"].view, rows["deep-a"].split) == (View.PSAX, Split.TEST)
    assert rows["deep-a"].fps == 8.0
    assert (rows["b"].ef, rows["b"].fps, rows["b"].split) == (None, 25.0, Split.TRAIN)
    assert manifest.extras == {"deep-a": {"Grader": "K"}, "b": {"Grader": "M"}}
    (finding,) = manifest.findings
    assert (finding.kind, finding.path, finding.excluded) == ("unlisted-video", "c.png", None)


def test_the_name_alone_will_do_where_it_is_the_only_one(tmp_path):
    films(tmp_path)
    (tmp_path / "labels.csv").write_text("FileName,EF\na,61\nc.png,50\nb,50\n")
    manifest = folder(tmp_path)
    assert {r.uid: r.ef for r in manifest.records} == {"b": 50.0, "c": 50.0, "deep-a": 61.0}
    assert manifest.findings == ()


@pytest.mark.parametrize(
    ("rows", "kind", "excluded", "message"),
    [
        ("z.avi,50\n", "missing-video", "z", "line 2: there is no video z"),
        ("z,50\nz,51\n", "missing-video", "z", "line 2: there is no video z"),
        ("b,50\nb.avi,51\n", "repeated-name", "b", "lines 2 and 3: b is listed twice"),
        ("b,50\nb.avi,50\n", "repeated-name", None, "line 3: b is listed again"),
        ("b,0.5\n", "bad-ef", "b", "line 2: ef must be a percentage"),
        ("b,much\n", "bad-cell", "b", "line 2: EF must be a number"),
        (",50\n", "bad-cell", "labels.csv:2", "FileName is empty"),
        ("../b,50\n", "outside-root", "..-b", "leads out of the dataset"),
    ],
)
def test_bad_rows(tmp_path, rows, kind, excluded, message):
    (tmp_path / "b.avi").write_bytes(film())
    (tmp_path / "labels.csv").write_text(f"FileName,EF\n{rows}")
    manifest = folder(tmp_path)
    first = manifest.findings[0]
    assert (first.kind, first.path, first.excluded) == (kind, "labels.csv", excluded)
    assert message in first.detail
    assert len(manifest.records) == (excluded != "b")


def test_two_label_files_and_one_that_is_none(tmp_path):
    films(tmp_path)
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("FileName\nb\n")
    with pytest.raises(InputError, match=r"several CSV files \(one.csv, two.csv\)"):
        folder(tmp_path)
    (tmp_path / "one.csv").unlink()
    (tmp_path / "two.csv").write_text("Name,EF\nb,50\n")
    with pytest.raises(InputError, match="lacks the column FileName; it has Name, EF"):
        folder(tmp_path)


def test_bad_files_are_named_and_left_out(tmp_path):
    films(tmp_path)
    write_video(tmp_path / "b.mp4", VIDEO, 25)
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "void.gif").write_bytes(b"")
    (tmp_path / "cut.avi").write_bytes(film()[:-50])
    (tmp_path / "half.png").write_bytes((tmp_path / "c.png").read_bytes()[:20])
    os.symlink(__file__, tmp_path / "link.avi")
    manifest = folder(tmp_path)
    assert {(f.kind, f.path, f.excluded) for f in manifest.findings} == {
        ("repeated-name", "b.mp4", "b.mp4"),
        ("unreadable", "text.avi", "text"),
        ("empty-file", "void.gif", "void"),
        ("truncated", "cut.avi", "cut"),
        ("unreadable", "half.png", "half"),
        ("outside-root", "link.avi", "link"),
    }
    assert [r.uid for r in manifest.records] == ["b", "c", "deep-a"]
    assert len(manifest.records) + len(left_out(manifest.findings)) == 9


def test_no_videos_at_all(tmp_path):
    with pytest.raises(InputError, match="there is no video or image file"):
        folder(tmp_path)
