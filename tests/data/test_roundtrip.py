"""Whole datasets in every layout, spoilt on purpose, through the reader of that layout.

Everything that was planted is found and named, nothing else is, all the rest is read, and what is
read equals the truth.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from echoflow.data.check import Check, check
from echoflow.data.findings import Finding
from echoflow.data.phantom import PhantomClip, PhantomPatient
from echoflow.data.phantom.dialects.pediatric import NEST
from echoflow.data.phantom.layout import (
    LAYOUTS,
    Known,
    Planted,
    read_defects,
    read_known,
    write_layout,
)
from echoflow.data.truths import measured
from echoflow.data.volumes import ejection_fraction, teichholz
from echoflow.types import View

SOURCES = {
    "dynamic": "phantom",
    "pediatric": "echonet-pediatric",
    "lvh": "echonet-lvh",
    "camus": "camus",
}
SLOW = [  # its label maps are drawn at native size
    pytest.param("camus", marks=pytest.mark.slow)
]
FAST = [name for name in LAYOUTS if name != "camus"]


@cache
def heart(cohort: str, number: int, view: View) -> PhantomClip:
    """One beat at 16 frames/s from its R wave."""
    return PhantomPatient.sample(11, number, cohort).render(view, 12, 16.0, phase=0.0)


def twin(each: PhantomClip, number: int) -> PhantomClip:
    """The same clip as patient `number`: rendering would take longer than all the rest."""
    uid = "0X" + hashlib.sha256(f"{each.clip.uid} {number}".encode()).hexdigest()[:16].upper()
    clip = dataclasses.replace(each.clip, uid=uid, patient=f"adult-11-{number}")
    return PhantomClip(clip, dataclasses.replace(each.truth, patient=number))


@dataclass(frozen=True)
class Spoilt:
    """A dataset with all defects that its layout can have, and what its reader made of it."""

    root: Path
    known: dict[Path, Known]
    planted: tuple[Planted, ...]
    found: Check

    def truth(self) -> list[Known]:
        """What is known of each record, in their order."""
        manifest = self.found.manifest
        return [self.known[manifest.root / record.path] for record in manifest.records]


def spoilt(layout: str, root: Path) -> Spoilt:
    kind = LAYOUTS[layout]
    needed = sum(not defect.whole for defect in kind.defects) + 4
    clips = [
        twin(heart(kind.cohort, number % 3, view), number)
        for number in range(-(-needed // len(kind.default)))
        for view in kind.default
    ]
    write_layout(layout, clips, root, {"seed": 4}, ("all",))
    known = {root / one.record.path: one for one in read_known(root)}
    return Spoilt(root, known, read_defects(root), check(root, decode=True))


@pytest.fixture(scope="module", params=[*FAST, *SLOW])
def dataset(request, tmp_path_factory) -> Spoilt:
    return spoilt(request.param, tmp_path_factory.mktemp("spoilt") / request.param)


def explains(planted: Planted, finding: Finding, manifest_root: Path, root: Path) -> bool:
    """Whether a finding tells of this defect: its kind, its file, and the video in it."""
    path = manifest_root / finding.path
    files = {root / name for name in (planted.path, *planted.videos)}
    if finding.kind != planted.kind or path not in files:
        return False
    if planted.uid is None or path.parent.name in planted.uid:  # the patient's own folder
        return True
    told = f"{finding.path} {finding.detail} {finding.excluded}"
    return planted.uid in told or planted.uid in line_of(path, finding)


def line_of(path: Path, finding: Finding) -> str:
    """The line of a table that a finding points to."""
    words = finding.detail.split()
    if words[0] != "line":
        return ""
    return path.read_text(encoding="utf-8").splitlines()[int(words[1].strip(":,")) - 1]


def test_the_dataset_is_recognised(dataset):
    assert dataset.found.source == SOURCES[dataset.root.name]


def test_every_defect_is_found_and_nothing_else(dataset):
    manifest = dataset.found.manifest
    unexplained = list(manifest.findings)
    for planted in dataset.planted:
        own = [f for f in unexplained if explains(planted, f, manifest.root, dataset.root)]
        to_blame = dataset.root / planted.path
        assert to_blame in {manifest.root / f.path for f in own}, f"{planted} is not found"
        assert {f.excluded is not None for f in own} == {planted.leaves_out}, planted
        unexplained = [f for f in unexplained if f not in own]
    assert not unexplained


def test_counts_add_up_and_all_the_rest_is_read(dataset):
    found = dataset.found
    unusable = {dataset.root / video for p in dataset.planted if p.leaves_out for video in p.videos}
    read = {found.manifest.root / record.path for record in found.records}
    assert read == set(dataset.known) - unusable
    assert len(found.records) + len(found.left_out) == len(dataset.known) == found.found
    assert found.decoded is not None
    assert found.decoded.videos == len(found.records) + len(found.decoded.findings)
    assert found.decoded.frames == sum(one.record.frames for one in dataset.truth())


def test_noise_is_found_by_decoding_only(dataset):
    (noisy,) = [p for p in dataset.planted if "noise" in p.what]
    listed = check(dataset.root)
    assert len(listed.records) == len(dataset.found.records) + 1
    assert listed.found == dataset.found.found
    assert dataset.root / noisy.path in {listed.manifest.root / r.path for r in listed.records}


@pytest.mark.parametrize("dataset", ["pediatric"], indirect=True)
def test_pediatric_without_its_nest(dataset):
    flat = check(dataset.root / NEST)
    assert flat.source == "echonet-pediatric"
    listed = check(dataset.root)
    assert flat.findings == listed.findings
    assert [r.uid for r in flat.records] == [r.uid for r in listed.records]
    one = check(dataset.root / NEST / "PSAX")
    assert set(one.manifest.of(view=View.PSAX)) == set(one.records)
    assert len(one.records) == len(listed.manifest.of(view=View.PSAX))


def test_records_are_the_truth(dataset):
    for record, one in zip(dataset.found.records, dataset.truth(), strict=True):
        same = ("frames", "height", "width", "split", "view", "source")
        assert [getattr(record, n) for n in same] == [getattr(one.record, n) for n in same]
        assert record.fps == pytest.approx(one.record.fps)


def test_labels_are_the_truth(dataset):
    """EF and volumes; LVH has those of Teichholz, CAMUS rounds, Pediatric has no volumes."""
    for record, one in zip(dataset.found.records, dataset.truth(), strict=True):
        assert record.ef is not None
        if dataset.root.name == "dynamic":
            known = (one.record.ef, one.record.edv, one.record.esv)
            assert (record.ef, record.edv, record.esv) == known
        elif dataset.root.name == "lvh":
            assert record.ef == pytest.approx(one.sampled_ef, abs=8)
        else:
            assert record.ef == pytest.approx(one.record.ef, abs=0.5)


def test_what_is_drawn_is_the_truth(dataset):
    """Simpson of what the files hold against the volumes of the frames that were drawn."""
    found = dataset.found
    limits = {"dynamic": 0.01, "pediatric": 4.0, "camus": 1.0}
    if dataset.root.name not in limits:
        assert not found.traced()
        return
    hurt = {v for p in dataset.planted for v in p.videos if p.kind not in ("suffix", "spaces")}
    checked = 0
    for record, one in zip(found.records, dataset.truth(), strict=True):
        sizes = measured(found.manifest, record, one.mm_per_px)
        if sizes is None or one.record.path in hurt or record.view is View.PSAX:
            continue
        assert (sizes.ed, sizes.es) == (one.ed, one.es)
        assert sizes.ef == pytest.approx(one.sampled_ef, abs=limits[dataset.root.name])
        assert sizes.edv == pytest.approx(one.volume_ed, rel=0.06)
        checked += 1
    assert checked >= 3


def test_a_sequence_that_was_turned_round_is_read_forwards(dataset):
    turned = [p for p in dataset.planted if p.kind == "reversed"]
    for planted in turned:
        (video,) = planted.videos
        manifest = dataset.found.manifest
        record = next(r for r in manifest.records if manifest.root / r.path == dataset.root / video)
        sizes = measured(manifest, record)
        one = dataset.known[dataset.root / video]
        assert sizes is not None
        assert (sizes.ed, sizes.es) == (one.ed, one.es)
    assert bool(turned) == (dataset.root.name == "camus")


@pytest.mark.parametrize("dataset", ["lvh"], indirect=True)
def test_teichholz_is_that_of_the_calipers(dataset):
    manifest = dataset.found.manifest
    for record in manifest.records:
        cells = manifest.extras[record.uid]
        edv, esv = (teichholz(float(cells[name])) for name in ("LVIDd", "LVIDs"))
        assert (record.edv, record.esv) == pytest.approx((edv, esv), rel=1e-5)
        assert record.ef == pytest.approx(ejection_fraction(edv, esv), abs=1e-3)


def test_camus_with_a_few_defects(tmp_path):
    kinds = ("reversed", "bad-ef", "repeated-name", "line-ends")
    clips = [twin(heart("adult", 0, View.A4C), number) for number in range(4)]
    planted = write_layout("camus", clips, tmp_path / "set", {"seed": 1}, kinds)
    found = check(tmp_path / "set")
    assert {f.kind for f in found.findings} == set(kinds)
    assert (len(found.records), len(found.left_out)) == (8 - 3, 3)
    assert all(
        any(explains(p, f, found.manifest.root, tmp_path / "set") for f in found.findings)
        for p in planted
    )
