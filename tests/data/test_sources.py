"""Whatever folder it is, it opens as a manifest or says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoflow.data.manifest import Manifest, video_path
from echoflow.data.sources import SOURCES, echonet_dynamic, folder, open_source, phantom
from echoflow.data.video import write_video
from echoflow.types import InputError, Record, Split, View

POOL = Path(__file__).parents[3] / "shared/data/echodiffusion_pool"
VIDEO = np.tile(np.arange(0, 240, 15, dtype=np.uint8), (5, 12, 1))


def films(root: Path) -> Path:
    write_video(root / "b.avi", VIDEO, 25)
    (root / "deep").mkdir()
    write_video(root / "deep" / "a.gif", VIDEO + np.arange(5, dtype=np.uint8)[:, None, None], 10)
    Image.fromarray(VIDEO[0]).save(root / "c.png")
    (root / "notes.txt").write_text("no video")
    (root / ".hidden.avi").write_text("half a video")
    return root


def layout(root: Path) -> Path:
    (root / "Videos").mkdir(parents=True)
    one = Record(
        "0XAA", video_path("0XAA"), "phantom", View.PLAX, Split.VAL, "p1",
        25.0, 5, 12, 16, 55.0, None, None,
    )  # fmt: skip
    write_video(root / one.path, VIDEO, one.fps)
    Manifest(root, (one,)).write()
    return root


def test_any_folder_of_videos(tmp_path):
    manifest = open_source(films(tmp_path))
    assert [(r.uid, r.path, r.frames, r.height, r.width, r.fps) for r in manifest.records] == [
        ("b", "b.avi", 5, 12, 16, 25.0),
        ("c", "c.png", 1, 12, 16, 1.0),
        ("deep-a", "deep/a.gif", 5, 12, 16, 10.0),
    ]
    assert {(r.view, r.split, r.ef, r.source) for r in manifest.records} == {
        (View.A4C, Split.TRAIN, None, "folder")
    }
    assert manifest.extras == {}
    assert manifest.video(manifest.records[2]) == tmp_path / "deep/a.gif"


def test_labels_of_a_folder(tmp_path):
    films(tmp_path)
    (tmp_path / "labels.csv").write_text(
        "FileName,EF,View,Split,FPS,Grader\ndeep/a.gif,61.5,psax,test,8,K\nb,,,,,M\n"
    )
    manifest = folder(tmp_path)
    rows = {r.uid: r for r in manifest.records}
    assert rows["deep-a"].ef == 61.5
    assert (rows["deep-a"].view, rows["deep-a"].split) == (View.PSAX, Split.TEST)
    assert rows["deep-a"].fps == 8.0
    assert (rows["b"].ef, rows["b"].fps, rows["b"].split) == (None, 25.0, Split.TRAIN)
    assert manifest.extras == {"deep-a": {"Grader": "K"}, "b": {"Grader": "M"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FileName,EF\nz.avi,50\n", r"labels.csv, line 2: there is no video z.avi"),
        ("FileName,EF\nb,50\nb.avi,50\n", r"line 3: b.avi is listed twice"),
        ("FileName,EF\nb,0.5\n", r"line 2: ef must be a percentage"),
        ("FileName,FPS\nb,fast\n", r"line 2: FPS must be a number"),
        ("Name,EF\nb,50\n", r"lacks the column FileName; it has Name, EF"),
    ],
)
def test_bad_labels(tmp_path, text, message):
    films(tmp_path)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        folder(tmp_path)


def test_two_label_files_and_two_videos_of_one_name(tmp_path):
    films(tmp_path)
    write_video(tmp_path / "b.mp4", VIDEO, 25)
    with pytest.raises(InputError, match="lists b twice"):
        folder(tmp_path)
    (tmp_path / "b.mp4").unlink()
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("FileName\n")
    with pytest.raises(InputError, match=r"several CSV files \(one.csv, two.csv\)"):
        folder(tmp_path)


def test_a_damaged_video_in_a_folder_is_named(tmp_path):
    (tmp_path / "x.avi").write_text("no video")
    with pytest.raises(InputError, match=r"x\.avi is not a video"):
        open_source(tmp_path)


def test_the_layout_is_recognised(tmp_path):
    root = layout(tmp_path / "set")
    manifest = open_source(root)
    assert manifest.records[0].source == "phantom"
    assert manifest.records == echonet_dynamic(root).records
    with pytest.raises(InputError, match=r"there is no phantom.json"):
        phantom(root)
    (root / "phantom.json").write_text("{}")
    assert phantom(root).records == open_source(root).records


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        open_source(tmp_path / "none")
    with pytest.raises(InputError, match=r"neither a FileList.csv .* nor any video"):
        open_source(tmp_path)
    with pytest.raises(InputError, match="there is no video or image file"):
        folder(tmp_path)
    assert list(SOURCES) == ["phantom", "echonet-dynamic", "folder"]


@pytest.mark.skipif(not POOL.exists(), reason="needs the clip pool")
def test_the_clip_pool():
    manifest = folder(POOL / "factual")
    assert len(manifest.records) == 48
    assert {(r.frames, r.height, r.width) for r in manifest.records} == {(16, 112, 112)}
