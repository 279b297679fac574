"""Drop-in or not: the tools' rules, their silent losses, and a check that notices each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoflow.data.manifest import Manifest, video_path
from echoflow.data.masks import mask_tracing
from echoflow.data.video import write_video
from echoflow.synthesis.dropin import TOOLS, check, fork, stock
from echoflow.types import InputError, Record, Split, View

FRAMES, SIDE = 4, 32
EFS = (31.5, 42.0, 53.25, 64.0)
SPLITS = (Split.TRAIN, Split.TRAIN, Split.VAL, Split.TEST)


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.hypot(x, y) <= radius


@pytest.fixture
def made(tmp_path: Path) -> Manifest:
    """Four videos of four frames, two of them of split TRAIN, traced at frames 0 and 2."""
    root = tmp_path / "set"
    (root / "Videos").mkdir(parents=True)
    video = np.tile(np.arange(0, 128, 4, dtype=np.uint8), (FRAMES, SIDE, 1))
    records = []
    for i, (ef, split) in enumerate(zip(EFS, SPLITS, strict=True)):
        uid = f"sample_{i:06d}_00"
        write_video(root / video_path(uid), video, 32)
        records.append(
            Record(
                uid, video_path(uid), "synthetic", View.A4C, split, uid[:-3],
                32.0, FRAMES, SIDE, SIDE, ef, None, None,
            )
        )  # fmt: skip
    tracings = {r.uid: {0: mask_tracing(disc(12)), 2: mask_tracing(disc(8))} for r in records}
    extras = {r.uid: {"BaseName": r.uid[:-3], "EF_requested": f"{r.ef:g}"} for r in records}
    manifest = Manifest(root, tuple(records), extras, tracings)
    manifest.write()
    return manifest


def edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


def told(manifest: Manifest) -> list[tuple[str, str]]:
    return [(fault.tool, fault.detail) for fault in check(manifest).faults]


def test_both_tools_read_what_was_written(made: Manifest) -> None:
    read = check(made)
    assert read.faults == ()
    assert read.videos == {tool: {"TRAIN": 2, "VAL": 1, "TEST": 1} for tool in TOOLS}
    assert read.label == "EF"
    read.refuse()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_pairs_file_label_and_tracings(made: Manifest, tool: str) -> None:
    pairs = TOOLS[tool](made.root, "TRAIN")
    assert [pair.file for pair in pairs] == ["sample_000000_00.avi", "sample_000001_00.avi"]
    assert [pair.row["EF"] for pair in pairs] == [31.5, 42.0]
    assert [list(pair.frames) for pair in pairs] == [[2, 0]] * 2  # the larger one last
    assert pairs[0].frames[0].shape == (21, 4)


def test_a_suffix_moves_every_later_label_in_the_stock_tool(made: Manifest) -> None:
    """The first name has one: its video is gone, and its label sits on the second video."""
    edit(
        made.root / "FileList.csv",
        lambda t: t.replace("sample_000000_00,", "sample_000000_00.avi,"),
    )
    (pair,) = stock(made.root, "TRAIN")
    assert (pair.file, pair.row["EF"]) == ("sample_000001_00.avi", 31.5)
    assert [p.row["EF"] for p in fork(made.root, "TRAIN")] == [31.5, 42.0]
    assert told(made) == [
        ("echonet/dynamic", "1 of 2 videos of TRAIN are lost, such as sample_000000_00.avi"),
        ("echonet/dynamic", "sample_000001_00.avi gets the EF 31.5, it has 42"),
    ]


def test_lower_case_splits_are_empty_ones(made: Manifest) -> None:
    edit(made.root / "FileList.csv", lambda t: t.replace(",TRAIN,", ",train,"))
    assert stock(made.root, "TRAIN") == ()
    with pytest.raises(AssertionError, match="No videos found"):
        fork(made.root, "TRAIN")
    assert [tool for tool, _ in told(made)] == list(TOOLS)


def test_folds_are_for_the_fork_alone(made: Manifest) -> None:
    def folded(text: str) -> str:
        for name, fold in (("TRAIN", "3"), ("VAL", "8"), ("TEST", "9")):
            text = text.replace(f",{name},", f",{fold},")
        return text

    edit(made.root / "FileList.csv", folded)
    assert len(fork(made.root, "TRAIN")) == 2
    assert len(fork(made.root, "TEST")) == 1
    with pytest.raises(AttributeError, match="upper"):
        stock(made.root, "TRAIN")


def test_tracings_are_needed_by_the_stock_tool_only(made: Manifest) -> None:
    path = made.root / "VolumeTracings.csv"
    edit(path, lambda t: t.replace("FileName,X1,Y1,X2,Y2,Frame", "FileName,X,Y,Frame"))
    assert len(fork(made.root, "TRAIN")) == 2  # another header is passed over
    assert all("AssertionError" in text for tool, text in told(made) if tool == "echonet/dynamic")
    path.unlink()
    assert len(fork(made.root, "TRAIN")) == 2
    with pytest.raises(FileNotFoundError):
        stock(made.root, "TRAIN")
    assert {tool for tool, _ in told(made)} == {"echonet/dynamic"}


def test_one_traced_frame_makes_a_video_vanish(made: Manifest) -> None:
    tracings = dict(made.tracings)
    tracings["sample_000001_00"] = {0: tracings["sample_000001_00"][0]}
    replace(made, tracings=tracings).write()
    lost = "1 of 2 videos of TRAIN are lost, such as sample_000001_00.avi"
    assert told(made) == [(tool, lost) for tool in TOOLS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace(",2\n", ",2.0\n"), "ends with ValueError: invalid literal for int"),
        (lambda t: t.replace(",2\n", ",7\n"), "is traced in frame 7 and has 4 frames"),
        (lambda t: t + "\n", "ends with ValueError: not enough values"),
        (lambda t: "\ufeff" + t, "echonet/dynamic: .* AssertionError"),
        (lambda t: "".join(t.splitlines(True)[:-1]), "lines, a tracing 21"),
        (lambda t: t.replace(".avi", ""), "videos of TRAIN are lost"),
    ],
)
def test_tracings_that_end_or_mislead_a_tool(made: Manifest, change, message: str) -> None:
    edit(made.root / "VolumeTracings.csv", change)
    with pytest.raises(InputError, match=message):
        check(made).refuse()


def test_diastole_has_to_come_last(made: Manifest) -> None:
    def turned(text: str) -> str:
        header, *lines = text.splitlines(True)
        blocks = [lines[i : i + 21] for i in range(0, len(lines), 21)]
        pairs = zip(blocks[1::2], blocks[::2], strict=True)
        return header + "".join(line for pair in pairs for block in pair for line in block)

    edit(made.root / "VolumeTracings.csv", turned)
    assert len(told(made)) == 2 * len(EFS)
    with pytest.raises(InputError, match="taken for diastole and is the smaller one"):
        check(made).refuse()


def test_videos_are_decoded(made: Manifest) -> None:
    first, second, third, _ = (made.video(record) for record in made.records)
    first.write_bytes(first.read_bytes()[:-600])
    write_video(second, np.zeros((FRAMES + 1, SIDE, SIDE), np.uint8), 32)
    third.unlink()
    texts = [text for _, text in told(made)]
    assert "truncated" in texts[0]
    assert "Videos/sample_000001_00.avi has (frames, height, width) (5, 32, 32)" in texts[1]
    assert "there is no file" in texts[2]
    assert str(made.root) not in "".join(texts)
    assert sum("FileNotFoundError" in text for text in texts) == 2  # VAL, in both tools


def test_labels_and_hearts(made: Manifest) -> None:
    records = list(made.records)
    records[1] = replace(records[1], ef=None)
    extras = {r.uid: {**made.extras[r.uid], "BaseName": "sample_000000"} for r in records}
    texts = [text for _, text in told(replace(made, records=tuple(records), extras=extras))]
    assert "sample_000001_00 has no EF" in texts[0]
    assert "the BaseName of sample_000001_00 is sample_000000" in texts[1]
    assert "sample_000000 is in TRAIN and in VAL" in " ".join(texts)


def test_without_any_measured_ef_the_asked_one_is_the_label(made: Manifest) -> None:
    bare = replace(made, records=tuple(replace(r, ef=None) for r in made.records))
    bare.write()
    read = check(bare)
    assert (read.label, read.faults) == ("EF_requested", ())


def test_videos_of_two_sizes_do_not_go_into_one_batch(made: Manifest) -> None:
    small = np.zeros((FRAMES, 16, 16), np.uint8)
    write_video(made.video(made.records[0]), small, 32)
    first = replace(made.records[0], height=16, width=16)
    texts = [text for _, text in told(replace(made, records=(first, *made.records[1:])))]
    assert texts == ["videos of 2 sizes (16x16, 32x32 ...) do not go into one batch"]
