"""EchoNet-Dynamic as it is shipped, and every way in which it can be wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from small_datasets import FILE_LIST, dynamic, film, row, table, traced, tracing

from echoflow.data.findings import left_out
from echoflow.data.manifest import Manifest
from echoflow.data.readers.dynamic import read_dynamic
from echoflow.types import InputError, Record, Split, View

TRACINGS = "FileName,X1,Y1,X2,Y2,Frame"


def sound(root: Path) -> Path:
    """Three videos, all in order."""
    rows = (row("0XA"), row("0XB", "VAL", FPS=50.5), row("0XC", "TEST"))
    lines = [line for uid in "ABC" for f in (1, 4) for line in traced(f"0X{uid}.avi", f, tracing())]
    table(root / "VolumeTracings.csv", TRACINGS, lines)
    return dynamic(root, rows)


def replaced(root: Path, old: str, new: str, name: str = "FileList.csv") -> Manifest:
    """Reads the sound dataset after one replacement in the raw bytes of a table."""
    path = sound(root) / name
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())
    return read_dynamic(root)


def told(manifest: Manifest) -> list[tuple[str, str, str | None]]:
    return [(f.kind, f.path, f.excluded) for f in manifest.findings]


def test_reads_what_is_shipped(tmp_path):
    manifest = read_dynamic(sound(tmp_path))
    assert manifest.records[0] == Record(
        "0XA", "Videos/0XA.avi", "echonet-dynamic", View.A4C, Split.TRAIN, None,
        50.0, 5, 12, 16, 55.5, 90.5, 40.25,
    )  # fmt: skip
    assert [r.split for r in manifest.records] == list(Split)
    assert manifest.records[1].fps == 50.5
    assert manifest.extras == {}
    assert manifest.findings == ()
    np.testing.assert_array_equal(manifest.tracings["0XC"][4], tracing())


def test_tolerated_variants(tmp_path):
    rows = (
        row("0XA", "train", EF="", ESV="", EDV="", FrameHeight="12.0") + ",plax,3",
        row("0XB", "Val", ESV=0, EDV=0) + ",,4",
    )
    dynamic(tmp_path, rows, FILE_LIST + ",View,Seed", videos="AB")
    manifest = read_dynamic(tmp_path, source="mine")
    first, second = manifest.records
    assert (first.view, first.split, first.ef, first.edv) == (View.PLAX, Split.TRAIN, None, None)
    assert (second.view, second.source, second.ef) == (View.A4C, "mine", 55.5)
    assert manifest.extras == {"0XA": {"Seed": "3"}, "0XB": {"Seed": "4"}}
    assert told(manifest) == [("no-tracing", "VolumeTracings.csv", None)]


LABELS = {
    "fraction": ("55.5,40", "0.555,40", "bad-ef", "got 0.555. Multiply a fraction by 100"),
    "beyond": ("55.5,40", "155,40", "bad-ef", "percentage in .0, 100.; got 155"),
    "negative": ("55.5,40", "-5,40", "bad-ef", "got -5"),
    "words": ("55.5,40", "n/a,40", "bad-cell", "line 2: EF must be a number; got 'n/a'"),
    "volume": ("90.5", "-3", "bad-cell", "EDV must be a number of at least 0; got '-3'"),
    "swapped": ("40.25,90.5", "90.5,40.25", "bad-ef", "ESV 90.5 mL is more than EDV 40.25 mL"),
    "split": ("TRAIN", "TRAINING", "bad-split", "unknown split 'TRAINING'.*Did you mean TRAIN"),
    "no split": ("TRAIN", "", "bad-split", "Split is empty"),
    "comma": ("55.5", "55,5", "bad-cell", "10 cells, the header 9; is there a decimal comma"),
    "quote": ("0XA,55.5", '0XA,"55.5', "bad-cell|bad-split", ""),
}


@pytest.mark.parametrize("name", LABELS)
def test_a_bad_label_leaves_its_video_out(tmp_path, name):
    old, new, kind, message = LABELS[name]
    manifest = replaced(tmp_path, old, new)
    (finding,) = manifest.findings
    assert finding.kind in kind.split("|")
    assert (finding.path, finding.excluded) == ("FileList.csv", "0XA")
    assert str(tmp_path) not in finding.detail
    assert re.search(message, finding.detail)
    assert [r.uid for r in manifest.records] == ["0XB", "0XC"]


AROUND = {
    "suffix": ("0XA,", "0XA.avi,", "suffix", "0XA has a suffix"),
    "space": ("0XA,", " 0XA ,", "spaces", "spaces in the name ' 0XA '"),
    "frames": (",5,TRAIN", ",9,TRAIN", "frame-count", "0XA has 5 frames, not 9"),
    "height": ("12,16", "112,16", "wrong-size", "0XA is 12 pixels high, not 112"),
    "no frames": (",5,TRAIN", ",many,TRAIN", "bad-cell", "NumberOfFrames must be .* the file"),
    "part": (",5,TRAIN", ",5.5,TRAIN", "bad-cell", "must be a whole number; got 5.5"),
    "rate": (",50,", ",nan,", "bad-cell", "FPS must be a number of at least 0.001; got 'nan'"),
    "no rate": (",50,", ",,", "bad-cell", "FPS is empty"),
    "mark": ("FileName", "\ufeffFileName", "byte-order-mark", "byte-order mark"),
    "column": (",EF,", ", EF,", "spaces", "column name EF"),
    "again": ("0XB", row("0XA") + "\n0XB", "repeated-name", "line 3: 0XA is listed again"),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_can_be_read_around(tmp_path, name):
    old, new, kind, message = AROUND[name]
    manifest = replaced(tmp_path, old, new)
    assert told(manifest) == [(kind, "FileList.csv", None)]
    assert re.search(message, manifest.findings[0].detail)
    first, *others = manifest.records
    assert (first.uid, len(others)) == ("0XA", 2)
    assert (first.frames, first.height, first.width, first.ef) == (5, 12, 16, 55.5)
    assert first.fps == (25.0 if "rate" in name else 50.0)


def test_carriage_returns(tmp_path):
    for name in ("FileList.csv", "VolumeTracings.csv"):
        path = sound(tmp_path) / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        manifest = read_dynamic(tmp_path)
        assert told(manifest) == [("line-ends", name, None)]
        assert (len(manifest.records), len(manifest.tracings)) == (3, 3)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


FILES = {
    "missing-video": lambda path: path.unlink(),
    "empty-file": lambda path: path.write_bytes(b""),
    "unreadable": lambda path: path.write_bytes(b"no video"),
    "truncated": _cut,
}


@pytest.mark.parametrize("kind", FILES)
def test_a_bad_file_is_named_and_left_out(tmp_path, kind):
    FILES[kind](sound(tmp_path) / "Videos/0XB.avi")
    manifest = read_dynamic(tmp_path)
    assert told(manifest) == [(kind, "Videos/0XB.avi", "0XB")]
    assert manifest.findings[0].detail.startswith("Videos/0XB.avi ")
    assert [r.uid for r in manifest.records] == ["0XA", "0XC"]
    assert manifest.tracings.keys() == {"0XA", "0XC"}


def test_names_that_are_no_good(tmp_path):
    sound(tmp_path)
    (tmp_path / "Videos/0XD.avi").write_bytes(film())
    (tmp_path / "Videos/0XC.mp4").write_bytes(film())
    with (tmp_path / "FileList.csv").open("a") as file:
        file.write("\n".join((row(""), row("0XB", "TEST"), row("0XE"), ",,,,,,,,", "")))
    manifest = read_dynamic(tmp_path)
    assert sorted(told(manifest)) == [
        ("bad-cell", "FileList.csv", "FileList.csv:5"),
        ("missing-video", "Videos/0XE.avi", "0XE"),
        ("repeated-name", "FileList.csv", "0XB"),
        ("repeated-name", "Videos/0XC.mp4", "Videos/0XC.mp4"),
        ("unlisted-video", "Videos/0XD.avi", "0XD"),
    ]
    assert [r.uid for r in manifest.records] == ["0XA", "0XC"]


def test_nothing_outside_is_opened(tmp_path):
    secret = tmp_path / "secret.avi"
    secret.write_bytes(film())
    root = sound(tmp_path / "set")
    (root / "Videos/0XA.avi").unlink()
    os.symlink(secret, root / "Videos/0XA.avi")
    os.symlink(secret, root / "Videos/0XD.avi")
    os.symlink(tmp_path, root / "Videos/all")
    os.symlink(root / "Videos/0XC.avi", root / "Videos/0XE.avi")
    names = (str(secret), "../../secret", "..\\..\\secret.avi", "C:\\secret", "0XE")
    with (root / "FileList.csv").open("a") as file:
        file.write("\n".join(map(row, names)))
    manifest = read_dynamic(root)
    outside = [f.excluded for f in manifest.findings if f.kind == "outside-root"]
    assert len(outside) == 6  # two are one name, written twice
    assert {"0XA", "0XD", None} < set(outside)
    assert [r.uid for r in manifest.records] == ["0XB", "0XC", "0XE"]
    (root / "FileList.csv").rename(tmp_path / "FileList.csv")
    os.symlink(tmp_path / "FileList.csv", root / "FileList.csv")
    with pytest.raises(InputError, match="leads out of"):
        read_dynamic(root)


def test_every_video_is_accounted_for(tmp_path):
    """Videos found = records + left out, whatever is wrong at once."""
    sound(tmp_path)
    for number in range(6):
        (tmp_path / f"Videos/1X{number}.avi").write_bytes(film()[: 400 * number])
    with (tmp_path / "FileList.csv").open("a") as file:
        file.write("\n".join(row(f"1X{n}", "WALL" if n == 4 else "VAL") for n in range(2, 9)))
    manifest = read_dynamic(tmp_path)
    assert len(manifest.records) + len(left_out(manifest.findings)) == 3 + 9
    assert not {r.uid for r in manifest.records} & set(left_out(manifest.findings))


def test_what_is_no_such_dataset(tmp_path):
    with pytest.raises(InputError, match=r"there is no FileList.csv in .*; is it a dataset folder"):
        read_dynamic(tmp_path)
    table(tmp_path / "FileList.csv", FILE_LIST, [row("0XA")])
    with pytest.raises(InputError, match="there is no folder Videos"):
        read_dynamic(tmp_path)
    (tmp_path / "FileList.csv").write_text("FileName,EF\n")
    with pytest.raises(InputError, match="lacks the column ESV, EDV, FrameHeight"):
        read_dynamic(tmp_path)
    (tmp_path / "FileList.csv").write_text(FILE_LIST + ",EF\n")
    with pytest.raises(InputError, match="has the column EF twice"):
        read_dynamic(tmp_path)
    (tmp_path / "FileList.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a CSV table in UTF-8"):
        read_dynamic(tmp_path)
