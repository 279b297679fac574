"""Headers: the same numbers as the decoder's, and damage told without decoding."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_datasets import film

from echoflow.data.container import Contents, contents
from echoflow.data.findings import Flaw
from echoflow.data.video import encode, probe


@pytest.mark.parametrize("fps", [18.0, 29.97, 50.0, 138.0])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (7, 13, 22), (3, 112, 112)])
def test_an_avi_header_says_what_the_decoder_says(tmp_path, fps, frames, height, width):
    path = tmp_path / "a.avi"
    path.write_bytes(encode(np.zeros((frames, height, width), np.uint8), fps, ".avi"))
    told = contents(tmp_path, "a.avi")
    assert (told.frames, told.height, told.width) == (frames, height, width)
    assert told.fps == pytest.approx(fps, rel=1e-9)
    assert told == Contents(*probe(path))


def test_other_formats(tmp_path):
    video = np.arange(4 * 12 * 16, dtype=np.uint8).reshape(4, 12, 16)
    for suffix in (".mp4", ".gif"):
        (tmp_path / f"a{suffix}").write_bytes(encode(video, 20, suffix))
        assert contents(tmp_path, f"a{suffix}") == Contents(4, 12, 16, 20.0)
    pages = [Image.fromarray(frame) for frame in video]
    pages[0].save(tmp_path / "one.png")
    assert contents(tmp_path, "one.png") == Contents(1, 12, 16, 1.0)
    pages[0].save(tmp_path / "all.tif", save_all=True, append_images=pages[1:])
    assert contents(tmp_path, "all.tif").frames == 4


def patched(offset_of: bytes, by: int, value: int) -> bytes:
    """A sound file with four bytes changed, counted from a word in it."""
    data = bytearray(film())
    struct.pack_into("<I", data, data.find(offset_of) + by, value)
    return bytes(data)


def _to_decoder(data: bytes) -> bytes:
    return data + b"JUNK" + struct.pack("<I", 4) + b"none"  # trailing bytes: more than one part


BAD = {
    "no bytes": (b"", "empty-file", "has no bytes"),
    "text": (b"this is no video", "unreadable", "is not a video"),
    "cut in the data": (film()[:-40], "truncated", "bytes; copy it again"),
    "cut in the header": (film()[:100], "truncated", "has 100 of"),
    "cut at once": (film()[:9], "unreadable", ""),
    "frames beyond the file": (patched(b"strh", 40, 10**6), "truncated", "says it has 1,000,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_damage_is_told_by_kind_and_name(tmp_path, name):
    data, kind, message = BAD[name]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.avi").write_bytes(data)
    with pytest.raises(Flaw) as caught:
        contents(tmp_path, "sub/a.avi")
    assert caught.value.kind == kind
    assert caught.value.path == "sub/a.avi"
    assert message in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize(
    "data",
    [
        _to_decoder(film()),
        patched(b"RIFF", 4, 0),  # sizes that a writer which was interrupted leaves behind
        patched(b"RIFF", 4, 0xFFFFFFFF),
        patched(b"strh", 40, 0),
        patched(b"strh", 32, 0),
    ],
)
def test_an_unusual_header_is_left_to_the_decoder(tmp_path, data):
    (tmp_path / "a.avi").write_bytes(data)
    told = contents(tmp_path, "a.avi")
    assert (told.frames, told.height, told.width) == (5, 12, 16)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Flaw, match=r"a.avi cannot be opened: no such file") as caught:
        contents(tmp_path, "a.avi")
    assert caught.value.kind == "unreadable"


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.avi")
    with pytest.raises(Flaw, match=r"a.avi is no file"):
        contents(tmp_path, "a.avi")


@pytest.mark.parametrize("name", ["a\nb.avi", "\x1b[31m.avi", "\udcff.avi"])
def test_names_that_cannot_be_printed(tmp_path, name):
    with pytest.raises(Flaw, match="cannot be printed"):
        contents(tmp_path, name)


def test_whatever_a_package_raises_is_a_reason(tmp_path, monkeypatch):
    def bomb(path: Path) -> tuple[int, int, int, float]:
        raise AttributeError("no codec")

    monkeypatch.setattr("echoflow.data.container.probe", bomb)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(Flaw, match=r"a.mp4 cannot be read \(AttributeError\)") as caught:
        contents(tmp_path, "a.mp4")
    assert caught.value.kind == "unreadable"


def test_half_an_image(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(Flaw, match="not an image") as caught:
        contents(tmp_path, "a.png")
    assert caught.value.kind == "unreadable"
