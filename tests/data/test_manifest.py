"""The EchoNet-Dynamic layout, read and written; every message about a bad table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from echoflow.data.manifest import Manifest, video_path, write_file_list
from echoflow.types import InputError, Record, Split, View

HEADER: str = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
ROWS: tuple[str, ...] = (
    "0X1A2B,55.5,40.25,90.5,112,112,50,176,TRAIN",
    "0X3C4D,30,100,142.8,112,112,50.5,90,VAL",
)


def dataset(root: Path, rows: tuple[str, ...] = ROWS, header: str = HEADER) -> Path:
    """A folder as EchoNet-Dynamic is shipped; the videos are empty files."""
    (root / "Videos").mkdir()
    for name in ("0X1A2B", "0X3C4D"):
        (root / "Videos" / f"{name}.avi").touch()
    (root / "FileList.csv").write_text("\n".join((header, *rows)) + "\n")
    return root


def tracing(size: float) -> np.ndarray:
    """A long axis of 40 px and 20 chords of width `size`."""
    y = 30 + 2.0 * np.arange(20)
    ones = np.ones(20)
    chords = np.stack([(50 - size / 2) * ones, y, (50 + size / 2) * ones, y], 1)
    return np.concatenate([[[50, 29, 50, 69]], chords])


def record(uid: str = "0XAA", **changes) -> Record:
    base = Record(
        uid, video_path(uid), "phantom", View.PSAX, Split.TEST, "adult-0-1",
        32.0, 64, 112, 112, 100 / 3, 120.125, 80.083,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_reads_what_echonet_dynamic_ships(tmp_path):
    manifest = Manifest.read(dataset(tmp_path))
    first, second = manifest.records
    assert first == Record(
        "0X1A2B", "Videos/0X1A2B.avi", "echonet-dynamic", View.A4C, Split.TRAIN, None,
        50.0, 176, 112, 112, 55.5, 90.5, 40.25,
    )  # fmt: skip
    assert second.fps == 50.5
    assert manifest.extras == {}
    assert manifest.tracings == {}
    assert manifest.video(first) == tmp_path / "Videos/0X1A2B.avi"
    assert manifest.of(split=Split.VAL) == (second,)
    assert manifest.of(view=View.PLAX) == ()


def test_what_is_written_is_read_back(tmp_path):
    (tmp_path / "Videos").mkdir()
    records = (record("0XAA"), record("0XBB", ef=None, edv=None, esv=None, patient=None))
    for one in records:
        (tmp_path / one.path).touch()
    extras = {
        "0XAA": {"EF_requested": "33", "Verdict": "accepted, unlike any"},
        "0XBB": {"EF_requested": "", "Verdict": "rejected"},
    }
    tracings = {"0XAA": {7: tracing(30.0), 21: tracing(20.0)}}
    Manifest(tmp_path, records, extras, tracings).write()
    back = Manifest.read(tmp_path)
    assert back.records == records
    assert back.extras == extras
    assert back.tracings["0XAA"].keys() == {7, 21}
    np.testing.assert_allclose(back.tracings["0XAA"][7], tracing(30.0), atol=1e-5)
    lines = (tmp_path / "VolumeTracings.csv").read_text().splitlines()
    assert lines[0] == "FileName,X1,Y1,X2,Y2,Frame"
    assert lines[1].startswith("0XAA.avi,50,29,50,69,21")  # end-systole first
    assert lines[-1].endswith(",7")
    head = (tmp_path / "FileList.csv").read_text().splitlines()
    assert head[0] == f"{HEADER},View,Patient,Source,EF_requested,Verdict"
    assert head[1].startswith("0XAA,33.333333333333336,80.083,120.125,112,112,32,64,TEST,PSAX")


def test_the_height_is_a_height(tmp_path):
    """Sizes are told apart by name, which the 2024 writer did not."""
    write_file_list(tmp_path, [record(frames=3, height=5, width=7, fps=11.0)], {})
    names, row = ((tmp_path / "FileList.csv").read_text().splitlines())[:2]
    cells = dict(zip(names.split(","), row.split(","), strict=True))
    assert [cells[n] for n in ("NumberOfFrames", "FrameHeight", "FrameWidth", "FPS")] == [
        "3", "5", "7", "11",
    ]  # fmt: skip


def test_tolerated_variants(tmp_path):
    header = HEADER.replace("FileName", "\ufeffFileName") + ",View,Seed"
    rows = ("0X1A2B.avi,,,,112.0,112,50,176,train,plax,3", "0X3C4D,55,0,0,112,112,50,9,Val,,4")
    manifest = Manifest.read(dataset(tmp_path, rows, header), source="mine")
    first, second = manifest.records
    assert (first.uid, first.view, first.split, first.ef) == (
        "0X1A2B", View.PLAX, Split.TRAIN, None,
    )  # fmt: skip
    assert second.view is View.A4C
    assert second.source == "mine"
    assert manifest.extras["0X3C4D"] == {"Seed": "4"}


def test_repeated_tracings_keep_the_first_and_strangers_are_passed_over(tmp_path):
    root = dataset(tmp_path)
    lines = ["FileName,X1,Y1,X2,Y2,Frame"]
    for name, sizes in (("0X1A2B.avi", (30.0, 10.0)), ("0XFFFF.avi", (20.0,))):
        for size in sizes:
            rows = (",".join(map(str, row)) for row in tracing(size))
            lines += [f"{name},{row},46" for row in rows]
    (root / "VolumeTracings.csv").write_text("\n".join(lines) + "\n")
    manifest = Manifest.read(root)
    assert manifest.tracings.keys() == {"0X1A2B"}
    np.testing.assert_allclose(manifest.tracings["0X1A2B"][46], tracing(30.0))


def swap(column: str, value: str) -> tuple[str, ...]:
    cells = ROWS[1].split(",")
    cells[HEADER.split(",").index(column)] = value
    return (ROWS[0], ",".join(cells))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (swap("EF", "0.55"), r"line 3: ef must be a percentage .* got 0.55. Multiply"),
        (swap("EF", "abc"), r"line 3: EF must be a number of at least 0; got 'abc'"),
        (swap("EDV", "-3"), r"line 3: EDV must be a number of at least 0; got '-3'"),
        (swap("FPS", "nan"), r"line 3: FPS must be a number"),
        (swap("FPS", ""), r"line 3: FPS is empty"),
        (
            swap("NumberOfFrames", "12.5"),
            r"line 3: NumberOfFrames must be a whole number; got 12.5",
        ),
        (swap("NumberOfFrames", "0"), r"line 3: NumberOfFrames must be a number of at least 1"),
        (swap("Split", "TRAINING"), r"line 3: unknown split 'TRAINING'.*Did you mean TRAIN"),
        (swap("Split", ""), r"line 3: Split is empty"),
        (swap("FileName", ""), r"line 3: FileName is empty"),
        (swap("FileName", "0X1A2B"), r"lists 0X1A2B twice"),
        (swap("FileName", "0X9"), r"1 of 2 videos .* are missing, the first is Videos/0X9.avi"),
        ((), r"FileList.csv has a header but no rows"),
    ],
)
def test_bad_rows_are_told_with_file_and_line(tmp_path, rows, message):
    with pytest.raises(InputError, match=message) as caught:
        Manifest.read(dataset(tmp_path, rows))
    assert "FileList.csv" in str(caught.value)


def test_bad_views_and_tables(tmp_path):
    root = dataset(tmp_path, (f"{ROWS[0]},A4D",), f"{HEADER},View")
    with pytest.raises(InputError, match=r"line 2: unknown view 'A4D'.*Did you mean A4C"):
        Manifest.read(root)
    (root / "FileList.csv").write_text("FileName,EF\n")
    with pytest.raises(InputError, match="lacks the column ESV, EDV, FrameHeight"):
        Manifest.read(root)
    (root / "FileList.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a CSV table in UTF-8"):
        Manifest.read(root)
    (root / "FileList.csv").unlink()
    with pytest.raises(InputError, match=r"there is no FileList.csv in .*; is it a dataset folder"):
        Manifest.read(root)


def test_bad_tracings(tmp_path):
    root = dataset(tmp_path)
    (root / "VolumeTracings.csv").write_text("FileName,X,Y,Frame\n")
    with pytest.raises(InputError, match="lacks the column X1, Y1, X2, Y2"):
        Manifest.read(root)
    (root / "VolumeTracings.csv").write_text("FileName,X1,Y1,X2,Y2,Frame\n0X1A2B.avi,1,2,x,4,5\n")
    with pytest.raises(InputError, match=r"VolumeTracings.csv, line 2: X2 must be a number"):
        Manifest.read(root)


def test_no_videos_folder(tmp_path):
    (tmp_path / "FileList.csv").write_text("\n".join((HEADER, *ROWS)))
    with pytest.raises(InputError, match="there is no folder Videos"):
        Manifest.read(tmp_path)


def test_extra_columns_need_names_of_their_own(tmp_path):
    with pytest.raises(InputError, match="names of their own; EF is used"):
        write_file_list(tmp_path, [record()], {"0XAA": {"EF": "3"}})
    assert not list(tmp_path.iterdir())
