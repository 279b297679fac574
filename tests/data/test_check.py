"""Checking a dataset: every number adds up, every frame is read, nothing ends the check."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from small_datasets import dynamic, film, films, row, table, traced, tracing

from echoflow.data.check import Check, Spread, check, summary
from echoflow.data.checkpage import efs, text, write
from echoflow.data.decode import Job, Outcome, decode, decode_all, in_processes
from echoflow.data.findings import counts, left_out_line
from echoflow.data.sources import open_source
from echoflow.types import InputError, Split


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six videos: three sound ones, one without EF, one bad label, one without a file."""
    films(tmp_path / "Videos", (f"0X{name}.avi" for name in "ABCDE"))
    rows = (
        row("0XA", EF=50), row("0XB", EF=60), row("0XC", "VAL", EF=70, FPS=25),
        row("0XD", "TEST", EF=""), row("0XE", EF="n/a"), row("0XF", "TEST"),
    )  # fmt: skip
    lines = [line for f in (1, 4) for line in traced("0XA.avi", f, tracing())]
    table(tmp_path / "VolumeTracings.csv", "FileName,X1,Y1,X2,Y2,Frame", lines)
    return dynamic(tmp_path, rows, videos="")


def swapped_data(path: Path) -> None:
    """Overwrites the pictures of a video, but no header and no index."""
    data = bytearray(path.read_bytes())
    start, end = data.find(b"movi") + 4, data.find(b"idx1")
    data[start:end] = os.urandom(end - start)
    path.write_bytes(data)


def test_counts_add_up(root):
    checked = check(root)
    assert (checked.source, checked.found, len(checked.records)) == ("echonet-dynamic", 6, 4)
    assert checked.left_out == ("0XE", "0XF")
    groups = [(g.view.name, g.split, g.videos, g.ef and g.ef.n) for g in checked.groups()]
    assert groups == [("A4C", "TRAIN", 2, 2), ("A4C", "VAL", 1, 1), ("A4C", "TEST", 1, None)]
    assert sum(g.videos for g in checked.groups()) == len(checked.records)
    assert checked.groups()[0].published == 7465
    assert checked.sizes() == {"12x16": 4}
    assert checked.traced() == {"lines": (1, 2)}


def test_spread():
    assert Spread.of([]) is None
    assert Spread.of([4.0]) == Spread(1, 4.0, 0.0, 4.0, (4.0, 4.0, 4.0), 4.0)
    assert Spread.of(range(5)) == Spread(5, 2.0, float(np.sqrt(2)), 0.0, (1.0, 2.0, 3.0), 4.0)


def test_the_page_names_every_video_that_is_left_out(root):
    page = text(check(root))
    assert "6 videos found = 4 that can be used + 2 left out" in page
    assert "12x16 in 4 (height x width)" in page
    assert "lines in 2 frames of 1 videos" in page
    assert "0XE       bad-cell       FileList.csv, line 6: EF must be a number; got 'n/a'." in page
    assert "0XF       missing-video  Videos/0XF.avi is listed in line 7, but not there." in page
    assert str(root) not in page


def test_a_long_list_is_cut_on_the_screen_only(tmp_path):
    films(tmp_path / "Videos", ["0XA.avi"])
    dynamic(tmp_path, [row("0XA", EF=""), *(row(f"1X{i}") for i in range(50))], videos="")
    checked = check(tmp_path)
    assert "and 10 more; findings.csv names every one" in text(checked)
    write(checked, tmp_path / "out")
    with (tmp_path / "out/findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(one["left_out"]) for one in rows) == 50


def test_for_machines(root, tmp_path):
    checked = check(root)
    write(checked, tmp_path / "out")
    write(checked, tmp_path / "out")  # again: a check is repeated after something was mended
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "summary.json", "findings.csv", "ef.png",
    }  # fmt: skip
    told = json.loads((tmp_path / "out/summary.json").read_text())
    assert told == json.loads(json.dumps(summary(checked)))
    assert told["videos"] == {"found": 6, "used": 4, "left_out": 2}
    assert told["groups"][0]["ef"]["mean"] == 55
    assert told["seconds"] == pytest.approx(3 * 5 / 50 + 5 / 25)
    assert told["findings"]["missing-video"] == 1
    assert (tmp_path / "out/ef.png").read_bytes()[:4] == b"\x89PNG"
    assert efs(checked) == {"TRAIN": [50.0, 60.0], "VAL": [70.0]}


def test_without_any_ef_there_is_no_picture(tmp_path):
    films(tmp_path / "set", ["a.avi"])
    write(check(tmp_path / "set"), tmp_path / "out")
    assert not (tmp_path / "out/ef.png").exists()


