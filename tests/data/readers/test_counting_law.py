"""The law of counting, on datasets in which any video may have any fate.

Found = listed rows and files on disk, each video once = records + left out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_datasets import FILE_LIST, PEDIATRIC, film, films, row, table

from echoflow.data.findings import Kind, left_out
from echoflow.data.manifest import Manifest
from echoflow.data.sources import open_source

SOUND = film()
FATES: dict[str, Kind | None] = {  # and the kind that leaves the video out
    "sound": None,
    "listed twice alike": None,
    "spelt oddly": None,
    "listed twice": "repeated-name",
    "not there": "missing-video",
    "not listed": "unlisted-video",
    "no bytes": "empty-file",
    "cut": "truncated",
    "no video": "unreadable",
    "bad split": "bad-split",
    "bad EF": "bad-cell",
    "climbs out": "outside-root",
}
BYTES = {"no bytes": b"", "cut": SOUND[:-30], "no video": b"text"}


def build(root: Path, fates: list[str], pediatric: bool) -> None:
    """A video per fate, in one of the two layouts."""
    base = root / "PSAX" if pediatric else root
    lines: list[str] = []
    for number, fate in enumerate(fates):
        name = f"0X{number}"
        lines += _rows(f"../{name}" if fate == "climbs out" else name, fate, pediatric)
        if fate not in ("not there", "climbs out"):
            films(base / "Videos", [f"{name}.avi"])
            (base / "Videos" / f"{name}.avi").write_bytes(BYTES.get(fate, SOUND))
    (base / "Videos").mkdir(parents=True, exist_ok=True)
    table(base / "FileList.csv", PEDIATRIC if pediatric else FILE_LIST, lines)


def _rows(name: str, fate: str, pediatric: bool) -> list[str]:
    ef = {"bad EF": "n/a"}.get(fate, "60")
    other = "61" if fate == "listed twice" else ef
    copies = [ef, other] if fate.startswith("listed twice") else [ef]
    if fate == "not listed":
        return []
    if pediatric:
        split = "11" if fate == "bad split" else "8"
        name = f" {name}" if fate == "spelt oddly" else f"{name}.avi"
        return [f"{name},{each},F,3,15,90,{split}" for each in copies]
    split = "FOURTH" if fate == "bad split" else "VAL"
    name = f" {name}.avi " if fate == "spelt oddly" else name
    return [row(name, split, EF=each) for each in copies]


def check_law(manifest: Manifest, fates: list[str]) -> None:
    gone = left_out(manifest.findings)
    kinds = {f.excluded: f.kind for f in manifest.findings if f.excluded is not None}
    known = {r.uid for r in manifest.records}
    assert len(known) + len(gone) == len(fates)
    assert not known & set(gone)
    for number, fate in enumerate(fates):
        uid = f"..-0X{number}" if fate == "climbs out" else f"0X{number}"
        assert kinds.get(uid) == FATES[fate]
        assert (uid in known) == (FATES[fate] is None)


@pytest.mark.parametrize("pediatric", [False, True], ids=["dynamic", "pediatric"])
@settings(max_examples=15, deadline=None)
@given(fates=st.lists(st.sampled_from(sorted(FATES)), min_size=1, max_size=8))
def test_every_video_has_one_fate(fates: list[str], pediatric: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        build(Path(name), fates, pediatric)
        check_law(open_source(name), fates)
