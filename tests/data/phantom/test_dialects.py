"""Every layout is written with its quirks, and the truth beside it says what is in the files."""

from __future__ import annotations

import csv
import dataclasses
import filecmp
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from echoflow.cli import main
from echoflow.data.phantom import PhantomClip, PhantomPatient
from echoflow.data.phantom.anatomy import ATRIUM, CAVITY, MYOCARDIUM, calipers, labels
from echoflow.data.phantom.dialects.camus import half_beat, read_nifti
from echoflow.data.phantom.dialects.native import Screen
from echoflow.data.phantom.dialects.pediatric import outline
from echoflow.data.phantom.layout import (
    LAYOUTS,
    read_defects,
    read_known,
    read_truth,
    truth_path,
    write_layout,
)
from echoflow.data.video import read_gray
from echoflow.types import InputError, Split, View

COUNT = 3


@cache
def heart(cohort: str, number: int, view: View) -> PhantomClip:
    """One beat at 16 frames/s from its R wave."""
    return PhantomPatient.sample(5, number, cohort).render(view, 12, 16.0, phase=0.0)


def hearts(layout: str, count: int = COUNT) -> list[PhantomClip]:
    """`count` patients in the views of a layout."""
    kind = LAYOUTS[layout]
    return [heart(kind.cohort, number, view) for number in range(count) for view in kind.default]


@pytest.fixture(scope="module", params=LAYOUTS)
def written(request, tmp_path_factory) -> tuple[str, list[PhantomClip], Path]:
    clips = hearts(request.param)
    root = tmp_path_factory.mktemp("data") / request.param
    write_layout(request.param, iter(clips), root, {"seed": 5})
    return request.param, clips, root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_truth_of_every_layout(written):
    layout, clips, root = written
    known = read_known(root)
    assert len(known) == len(clips) * (2 if layout == "camus" else 1)
    for one in known:
        assert (root / one.record.path).is_file()
        assert one.volume_ed > one.volume_es > 0
        assert {one.ed, one.es} <= set(range(one.record.frames))
    labels = {(one.record.ef, one.record.edv, one.record.esv) for one in known}
    assert labels == {(each.truth.ef, each.truth.edv, each.truth.esv) for each in clips}
    firsts = known[:: 2 if layout == "camus" else 1]
    for each, one in zip(clips, firsts, strict=True):
        stored = read_truth(truth_path(root, one.record.uid))
        np.testing.assert_array_equal(stored.volume, each.truth.volume)
        assert PhantomPatient.of(stored.parameters) == PhantomPatient.of(each.truth.parameters)
    card = json.loads((root / "phantom.json").read_text())
    assert (card["layout"], card["videos"], card["patients"]) == (layout, len(known), COUNT)


def test_sampled_ef_is_near_the_label(written):
    for one in read_known(written[2]):
        assert one.sampled_ef == pytest.approx(one.record.ef, abs=2)


@pytest.mark.parametrize("written", ["dynamic"], indirect=True)
def test_dynamic(written):
    _, clips, root = written
    listed = rows(root / "FileList.csv")
    assert [row["FileName"] for row in listed] == [each.clip.uid for each in clips]
    assert {row["Split"] for row in listed} == {"TRAIN"}
    traced = rows(root / "VolumeTracings.csv")
    assert list(traced[0]) == ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]
    assert len(traced) == 42 * len(clips)
    assert all(row["FileName"].endswith(".avi") for row in traced)


@pytest.mark.parametrize("written", ["pediatric"], indirect=True)
def test_pediatric(written):
    root = written[2]
    base = root / "pediatric_echo_avi" / "pediatric_echo_avi"
    assert sorted(path.name for path in base.iterdir()) == ["A4C", "PSAX"]
    for view in ("A4C", "PSAX"):
        listed = rows(base / view / "FileList.csv")
        assert list(listed[0]) == ["FileName", "EF", "Sex", "Age", "Weight", "Height", "Split"]
        assert [row["Split"] for row in listed] == ["0", "1", "2"]
        names = [row["FileName"] for row in listed]
        assert all((base / view / "Videos" / name).is_file() for name in names)
        traced = rows(base / view / "VolumeTracings.csv")
        assert list(traced[0]) == ["FileName", "X", "Y", "Frame"]
        points = [sum(row["FileName"] == name for row in traced) for name in names]
        assert len(set(points)) > 1
        assert min(points) > 60


def test_folds_are_splits(tmp_path):
    clips = hearts("pediatric", 1)[:1]
    numbers = (7, 8, 9, 18)
    moved = [
        dataclasses.replace(
            one,
            clip=dataclasses.replace(one.clip, uid=str(number)),
            truth=dataclasses.replace(one.truth, patient=number),
        )
        for one in clips
        for number in numbers
    ]
    write_layout("pediatric", moved, tmp_path / "set")
    splits = [one.record.split for one in read_known(tmp_path / "set")]
    assert splits == [Split.TRAIN, Split.VAL, Split.TEST, Split.VAL]


def polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2


@pytest.mark.parametrize("view", [View.A4C, View.PSAX])
def test_polygon_holds_the_cavity(view):
    each = next(one for one in hearts("pediatric", 1) if one.clip.view is view)
    truth = each.truth
    for frame in (truth.ed, truth.es):
        points = outline(truth, frame, 48)
        assert points.shape == (49, 2)
        np.testing.assert_array_equal(points[0], points[-1])
        assert polygon_area(points) == pytest.approx(truth.mask[frame].sum(), rel=0.03)


@pytest.mark.parametrize("written", ["lvh"], indirect=True)
def test_lvh(written):
    _, clips, root = written
    measured = rows(root / "MeasurementsList.csv")
    assert next(iter(measured[0])) == ""
    assert {row["split"] for row in measured} == {"train"}
    for number, (each, one) in enumerate(zip(clips, read_known(root), strict=True)):
        own = [row for row in measured if row["HashedFileName"] == each.clip.uid]
        assert one.record.path == f"Batch{number % 4 + 1}/{each.clip.uid}.avi"
        video, _ = read_gray(root / one.record.path)
        assert video.shape[1:] == (int(own[0]["Height"]), int(own[0]["Width"])) > (112, 112)
        assert [row["Calc"] for row in own[:4]] == ["LVPWd", "LVIDd", "IVSd", "LVPWs"][
            : 3 + (number % 2 == 0)
        ] + (["LVIDs"] if number % 2 else [])
        for row in own:
            ends = np.array([[float(row[axis + end]) for axis in "XY"] for end in "12"])
            length = np.hypot(*(ends[1] - ends[0])) * one.mm_per_px / 10
            assert float(row["CalcValue"]) == pytest.approx(length, abs=1e-4)


def test_calipers_are_a_chain_on_one_line():
    each = hearts("lvh", 1)[0]
    ed, es = (calipers(each.truth, frame) for frame in (each.truth.ed, each.truth.es))
    for found in (ed, es):
        assert list(found) == ["LVPW", "LVID", "IVS"]
        np.testing.assert_array_equal(found["LVPW"].ends[1], found["LVID"].ends[0])
        np.testing.assert_array_equal(found["LVID"].ends[1], found["IVS"].ends[0])
        steps = np.diff(np.concatenate([one.ends for one in found.values()]), axis=0)
        assert np.linalg.matrix_rank(steps, tol=1e-9) == 1
    parameters = each.truth.parameters
    assert ed["IVS"].cm * 10 == pytest.approx(parameters["septum"])
    assert ed["LVPW"].cm * 10 == pytest.approx(parameters["lateral"])
    assert es["IVS"].cm > ed["IVS"].cm
    assert es["LVID"].cm < ed["LVID"].cm


@pytest.mark.parametrize("written", ["camus"], indirect=True)
def test_camus(written):
    _, clips, root = written
    known = read_known(root)
    assert [one.record.view for one in known] == [View.A4C, View.OTHER] * COUNT
    assert len({(one.record.height, one.mm_per_px) for one in known}) == COUNT
    training = root / "database_split" / "subgroup_training.txt"
    assert training.read_text() == "patient0001\npatient0002\npatient0003\n"
    for each, one in zip(clips, known[::2], strict=True):
        base = root / one.record.path.removesuffix("_half_sequence.nii.gz")
        facts = (base.parent / "Info_4CH.cfg").read_text().splitlines()
        assert f"ED: 1|ES: {one.es + 1}|NbFrame: {one.record.frames}" == "|".join(facts[:3])
        assert f"EF: {round(each.truth.ef)}" in facts
        video, spacing = read_nifti(root / one.record.path)
        assert spacing == pytest.approx(one.mm_per_px)
        assert video.shape == (one.record.frames, one.record.height, one.record.width)
        for stage, frame in (("ED", 0), ("ES", -1)):
            still, _ = read_nifti(Path(f"{base}_{stage}.nii.gz"))
            np.testing.assert_array_equal(still, video[frame])
            found, _ = read_nifti(Path(f"{base}_{stage}_gt.nii.gz"))
            assert set(np.unique(found)) == {0, CAVITY, MYOCARDIUM, ATRIUM}
        mirrored, _ = read_nifti(Path(f"{str(base)[:-3]}2CH_half_sequence.nii.gz"))
        np.testing.assert_array_equal(mirrored, video[..., ::-1])


def test_camus_on_disk_is_width_by_height(written):
    layout, _, root = written
    if layout != "camus":
        return
    nibabel = pytest.importorskip("nibabel")
    one = read_known(root)[0]
    image = nibabel.load(root / one.record.path)
    assert image.shape == (one.record.width, one.record.height, one.record.frames)
    assert image.get_data_dtype() == np.uint8


