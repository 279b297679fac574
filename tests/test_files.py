"""A final name holds a finished thing or nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from echoflow.files import atomic_file, new_folder, sha256
from echoflow.types import InputError


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_folder_appears_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "er" / "out"
    with new_folder(target) as work:
        (work / "a").mkdir()
        (work / "a" / "b.txt").write_text("done")
        assert not target.exists()
    assert everything(tmp_path) == [
        "deep",
        "deep/er",
        "deep/er/out",
        "deep/er/out/a",
        "deep/er/out/a/b.txt",
    ]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert target.stat().st_mode == plain.stat().st_mode


def test_empty_folder_is_taken_over_and_a_full_one_refused(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    with new_folder(target) as work:
        (work / "x").touch()
    with (
        pytest.raises(InputError, match="is not empty; choose another or remove it"),
        new_folder(target),
    ):
        pytest.fail("the block must not start")
    assert everything(tmp_path) == ["out", "out/x"]


def test_folder_filled_by_another_meanwhile_is_refused(tmp_path):
    target = tmp_path / "out"

    def both() -> None:
        with new_folder(target) as work:
            (work / "mine").touch()
            target.mkdir()
            (target / "theirs").touch()

    with pytest.raises(InputError, match="is not empty"):
        both()
    assert everything(tmp_path) == ["out", "out/theirs"]


@pytest.mark.parametrize("writer", [new_folder, atomic_file])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_nothing_is_left_after_an_error(tmp_path, writer, error):
    def half() -> None:
        with writer(tmp_path / "new" / "out") as work:
            (work / "x" if work.is_dir() else work).write_text("half")
            raise error

    with pytest.raises(error):
        half()
    assert everything(tmp_path) == []


@pytest.mark.parametrize("writer", [new_folder, atomic_file])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_is_one_sentence(tmp_path, writer, error):
    target = tmp_path / "out"
    message = f"disk full while writing {re.escape(str(target))}: free space [\\d,]+ MB, nothing"
    with pytest.raises(InputError, match=message), writer(target):
        raise error
    assert everything(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device(tmp_path):
    def overflow() -> None:
        with new_folder(tmp_path / "out") as work:
            (work / "full").symlink_to("/dev/full")
            (work / "full").write_text("more than fits")

    with pytest.raises(InputError, match="disk full"):
        overflow()
    assert everything(tmp_path) == []


def test_full_disk_names_the_outermost_target(tmp_path):
    def nested() -> None:
        with new_folder(tmp_path / "whole") as work, atomic_file(work / "part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"disk full while writing \S+/whole: "):
        nested()


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "out"):
        (tmp_path / "none").read_text()


@pytest.mark.parametrize("writer", [new_folder, atomic_file])
def test_parent_that_is_a_file(tmp_path, writer):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="a file has the name of one of its folders"),
        writer(tmp_path / "file" / "out"),
    ):
        pass


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
@pytest.mark.parametrize("writer", [new_folder, atomic_file])
def test_unwritable_parent(writer):
    """A folder that even the superuser cannot write to."""
    with (
        pytest.raises(InputError, match=r"cannot write /proc.*; choose a place you may"),
        writer("/proc/self/task/out"),
    ):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_read_only_parent(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with (
            pytest.raises(InputError, match="permission denied; choose"),
            new_folder(tmp_path / "out"),
        ):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_file_is_replaced_whole(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with atomic_file(target) as work:
        assert work.suffix == ".csv"
        work.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert everything(tmp_path) == ["table.csv"]
    with pytest.raises(InputError, match="is a folder"), atomic_file(tmp_path):
        pass


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"echo")
    assert sha256(tmp_path / "x") == hashlib.sha256(b"echo").hexdigest()
