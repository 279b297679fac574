"""A dataset of videos of others: what is linked, what is written anew, what is refused."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from small_datasets import dynamic, row

from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source
from echoflow.data.subset import gathered
from echoflow.data.video import read_gray, write_video
from echoflow.types import InputError, Split


def square(root: Path, names: str) -> Manifest:
    """A dataset with videos of 112 x 112 of their own."""
    made = dynamic(
        root,
        [row(f"0X{n}", FrameHeight=112, FrameWidth=112) + ",x" for n in names],
        header=f"{HEADER},BaseName",
    )
    for number, name in enumerate(names):
        video = np.full((5, 112, 112), 40 + number, np.uint8)
        write_video(made / "Videos" / f"0X{name}.avi", video, 25)
    return open_source(made)


HEADER = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"


def test_videos_of_the_right_size_are_linked_with_their_columns(tmp_path: Path) -> None:
    source = square(tmp_path / "a", "AB")
    labelled = dataclasses.replace(source.records[1], ef=33.0, split=Split.TEST)
    told: list[int] = []
    made = gathered([(source, [source.records[0], labelled])], tmp_path / "b", told.append)
    again = open_source(tmp_path / "b")
    assert [(r.uid, r.ef, r.split) for r in again.records] == [
        ("0XA", 55.5, Split.TRAIN),
        ("0XB", 33.0, Split.TEST),
    ]
    assert again.extras["0XB"]["BaseName"] == "x"
    assert os.path.samefile(source.video(source.records[0]), made.video(made.records[0]))
    assert told == [1, 2]


def test_others_are_fitted_and_written(tmp_path: Path) -> None:
    source = open_source(dynamic(tmp_path / "a", [row("0XA")]))
    made = gathered([(source, source.records)], tmp_path / "b")
    video, _ = read_gray(made.video(made.records[0]))
    assert video.shape == (5, 112, 112)
    assert (made.records[0].height, made.records[0].ef) == (112, 55.5)
    assert made.records[0].fps == source.records[0].fps


def test_refusals(tmp_path: Path) -> None:
    source = square(tmp_path / "a", "A")
    with pytest.raises(InputError, match="two videos are called 0XA"):
        gathered([(source, source.records), (source, source.records)], tmp_path / "b")
    with pytest.raises(InputError, match="no videos to put into"):
        gathered([(source, [])], tmp_path / "b")
    assert not (tmp_path / "b").exists()
    gathered([(source, source.records)], tmp_path / "b")
    with pytest.raises(InputError, match="is not empty"):
        gathered([(source, source.records)], tmp_path / "b")