def test_split_protocols(root):
    checked = check(root, splits="traced")
    assert [r.uid for r in checked.records] == ["0XA"]
    assert checked.found == 6
    assert counts(checked.findings)["not-in-protocol"] == 3
    assert checked.groups()[0].published == 7460
    assert "splits traced" in text(checked)
    assert check(root, "folder").source == "folder"
    with pytest.raises(InputError, match="unknown split protocol"):
        check(root, splits="none")


def test_every_frame_is_read(root):
    swapped_data(root / "Videos/0XA.avi")
    assert len(check(root).records) == 4
    checked = check(root, decode=True)
    assert checked.decoded is not None
    assert (checked.decoded.videos, checked.decoded.frames) == (4, 15)
    (finding,) = checked.decoded.findings
    assert (finding.path, finding.excluded) == ("Videos/0XA.avi", "0XA")
    assert finding.kind in ("unreadable", "truncated")
    assert str(root) not in finding.detail
    assert checked.found == 6
    assert checked.manifest.tracings == {}
    assert "decoded   15 frames of 4 videos" in text(checked)
    assert summary(checked)["videos"] == {"found": 6, "used": 3, "left_out": 3}


def test_headers_that_promise_something_else(tmp_path):
    job = Job(tmp_path, "0XA", "a.avi", 5, 12, 16)
    (tmp_path / "a.avi").write_bytes(film())
    assert decode(job) == (5, None)
    for other, kind in ((film(4), "frame-count"), (film(5, 16, 16), "wrong-size")):
        (tmp_path / "a.avi").write_bytes(other)
        _, finding = decode(job)
        assert finding is not None
        assert (finding.kind, finding.excluded) == (kind, "0XA")


def test_whatever_a_decoder_raises_is_a_reason(tmp_path, monkeypatch):
    def bomb(path: Path, strict: bool) -> tuple[np.ndarray, float]:
        raise MemoryError("no room")

    monkeypatch.setattr("echoflow.data.decode.read_gray", bomb)
    _, finding = decode(Job(tmp_path, "0XA", "a.avi", 5, 12, 16))
    assert finding is not None
    assert finding.detail == "a.avi cannot be decoded (MemoryError: no room)."


def dying(job: Job) -> Outcome:
    if job.uid == "3":
        os.abort()
    return int(job.uid), None


@pytest.mark.slow
def test_a_decoder_that_dies_takes_one_video_with_it(tmp_path):
    jobs = [Job(tmp_path, str(i), f"{i}.avi", 1, 1, 1) for i in range(12)]
    outcomes = list(in_processes(jobs, 2, dying))
    assert [frames for frames, _ in outcomes] == [0, 1, 2, 0, *range(4, 12)]
    lost = [finding.excluded for _, finding in outcomes if finding is not None]
    assert lost == ["3"]


@pytest.mark.slow
def test_workers_find_what_one_process_finds(root):
    swapped_data(root / "Videos/0XB.avi")
    manifest = open_source(root)
    seen: list[tuple[int, int]] = []
    alone = decode_all(manifest)
    together = decode_all(manifest, 2, lambda done, total: seen.append((done, total)))
    assert (alone.findings, alone.frames) == (together.findings, together.frames)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_names_on_disk_do_not_steer_the_terminal(tmp_path):
    films(tmp_path / "set", ["ok.avi", "\x1b[31mred\n.avi", "\udcff.avi"])
    checked = check(tmp_path / "set")
    page = text(checked)
    assert "\x1b" not in page
    assert r"\x1b[31mred\n" in page
    assert page.encode()
    write(checked, tmp_path / "out")
    assert checked.found == 3
    assert len(checked.records) == 1


def test_one_line_for_training(root):
    manifest = open_source(root)
    line = left_out_line(manifest.findings, len(manifest.records))
    assert line == (
        "2 of 6 videos are left out (bad-cell 1, missing-video 1); "
        "`echoflow data check` says which and why"
    )
    assert left_out_line((), 3) is None


def test_a_dataset_without_any_sound_video_can_be_checked(tmp_path):
    dynamic(tmp_path, [row("0XA")], videos="")
    checked: Check = check(tmp_path, decode=True)
    assert (checked.found, checked.records, checked.groups()) == (1, (), ())
    assert "0 that can be used + 1 left out" in text(checked)
    write(checked, tmp_path / "out")
    assert summary(checked)["fps"] is None
    assert {s.value for s in Split} & efs(checked).keys() == set()
