"""The EchoNet-Dynamic layout as it is written, and read back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_datasets import FILE_LIST, FRAMES, HEIGHT, WIDTH, dynamic, films, row, tracing

from echoflow.data.manifest import Manifest, video_path, write_file_list
from echoflow.types import InputError, Record, Split, View


def record(uid: str = "0XA", **changes) -> Record:
    base = Record(
        uid, video_path(uid), "phantom", View.PSAX, Split.TEST, "adult-0-1",
        32.0, FRAMES, HEIGHT, WIDTH, 100 / 3, 120.125, 80.083,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_views_and_splits_are_picked(tmp_path):
    manifest = Manifest.read(dynamic(tmp_path, (row("0XA"), row("0XB", "VAL")), videos="AB"))
    first, second = manifest.records
    assert manifest.of(split=Split.VAL) == (second,)
    assert manifest.of(split=Split.TRAIN, view=View.A4C) == (first,)
    assert manifest.of(view=View.PLAX) == ()
    assert manifest.video(first) == tmp_path / "Videos/0XA.avi"


def test_what_is_written_is_read_back(tmp_path):
    films(tmp_path / "Videos", ("0XA.avi", "0XB.avi"))
    records = (record("0XA"), record("0XB", ef=None, edv=None, esv=None, patient=None))
    extras = {
        "0XA": {"EF_requested": "33", "Verdict": 'accepted, unlike "any"'},
        "0XB": {"EF_requested": "", "Verdict": "rejected\nat last"},
    }
    tracings = {"0XA": {2: tracing(8.0), 4: tracing(6.0)}, "0XB": {1: tracing(), 3: tracing(7.0)}}
    Manifest(tmp_path, records, extras, tracings).write()
    back = Manifest.read(tmp_path)
    assert back.findings == ()
    assert back.records == records
    assert back.extras["0XA"] == extras["0XA"]
    assert back.extras["0XB"]["Verdict"] == "rejected at last"  # a row is a line
    assert back.tracings["0XA"].keys() == {2, 4}
    np.testing.assert_allclose(back.tracings["0XA"][2], tracings["0XA"][2], atol=1e-5)
    lines = (tmp_path / "VolumeTracings.csv").read_text().splitlines()
    assert lines[0] == "FileName,X1,Y1,X2,Y2,Frame"
    assert lines[1].startswith("0XA.avi,8,1,8,11,4")  # end-systole first
    assert lines[42].endswith(",2")
    head = (tmp_path / "FileList.csv").read_text().splitlines()
    assert head[0] == f"{FILE_LIST},View,Patient,Source,EF_requested,Verdict"
    assert head[1].startswith("0XA,33.333333333333336,80.083,120.125,12,16,32,5,TEST,PSAX")


def test_the_height_is_a_height(tmp_path):
    """Sizes are told apart by name, which the 2024 writer did not."""
    write_file_list(tmp_path, [record(frames=3, height=5, width=7, fps=11.0)], {})
    names, cells = ((tmp_path / "FileList.csv").read_text().splitlines())[:2]
    told = dict(zip(names.split(","), cells.split(","), strict=True))
    assert [told[n] for n in ("NumberOfFrames", "FrameHeight", "FrameWidth", "FPS")] == [
        "3", "5", "7", "11",
    ]  # fmt: skip


def test_extra_columns_need_names_of_their_own(tmp_path):
    with pytest.raises(InputError, match="names of their own; EF is used"):
        write_file_list(tmp_path, [record()], {"0XA": {"EF": "3"}})
    assert not list(tmp_path.iterdir())
