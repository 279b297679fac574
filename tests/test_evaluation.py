"""Evaluation: reports that say what they measured, on real small objects."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_engine import FRAMES, RADIUS, TinyEngine, disc, disc_mask, engine, untrained_space

from echoflow.data.manifest import Manifest
from echoflow.data.video import write_video
from echoflow.evaluation import (
    adherence,
    evaluate,
    finder_dice,
    obedience,
    privacy_rates,
    reconstruction,
    regressor_error,
    sweep,
)
from echoflow.metrics.cavity import cavity
from echoflow.sampling import SamplingPlan, noise_like
from echoflow.synthesis import DatasetPlan, synthesise
from echoflow.types import Clip, InputError, Split, View

PLAN = SamplingPlan(steps=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("evaluation") / "out"
    return synthesise(engine(), DatasetPlan(n=12), root, disc_mask)


def clip(ef: float, view: View) -> Clip:
    tiny = engine()
    z = tiny.animate(noise_like((2, 6, 6), [3]), torch.tensor([ef]), [1], PLAN)
    video = tiny.decode(z)[0].numpy()
    return Clip(f"{view.name}{ef}", video, 16.0, view, "tiny", Split.TEST, ef=ef)


def test_a_dataset_is_judged_from_its_folder_alone(dataset: Manifest) -> None:
    report = evaluate(dataset.root)
    assert report.n == 12
    assert report.metrics["ef_r2"] > 0.9
    assert report.metrics["ef_mae"] < 4
    assert {"ef_A4C_mae", "ef_PSAX_slope", "ef_PLAX_r2"} <= set(report.metrics)
    assert report.settings["frames"] == FRAMES
    asked, measured, views = obedience(dataset)
    assert len(asked) == len(measured) == len(views) == 12


def test_the_seed_is_that_of_every_interval(dataset: Manifest) -> None:
    first, second = (evaluate(dataset.root, seed=seed) for seed in (0, 5))
    for name in ("flicker", "ef_mae"):
        assert first.metrics[name] == second.metrics[name]
        assert first.interval(name) != second.interval(name)


def test_a_dataset_beside_itself_has_no_distance(dataset: Manifest) -> None:
    report = evaluate(dataset.root, dataset.root)
    assert report.metrics["grey_w1"] == 0
    assert report.metrics["against_flicker"] == report.metrics["flicker"]
    assert report.fingerprints["against"] == report.fingerprints["dataset"]


def test_a_dataset_without_requests_has_no_obedience(dataset: Manifest, tmp_path: Path) -> None:
    shutil.copytree(dataset.root / "Videos", tmp_path / "Videos")
    Manifest(tmp_path, dataset.records, {}, {}).write()
    report = evaluate(tmp_path)
    assert "ef_r2" not in report.metrics
    assert report.metrics["frame_correlation"] > 0.5


def test_requests_are_percentages_and_those_without_are_counted(
    dataset: Manifest, tmp_path: Path
) -> None:
    shutil.copytree(dataset.root / "Videos", tmp_path / "Videos")
    extras = {uid: dict(cells) for uid, cells in dataset.extras.items()}
    first, second, *_ = extras
    extras[first]["EF_requested"] = ""
    (tmp_path / "Videos" / f"{second}.avi").write_bytes(b"")
    Manifest(tmp_path, dataset.records, extras, {}).write()
    report = evaluate(tmp_path)
    assert report.n == 11
    assert report.notes[0].endswith(
        "1 further video is left out (empty-file 1); `echoflow data check` says which and why."
    )
    assert report.notes[1].startswith("10 of 11 videos have ef_ scores")
    extras[first]["EF_requested"] = "0.55"
    Manifest(tmp_path, dataset.records, extras, {}).write()
    with pytest.raises(InputError, match=rf"of {first}: ef must be .* Multiply a fraction by 100"):
        evaluate(tmp_path)


def test_videos_too_short_to_flicker_are_counted(tmp_path: Path) -> None:
    for i, frames in enumerate((2, 5)):
        write_video(tmp_path / f"v{i}.avi", np.zeros((frames, 32, 32), np.uint8), 16)
    report = evaluate(tmp_path)
    assert report.n == 2
    assert "1 of 2 videos of" in report.notes[0]
    assert report.interval("flicker") is not None
    assert np.isnan(report.interval("flicker") or 0).all()


def test_a_bare_folder_of_videos_can_stand_beside_it(dataset: Manifest) -> None:
    report = evaluate(dataset.root, dataset.root / "Videos")
    assert report.metrics["grey_w1"] == 0
    assert report.fingerprints["against"] != report.fingerprints["dataset"]
    assert any(note.startswith("against_ values are of 12 videos") for note in report.notes)
    assert not any("differs by the rate" in note for note in report.notes)


def test_videos_of_another_rate_beside_it_are_told(dataset: Manifest, tmp_path: Path) -> None:
    for name, fps in {"a": 50.0, "b": 25.0}.items():
        write_video(tmp_path / f"{name}.avi", np.zeros((5, 112, 112), np.uint8), fps)
    notes = evaluate(dataset.root, tmp_path).notes
    assert any("2 videos of" in n and "25 to 50 fps, 5 frames" in n for n in notes)
    assert any("differs by the rate alone" in note for note in notes)


def test_a_dataset_without_any_sound_video_is_refused(dataset: Manifest, tmp_path: Path) -> None:
    (tmp_path / "Videos").mkdir()
    Manifest(tmp_path, dataset.records, {}, {}).write()
    with pytest.raises(InputError, match=r"no video to evaluate: .*missing-video"):
        evaluate(tmp_path)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset that is known here"):
        evaluate(tmp_path)


def test_the_regressor_is_judged_per_view() -> None:
    clips = [clip(ef, view) for view in View for ef in (20.0, 45.0, 70.0)]
    report = regressor_error(engine().regressor, clips)
    assert report.n == 9
    assert report.metrics["ef_mae"] < 4
    assert report.metrics["ef_PLAX_r2"] > 0.9
    with pytest.raises(InputError, match="known EF"):
        regressor_error(engine().regressor, [])


def test_a_sweep_changes_only_the_ef() -> None:
    tiny = engine()
    z = noise_like((2, 6, 6), [1, 2])
    swept = sweep(tiny, z, [20, 40, 60], [5, 6], PLAN)
    assert swept.videos.shape[:3] == (2, 3, FRAMES)
    assert np.array_equal(swept.videos[0, 0, 0], swept.videos[0, 2, 0])  # end-diastole is shared
    report = swept.report({"steps": 1})
    assert report.metrics["in_order"] == 1
    assert report.metrics["slope"] == pytest.approx(1, abs=0.1)
    alone = sweep(tiny, z[1:], [20, 40, 60], [6], PLAN)
    assert np.array_equal(alone.videos[0], swept.videos[1])
    with pytest.raises(InputError, match="rising order"):
        sweep(tiny, z, [40, 20], [5, 6], PLAN)
    with pytest.raises(InputError, match="Multiply"):
        sweep(tiny, z, [0.4], [5, 6], PLAN)


def test_privacy_rates_of_copies_and_strangers() -> None:
    tiny = engine(0.45)
    copies = tiny.privacy.gallery.features.reshape(20, 2, 6, 6)
    report = privacy_rates(tiny.privacy, copies, noise_like((2, 6, 6), list(range(50))))
    assert report.metrics["copies_rejected"] == 100
    assert report.metrics["unseen_rejected"] < 20
    assert report.metrics["copies_similarity_min"] == pytest.approx(1)


def test_the_finder_sees_a_cavity_where_there_is_one() -> None:
    picture = np.where(disc(RADIUS), 20, 180).astype(np.uint8)
    assert finder_dice(cavity, picture[None], disc(RADIUS)[None])[0] > 0.97
    assert finder_dice(cavity, picture[None], disc(RADIUS + 4)[None])[0] < 0.9
    assert finder_dice(cavity, np.full_like(picture, 90)[None], disc(RADIUS)[None])[0] < 0.95


def test_adherence_asks_for_anatomies_of_every_view() -> None:
    class Still(TinyEngine):
        def decode(self, z: torch.Tensor) -> torch.Tensor:  # anatomies are single pictures
            picture = torch.from_numpy(np.where(disc(RADIUS), 20, 180).astype(np.uint8))
            return picture.expand(len(z), -1, -1)

    report = adherence(Still(engine().privacy), DatasetPlan(n=6), disc_mask)
    assert report.n == 6
    assert report.metrics["dice_PSAX"] > 0.97


def test_reconstruction_is_per_frame_and_counts_what_it_saw() -> None:
    space = untrained_space()
    clips = [clip(20.0, View.A4C), clip(60.0, View.A4C)]
    report = reconstruction(space, clips, every=4)
    assert report.n == 4
    assert 3 < report.metrics["psnr"] < 20  # an untrained network paints grey
    assert report.metrics["mse"] == pytest.approx(
        np.mean([reconstruction(space, [c], every=4).metrics["mse"] for c in clips])
    )
    with pytest.raises(InputError, match="no clips"):
        reconstruction(space, [])