def test_the_same_again_byte_by_byte(tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    for root in (one, two):
        write_layout("camus", hearts("camus", 1), root)
    files = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert len(files) == 18
    assert filecmp.cmpfiles(one, two, files, shallow=False) == (files, [], [])
    packed = next(one.rglob("*.nii.gz")).read_bytes()
    assert packed[4:8] == b"\0\0\0\0"  # no time of day in it


def test_labels_agree_with_the_truth():
    each = hearts("camus", 1)[0]
    truth = each.truth
    pixels = Screen(1, 112, 112).pixels()
    for frame in half_beat(truth):
        found = labels(truth, frame, pixels)
        cavity = found == CAVITY
        assert not (truth.mask[frame] & ~cavity).any()  # the truth is cut off by the sector
        assert (cavity & ~truth.mask[frame]).sum() < 0.1 * cavity.sum()
        cavity_row, atrium_row = (
            np.nonzero(found == value)[0].mean() for value in (CAVITY, ATRIUM)
        )
        assert cavity_row < atrium_row
        grey = each.clip.video[frame]
        assert grey[found == MYOCARDIUM].mean() > 2 * grey[cavity].mean()


def test_half_beat_runs_from_end_diastole_to_the_next_end_systole():
    truth = PhantomPatient.sample(5, 1).render(View.A4C, 30, 20.0).truth
    first, last = half_beat(truth)
    assert first < last
    assert truth.volume[first] == pytest.approx(truth.edv, rel=0.02)
    assert truth.volume[last] == pytest.approx(truth.esv, rel=0.04)
    assert (np.diff(truth.volume[first : last + 1]) < 1e-6).all()
    short = PhantomPatient.sample(5, 1).render(View.A4C, 2, 30.0).truth
    with pytest.raises(InputError, match="needs an end-diastole and the end-systole after it"):
        half_beat(short)


def test_every_layout_has_fourteen_kinds_of_defects():
    for layout in LAYOUTS.values():
        names = [defect.called for defect in layout.defects]
        assert len(names) == len(set(names))
        assert len({defect.kind for defect in layout.defects}) >= 14


def test_defects_are_told_and_the_same_again(tmp_path):
    clips = hearts("dynamic")
    names = ("bad-cell", "truncated", "line-ends")
    for folder in ("one", "two"):
        planted = write_layout("dynamic", clips, tmp_path / folder, {"seed": 2}, names)
        assert read_defects(tmp_path / folder) == planted
    cell, video, ends = planted
    assert (cell.kind, cell.path, cell.leaves_out) == ("bad-cell", "FileList.csv", True)
    assert video.videos == (video.path,)
    assert video.uid != cell.uid
    assert (ends.uid, ends.videos) == (None, ())
    assert b"\r\n" in (tmp_path / "one" / "VolumeTracings.csv").read_bytes()
    same = filecmp.dircmp(tmp_path / "one", tmp_path / "two")
    assert same.common_files
    assert not same.diff_files
    (bad,) = [row for row in rows(tmp_path / "one" / "FileList.csv") if row["EF"] == "n/a"]
    assert bad["FileName"] == cell.uid


def test_refusals(tmp_path):
    clips = hearts("dynamic", 1)
    with pytest.raises(InputError, match="the layout lvh holds PLAX, not A4C"):
        write_layout("lvh", clips, tmp_path / "new")
    with pytest.raises(InputError, match=r"2 defects need 3 clips, .* there are 1"):
        write_layout("dynamic", clips, tmp_path / "new", None, ("bad-cell", "bad-ef"))
    with pytest.raises(InputError, match=r"unknown defect of the layout lvh 'bad-el'.*bad-ef"):
        write_layout("lvh", clips, tmp_path / "new", None, ("bad-el",))
    with pytest.raises(InputError, match="Did you mean dynamic"):
        write_layout("dynamc", clips, tmp_path / "new")
    with pytest.raises(InputError, match=r"there is no defects\.json"):
        read_defects(tmp_path)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path, capsys):
    out = str(tmp_path / "set")
    asked = ["--layout", "lvh", "--n", "2", "--frames", "12", "--fps", "16", "--gated"]
    assert main(["phantom", "--out", out, *asked, "--defects", "bad-ef"]) == 0
    assert "2 videos of 2 patients" in capsys.readouterr().out
    assert [one.kind for one in read_defects(out)] == ["bad-ef"]
    assert main(["phantom", "--layout", "camus", "--defects", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(LAYOUTS["camus"].defects)
    assert any(line.split()[:3] == ["reversed", "read", "around"] for line in listed)
    assert main(["phantom", "--n", "1"]) == 2
    assert "--out is missing" in capsys.readouterr().err
