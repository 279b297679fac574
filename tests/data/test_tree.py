"""Nothing outside a dataset's folder is ever opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echoflow.data.tree import climbs, files_under, inner, inside, unwrapped


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file, a subfolder with one, and every kind of link."""
    root = tmp_path / "set"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("set/a.avi", "set/sub/B.AVI", "set/.hidden.avi", "set/n.txt", "out/secret.avi"):
        (tmp_path / name).touch()
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX/c.avi").touch()
    os.symlink(tmp_path / "out/secret.avi", root / "link.avi")
    os.symlink("../set/a.avi", root / "alias.avi")
    os.symlink(tmp_path / "out", root / "folder")
    os.symlink("sub", root / "again")
    os.symlink("nowhere", root / "dangling.avi")
    os.symlink("loop.avi", root / "loop.avi")
    return root


OUT = (
    "/etc/passwd", "..", "../a.avi", "sub/../../a.avi", "..\\a.avi", "C:\\a.avi", "c:a.avi",
    "\\\\host\\share\\a", "//host/a", "", "a\0b", "link.avi", "folder/secret.avi", "folder",
)  # fmt: skip


@pytest.mark.parametrize("name", OUT)
def test_what_leads_out_has_no_path(root, name):
    assert inside(root, name) is None
    assert inner(root, name) is None


@pytest.mark.parametrize("name", ["a.avi", "sub/B.AVI", "sub\\B.AVI", "alias.avi", "again/B.AVI"])
def test_what_stays_inside_has_one(root, name):
    assert inside(root, name) == root / name.replace("\\", "/")
    assert inner(root, "none", name) == inside(root, name)


def test_the_root_may_be_a_link_itself(root, tmp_path):
    os.symlink(root, tmp_path / "door")
    assert inside(tmp_path / "door", "a.avi") == tmp_path / "door/a.avi"
    assert inside(tmp_path / "door", "link.avi") is None


@given(st.text(max_size=40))
@example(".")
def test_any_text_is_a_path_inside_or_none(text):
    path = inside("/nowhere/at/all", text)
    assert path is None or f"{os.path.normpath(path)}/".startswith("/nowhere/at/all/")
    assert (path is None) == climbs(text) or text.strip("./") == ""


def test_walking_meets_every_file_once_and_no_link_out(root):
    files = files_under(root, suffixes=(".avi",))
    names = {path.as_posix() for path in files.paths}
    assert {"a.avi", "alias.avi", "sub/B.AVI"} <= names <= {
        "a.avi", "alias.avi", "sub/B.AVI", "dangling.avi", "loop.avi",
    }  # fmt: skip
    assert {path.as_posix() for path in files.leaving} == {"link.avi", "folder"}
    assert files_under(root, "sub").paths == (Path("sub/B.AVI"),)
    assert files_under(root, "none").paths == ()
    assert files_under(root, "folder").leaving == (Path("folder"),)


def test_archives_unpack_into_folders_of_folders(tmp_path):
    inmost = tmp_path / "a" / "b"
    (inmost / "c").mkdir(parents=True)
    (inmost / "d").mkdir()
    (tmp_path / "LICENSE").touch()
    (tmp_path / "__MACOSX").mkdir()
    assert unwrapped(tmp_path) == [tmp_path, tmp_path / "a", inmost]
    assert unwrapped(tmp_path / "none") == [tmp_path / "none"]
