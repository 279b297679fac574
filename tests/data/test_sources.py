"""Whatever folder it is, it opens as a manifest or says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_datasets import PEDIATRIC, dynamic, films, row, table

from echoflow.data.sources import SOURCES, echonet_dynamic, open_source, phantom
from echoflow.data.splits import PROTOCOLS
from echoflow.types import InputError, Split

POOL = Path(__file__).parents[3] / "shared/data/echodiffusion_pool"


def pediatric(root: Path) -> Path:
    for view in ("A4C", "PSAX"):
        films(root / view / "Videos", [f"{view}-1.avi"])
        table(root / view / "FileList.csv", PEDIATRIC, [f"{view}-1.avi,60,F,3,15,90,8"])
    return root


def test_the_layout_is_recognised(tmp_path):
    root = dynamic(tmp_path / "set", (row("0XA"), row("0XB"), row("0XC")))
    assert {r.source for r in open_source(root).records} == {"echonet-dynamic"}
    assert open_source(root).records == echonet_dynamic(root).records
    with pytest.raises(InputError, match=r"there is no phantom.json"):
        phantom(root)
    (root / "phantom.json").write_text("{}")
    assert {r.source for r in phantom(root).records} == {"phantom"}
    assert phantom(root).records == open_source(root).records


def test_archives_nest(tmp_path):
    inner = tmp_path / "EchoNet-Dynamic" / "EchoNet-Dynamic"
    dynamic(inner, (row("0XA"),), videos="A")
    (tmp_path / "__MACOSX").mkdir()
    manifest = open_source(tmp_path)
    assert (manifest.root, len(manifest.records)) == (inner, 1)
    nested = pediatric(tmp_path / "two" / "pediatric_echo_avi" / "pediatric_echo_avi")
    for root in (tmp_path / "two", nested, nested / "PSAX"):
        assert {r.source for r in open_source(root).records} == {"echonet-pediatric"}


def test_a_source_can_be_named(tmp_path):
    root = dynamic(tmp_path, (row("0XA"),), videos="AB")
    assert {r.uid for r in open_source(root, "folder").records} == {"Videos-0XA", "Videos-0XB"}
    with pytest.raises(InputError, match=r"unknown source 'echonet-dynamc'.*Did you mean"):
        open_source(root, "echonet-dynamc")


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        open_source(tmp_path / "none")
    with pytest.raises(InputError, match="no dataset that is known here"):
        open_source(tmp_path)
    assert PROTOCOLS.keys() == SOURCES.keys()


@pytest.mark.skipif(not POOL.exists(), reason="needs the clip pool")
def test_the_clip_pool():
    manifest = open_source(POOL / "factual", splits="shuffled")
    assert {(r.frames, r.height, r.width) for r in manifest.records} == {(16, 112, 112)}
    assert [len(manifest.of(split)) for split in Split] == [40, 4, 4]
