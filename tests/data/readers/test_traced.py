"""Tracings: what is kept, what is dropped, and that neither is silent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_datasets import dynamic, row, table, traced, tracing

from echoflow.data.manifest import Manifest
from echoflow.data.readers.dynamic import read_dynamic

HEADER = "FileName,X1,Y1,X2,Y2,Frame"
ED, ES = traced("0XA.avi", 1, tracing(8.0)), traced("0XA.avi", 3, tracing(5.0))


def read(root: Path, lines: Sequence[str], header: str = HEADER) -> Manifest:
    dynamic(root, (row("0XA"),), videos="A")
    table(root / "VolumeTracings.csv", header, lines)
    return read_dynamic(root)


CASES: dict[str, tuple[list[str], set[int], list[tuple[str, str]]]] = {
    "sound": (ED + ES, {1, 3}, []),
    "mixed order": ([line for pair in zip(ED, ES, strict=True) for line in pair], {1, 3}, []),
    "rate as a float": ([line + ".0" for line in ED] + ES, {1, 3}, []),
    "twice": (ED + ES + ED, {1, 3}, [("repeated-tracing", "frame 1, has 42 lines; the first 21")]),
    "short": (ED[:16] + ES, {1, 3}, [("short-tracing", "frame 1, has 16 lines of 21")]),
    "too short": (ED[:2] + ES, {3}, [("short-tracing", "in frame 1 with 2 lines or points only")]),
    "one point": (ED[:1] * 21 + ES, {3}, [("short-tracing", "in frame 1")]),
    "one frame": (ED, {1}, [("one-tracing", "0XA has one traced frame of two")]),
    "none": (["0XA.avi,1,2,3,4,"], set(), [("bad-cell", "has the frame ''")]),
    "past the end": (
        [*ED, *(line[:-1] + "5" for line in ES)],
        {1},
        [("frame-out-of-range", "line 23: 0XA has 5 frames, and frame 5 is traced")],
    ),
    "before": ([*ED, *(line[:-1] + "-1" for line in ES)], {1}, [("frame-out-of-range", "-1")]),
    "words": (
        [*ED, *ES[:4], "0XA.avi,1,2,x,4,3", *ES[5:]],
        {1},
        [("bad-cell", "line 27: X2 must be a number; got 'x'")],
    ),
    "infinite": ([*ED, *ES, "0XA.avi,1,2,inf,4,3"], {1}, [("bad-cell", "not finite")]),
    "a line cut": (
        [*ED, *ES[:4], "0XA.avi,1,2", *ES[5:]],
        {1, 3},
        [("short-tracing", "20 lines"), ("bad-cell", "frame ''")],
    ),
    "decimal comma": (
        [*ED, *ES[:4], "0XA.avi,1,5,2,3,4,3", *ES[5:]],
        {1, 3},
        [("bad-cell", "line 27: 0XA has more cells"), ("short-tracing", "20 lines of 21")],
    ),
    "one frame, two spellings": (
        [*ED, *ES, *(line + ".0" for line in ES)],
        {1, 3},
        [("repeated-tracing", "line 44: 0XA has frame 3 again, written '3.0'")],
    ),
    "outside": (
        traced("0XA.avi", 1, tracing(20.0)) + ES,
        {1, 3},
        [("outside-image", r"from \(-2, 1\) to \(18, 11\) in 16x12 pixels")],
    ),
    "no suffix": ([s.replace(".avi", "") for s in ED] + ES, {1, 3}, [("suffix", "lacks its")]),
    "spaces": ([" " + line for line in ED + ES], {1, 3}, [("spaces", "' 0XA.avi'")]),
    "stranger": (
        [*ED, *ES, "0XF.avi,1,2,3,4,5"],
        {1, 3},
        [("unlisted-video", "line 44: 0XF is traced, but not listed")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_defects(tmp_path, name):
    lines, kept, told = CASES[name]
    manifest = read(tmp_path, lines)
    assert manifest.tracings.get("0XA", {}).keys() == kept
    assert len(manifest.findings) == len(told), manifest.findings
    for finding, (kind, message) in zip(manifest.findings, told, strict=True):
        assert (finding.kind, finding.path, finding.excluded) == (kind, "VolumeTracings.csv", None)
        assert re.search(message, finding.detail), finding.detail
    assert len(manifest.records) == 1


def test_the_first_of_repeated_tracings_is_kept(tmp_path):
    manifest = read(tmp_path, ED + ES + traced("0XA.avi", 1, tracing(2.0)))
    np.testing.assert_array_equal(manifest.tracings["0XA"][1], tracing(8.0))


def test_polygons_become_outlines(tmp_path):
    corners = np.array([[2.0, 2.0], [9.0, 2.5], [6.0, 10.0]])
    manifest = read(tmp_path, traced("0XA.avi", 2, corners), "FileName,X,Y,Frame")
    np.testing.assert_array_equal(manifest.outlines["0XA"][2], corners)
    assert manifest.tracings == {}


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        (HEADER, [], "is empty: nothing is traced"),
        ("FileName,A,Frame", ["0XA,1,2"], r"VolumeTracings.csv lacks the column X, Y; it has"),
        ("FileName,X1,Y1,Frame", ["0XA,1,2,3"], "lacks the column X2, Y2"),
    ],
)
def test_tables_without_tracings(tmp_path, header, lines, message):
    manifest = read(tmp_path, lines, header)
    (finding,) = manifest.findings
    assert finding.kind == "no-tracing"
    assert re.search(message, finding.detail)
    assert str(tmp_path) not in finding.detail
    assert len(manifest.records) == 1


def test_a_listed_video_without_tracing(tmp_path):
    dynamic(tmp_path, (row("0XA"), row("0XB"), row("0XC", "WALL")))
    table(tmp_path / "VolumeTracings.csv", HEADER, [*ED, *ES, *traced("0XC.avi", 1, tracing())])
    kinds = [(f.kind, f.excluded) for f in read_dynamic(tmp_path).findings]
    assert kinds == [("bad-split", "0XC"), ("no-tracing", None)]


def test_names_with_a_folder(tmp_path):
    lines = [line.replace("0XA", "sub/0XA") for line in ED + ES]
    dynamic(tmp_path, (row("sub/0XA"),), videos="A")
    (tmp_path / "Videos" / "sub").mkdir()
    (tmp_path / "Videos" / "0XA.avi").rename(tmp_path / "Videos" / "sub" / "0XA.avi")
    table(tmp_path / "VolumeTracings.csv", HEADER, lines)
    manifest = read_dynamic(tmp_path)
    assert [record.uid for record in manifest.records] == ["sub-0XA"]
    assert {finding.kind for finding in manifest.findings} == set()
