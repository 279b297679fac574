"""Laws of rendered clips: exact labels, masks that match the pixels, repeatable randomness."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from echoflow.data.masks import tracing_mask
from echoflow.data.phantom import COHORTS, PhantomClip, PhantomDataset, PhantomPatient
from echoflow.data.volumes import mask_volume, tracing_volume
from echoflow.types import InputError, View


@cache
def rendered(
    view: View, patient: int = 0, cohort: str = "adult", ef: float | None = None, clip: int = 0
) -> PhantomClip:
    """Two seconds at 25 frames/s from the R wave on."""
    who = PhantomPatient.sample(11, patient, cohort)
    who = who if ef is None else who.with_ef(ef)
    return who.render(view, frames=50, fps=25.0, clip=clip, phase=0.0)


@cache
def still(view: View, patient: int, clip: int) -> np.ndarray:
    return PhantomPatient.sample(17, patient).render(view, frames=3, fps=4, clip=clip).clip.video


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("view", View)
def test_a_clip_is_what_it_says(view: View) -> None:
    made = rendered(view)
    clip, truth = made.clip, made.truth
    assert clip.video.shape == truth.mask.shape == (50, 112, 112)
    assert clip.video.dtype == np.uint8
    assert (clip.view, clip.ef, clip.source) == (view, truth.ef, "phantom")
    assert truth.volume[truth.ed] == truth.volume.max()
    assert truth.volume[truth.es] == truth.volume.min()
    assert truth.ed == 0
    assert truth.sigma[0] == 0


@pytest.mark.parametrize("view", View)
def test_the_same_seeds_give_the_same_pixels_and_other_clips_differ(view: View) -> None:
    again = PhantomPatient.sample(11, 0).render(view, frames=50, fps=25.0, phase=0.0)
    np.testing.assert_array_equal(again.clip.video, rendered(view).clip.video)
    assert again.clip.uid == rendered(view).clip.uid
    other = rendered(view, clip=1)
    assert other.clip.uid != again.clip.uid
    assert (other.clip.video != again.clip.video).any()


@pytest.mark.parametrize("cohort", [c for c in COHORTS if c != "rwma"])
def test_tracings_give_the_label_exactly(cohort: str) -> None:
    truth = rendered(View.A4C, 1, cohort).truth
    ed, es = (tracing_volume(truth.tracing(f), truth.mm_per_px) for f in (truth.ed, truth.es))
    assert 100 * (1 - es / ed) == pytest.approx(truth.ef, abs=0.01)
    assert ed == pytest.approx(truth.edv, rel=3e-3)


def test_a_regional_abnormality_keeps_the_label_near_one_plane() -> None:
    truth = rendered(View.A4C, 1, "rwma").truth
    ed, es = (tracing_volume(truth.tracing(f)) for f in (truth.ed, truth.es))
    assert 100 * (1 - truth.volume.min() / truth.volume.max()) == pytest.approx(truth.ef, abs=0.01)
    assert 100 * (1 - es / ed) == pytest.approx(truth.ef, abs=4)


def test_simpson_on_rendered_masks_is_within_a_point() -> None:
    errors = []
    for patient in range(6):
        truth = rendered(View.A4C, patient).truth
        ed, es = (mask_volume(truth.mask[f]) for f in (truth.ed, truth.es))
        errors.append(100 * (1 - es / ed) - truth.ef)
    assert np.abs(errors).mean() < 1.0


def test_short_axis_area_times_length_is_within_half_a_point() -> None:
    errors = []
    for patient in range(4):
        truth = rendered(View.PSAX, patient).truth
        ed, es = (truth.mask[f].sum() * truth.length[f] for f in (truth.ed, truth.es))
        errors.append(100 * (1 - es / ed) - truth.ef)
    assert np.abs(errors).mean() < 0.5


@pytest.mark.parametrize("view", View)
def test_masks_match_tracings_and_shrink(view: View) -> None:
    truth = rendered(view, 2).truth
    assert truth.mask[truth.es].sum() < truth.mask[truth.ed].sum()
    for frame in (truth.ed, truth.es):
        traced = tracing_mask(truth.tracing(frame))
        inside = traced & near_fan()
        assert dice(inside, truth.mask[frame]) > 0.92
    with pytest.raises(InputError, match="frame must lie in"):
        truth.tracing(50)


def near_fan() -> np.ndarray:
    """Pixels of the fan (112, 112): the apex of a PLAX tracing lies outside of it."""
    y, x = np.mgrid[:112, :112]
    return np.abs(np.arctan2(x - 61.5, y - 7.0)) < np.deg2rad(45)


@pytest.mark.parametrize("view", View)
def test_the_cavity_is_dark_and_the_wall_bright(view: View) -> None:
    from scipy.ndimage import binary_dilation, binary_erosion

    bright = 0
    for patient in range(6):
        made = rendered(view, patient)
        grey, mask = made.clip.video[0].astype(float), made.truth.mask[0]
        near, far = (np.array(binary_dilation(mask, iterations=n), dtype=bool) for n in (1, 5))
        ring = far & ~near & near_fan()
        bright += grey[ring].mean() > 1.5 * grey[binary_erosion(mask, iterations=4)].mean()
    assert bright >= 5


@pytest.mark.parametrize("view", View)
def test_nothing_is_painted_outside_the_sector(view: View) -> None:
    y, x = np.mgrid[:112, :112]
    outside = np.abs(np.arctan2(x - 61.5, y - 7.0)) > np.deg2rad(50)
    assert (rendered(view).clip.video[:, outside & (np.hypot(x - 61.5, y - 7) > 12)] == 0).all()


def test_the_mitral_valve_closes_in_systole() -> None:
    wins = 0
    for patient in range(6):
        made = rendered(View.A4C, patient)
        truth, video = made.truth, made.clip.video.astype(float)
        closed = int(np.argmax(truth.aortic_open[: truth.es]))
        opened = truth.es + int(np.argmax(truth.mitral_open[truth.es : truth.es + 12]))
        wins += orifice(video, truth, closed) > orifice(video, truth, opened)
    assert wins >= 5


def orifice(video: np.ndarray, truth, frame: int) -> float:
    """Brightest grey across the middle of the mitral annulus, from 9 px above to 1 px below."""
    apex, base = truth.tracing(frame)[0, :2], truth.tracing(frame)[0, 2:]
    along = (base - apex) / np.linalg.norm(base - apex)
    points = base + np.arange(-9, 2)[:, None] * along
    x, y = np.rint(points).astype(int).T
    return float(max(video[frame, y, x + d].max() for d in (-1, 0, 1)))


def test_the_counterfactual_differs_only_in_its_stroke() -> None:
    low, high = rendered(View.A4C, 3, ef=25).truth, rendered(View.A4C, 3, ef=70).truth
    np.testing.assert_array_equal(low.mask[0], high.mask[0])
    first = [rendered(View.A4C, 3, ef=ef).clip.video[0].astype(float) for ef in (25, 70)]
    assert np.corrcoef(first[0].ravel(), first[1].ravel())[0, 1] > 0.97
    areas = [rendered(View.A4C, 3, ef=ef).truth.mask.sum((1, 2)).min() for ef in (25, 40, 55, 70)]
    assert (np.diff(areas) < 0).all()


@pytest.mark.parametrize("view", View)
def test_patients_are_recognised_across_clips(view: View) -> None:
    from scipy.ndimage import gaussian_filter

    def features(clip: int) -> np.ndarray:
        videos = (still(view, patient, clip).mean(0) for patient in range(10))
        blurred = np.stack([gaussian_filter(v, 2).ravel() for v in videos])
        blurred -= blurred.mean(1, keepdims=True)
        return blurred / np.linalg.norm(blurred, axis=1, keepdims=True)

    similarity = features(0) @ features(1).T
    same, other = np.diag(similarity), similarity[~np.eye(10, dtype=bool)]
    assert (same[:, None] > other[None]).mean() > 0.95


def test_quality_levels_bury_the_cavity_in_noise() -> None:
    patient = PhantomPatient.sample(11, 0)
    ratio = []
    for quality in (1, 2, 3, 4):
        made = patient.render("A4C", frames=1, quality=quality, phase=0.0)
        grey, mask = made.clip.video[0].astype(float), made.truth.mask[0]
        ratio.append(grey[mask].mean() / grey.mean())
    assert (np.diff(ratio) > -0.02).all()
    assert ratio[3] > ratio[0] + 0.2


def test_any_frame_rate_and_a_single_frame() -> None:
    patient = PhantomPatient.sample(11, 4, "paediatric")
    assert patient.render("PLAX", frames=1, fps=1000).clip.video.shape == (1, 112, 112)
    slow = patient.render("PSAX", frames=7, fps=6.5, phase=0.0)
    assert slow.clip.fps == 6.5
    assert len(slow.truth.r_times) >= 1


def test_the_dataset_lives_in_memory() -> None:
    people = [PhantomPatient.sample(11, p) for p in range(2)]
    data = PhantomDataset(people, (View.A4C, View.PSAX), frames=3)
    assert len(data) == 4
    item = data[3]
    assert item.x.shape == (1, 3, 112, 112)
    assert item.x.min() >= -1
    assert item.x.max() <= 1
    assert item.cond.view is not None
    assert int(item.cond.view) == View.PSAX
    assert item.uid == people[1].uid(View.PSAX, 0)
    assert data.clip(3) is data.clip(3)
    with pytest.raises(InputError, match="at least one patient"):
        PhantomDataset([])
