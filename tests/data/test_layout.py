"""Phantom clips on disk and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from echoflow.data.masks import traced_ed_es, tracing_mask
from echoflow.data.phantom import PhantomClip, PhantomPatient
from echoflow.data.phantom.layout import read_truth, truth_path, write_dynamic
from echoflow.data.prepare import load_clip
from echoflow.data.sources import open_source
from echoflow.data.volumes import mask_ef, tracing_volume
from echoflow.types import InputError, View


@pytest.fixture(scope="module")
def clips() -> list[PhantomClip]:
    patients = [PhantomPatient.sample(3, number) for number in range(2)]
    return [one.render(view, frames=24, fps=20.0) for one in patients for view in View]


@pytest.fixture(scope="module")
def root(clips, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "phantom"
    write_dynamic(iter(clips), root, {"seed": 3, "cohort": "adult"})
    return root


def test_reads_like_any_dataset(clips, root):
    manifest = open_source(root)
    assert [record.uid for record in manifest.records] == [each.clip.uid for each in clips]
    for each, record in zip(clips, manifest.records, strict=True):
        back = load_clip(manifest, record)
        known, read = (
            {f.name: getattr(c, f.name) for f in dataclasses.fields(c) if f.name != "video"}
            for c in (each.clip, back)
        )
        assert read == known
        error = (back.video.astype(float) - each.clip.video) ** 2
        assert 10 * np.log10(255**2 / error.mean()) > 40
    assert {cells["Cohort"] for cells in manifest.extras.values()} == {"adult"}


def test_truth_round_trip(clips, root):
    for each in clips:
        back = read_truth(truth_path(root, each.clip.uid))
        for f in dataclasses.fields(back):
            mine, stored = getattr(each.truth, f.name), getattr(back, f.name)
            if isinstance(mine, np.ndarray):
                assert stored.dtype == mine.dtype
                np.testing.assert_array_equal(stored, mine)
            else:
                assert stored == mine, f.name
        np.testing.assert_array_equal(back.tracing(back.ed), each.truth.tracing(each.truth.ed))


def test_tracing_volume_label_and_mask_agree(clips, root):
    manifest = open_source(root)
    for each in clips:
        truth, frames = each.truth, manifest.tracings[each.clip.uid]
        assert traced_ed_es(dict(frames)) == (truth.ed, truth.es)
        if each.clip.view is not View.A4C:
            continue
        edv, esv = (tracing_volume(frames[f], truth.mm_per_px) for f in (truth.ed, truth.es))
        sampled = 100 * (1 - truth.volume.min() / truth.volume.max())
        assert 100 * (1 - esv / edv) == pytest.approx(sampled, abs=0.01)
        assert edv == pytest.approx(truth.volume.max(), rel=0.005)
        assert mask_ef(truth.mask) == pytest.approx(sampled, abs=2.5)
        mask = tracing_mask(frames[truth.ed])
        both = (mask & truth.mask[truth.ed]).sum()
        assert 2 * both / (mask.sum() + truth.mask[truth.ed].sum()) > 0.93


def test_end_systole_is_listed_first(clips, root):
    rows = (root / "VolumeTracings.csv").read_text().splitlines()[1:]
    assert len(rows) == 42 * len(clips)
    for index, each in enumerate(clips):
        first, last = rows[42 * index], rows[42 * index + 41]
        assert first.split(",")[0] == f"{each.clip.uid}.avi"
        assert (int(first.split(",")[5]), int(last.split(",")[5])) == (
            each.truth.es,
            each.truth.ed,
        )


def test_card(root):
    card = json.loads((root / "phantom.json").read_text())
    assert card["spec"] == {"seed": 3, "cohort": "adult"}
    assert (card["videos"], card["patients"]) == (6, 2)


def test_refusals_leave_nothing(clips, tmp_path):
    with pytest.raises(InputError, match="there are no clips to write"):
        write_dynamic([], tmp_path / "out")
    with pytest.raises(InputError, match="two phantom clips are called"):
        write_dynamic([clips[0], clips[0]], tmp_path / "out")

    def interrupted():
        yield clips[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dynamic(interrupted(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_bad_truth(root, tmp_path):
    with pytest.raises(InputError, match="there is no phantom truth"):
        read_truth(tmp_path / "none.npz")
    stored = next((root / "PhantomTruth").iterdir()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(stored[: len(stored) // 2])
    with pytest.raises(InputError, match=r"cut\.npz is not a phantom truth, or damaged"):
        read_truth(tmp_path / "cut.npz")
