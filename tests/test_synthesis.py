"""Datasets on disk: independent samples, replaced rejections, honest columns, nothing half done."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import DatasetCard
from published import write_release
from tiny_engine import FRAMES, RADIUS, SIDE, disc, disc_mask, embed, engine

from echoflow.data.manifest import Manifest
from echoflow.data.masks import area, tracing_mask
from echoflow.data.video import read_gray
from echoflow.files import sha256
from echoflow.metrics.clinical import dice, regression
from echoflow.pipeline import weights_folder
from echoflow.privacy import Gallery, PrivacyFilter
from echoflow.synthesis import (
    DatasetPlan,
    Origin,
    Sample,
    accepted,
    check,
    generate,
    synthesise,
)
from echoflow.synthesis.dataset import traced
from echoflow.synthesis.dropin import TOOLS
from echoflow.types import InputError, View

PLAN = DatasetPlan(n=7, batch=3)


def samples(plan: DatasetPlan, tau: float = 0.9) -> list[Sample]:
    return list(generate(engine(tau), plan, disc_mask))


def strict_tau(plan: DatasetPlan) -> float:
    """A tau that rejects some of the first candidates but not all."""
    scores = [s.anatomy.verdict.similarity for s in samples(plan)]
    return float(np.median(scores))


def same(a: Sample, b: Sample) -> bool:
    return (
        a.item == b.item
        and a.anatomy.seed == b.anatomy.seed
        and a.anatomy.verdict.similarity == b.anatomy.verdict.similarity
        and a.ef == b.ef
        and np.array_equal(a.video, b.video)
    )


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_samples_do_not_depend_on_the_batch_or_on_n(batch: int) -> None:
    tau = strict_tau(PLAN)
    reference = samples(PLAN, tau)
    other = samples(DatasetPlan(n=9, batch=batch), tau)
    assert any(s.anatomy.attempt for s in reference)
    assert all(same(a, b) for a, b in zip(reference, other, strict=False))


def test_a_rejection_moves_only_its_own_anatomy() -> None:
    free, strict = samples(PLAN), samples(PLAN, strict_tau(PLAN))
    for a, b in zip(free, strict, strict=True):
        assert same(a, b) == (b.anatomy.attempt == 0)
        assert b.anatomy.verdict.accepted


def test_a_copied_training_anatomy_is_replaced_by_the_next_seed() -> None:
    tiny = engine()
    first, _ = accepted(tiny, PLAN, [0], disc_mask)
    tiny.privacy = PrivacyFilter(embed, Gallery(embed(first[0].z[None]), ("0XCOPY",)), 0.9)
    again, rejected = accepted(tiny, PLAN, [0, 1], disc_mask)
    assert [(r.index, r.seed, r.verdict.nearest) for r in rejected] == [
        (0, first[0].seed, "0XCOPY")
    ]
    assert rejected[0].verdict.similarity == pytest.approx(1.0)
    assert [a.attempt for a in again] == [1, 0]


def test_too_many_rejections_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rejected 4 candidates in a row .* choose another seed"):
        synthesise(engine(-1.0), DatasetPlan(n=2, patience=4), tmp_path / "out", disc_mask)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("synthetic") / "out"
    origin = Origin("tiny", {"reid": "ab" * 32}, "discs only", "owner/name")
    return synthesise(engine(strict_tau(PLAN)), PLAN, root, disc_mask, origin=origin)


def test_the_folder_reads_back_as_written(dataset: Manifest) -> None:
    again = Manifest.read(dataset.root)
    assert again.records == dataset.records
    assert {k: dict(v) for k, v in again.extras.items()} == dataset.extras
    record = again.records[1]
    assert (record.view, record.frames, record.height, record.width) == (
        View.PSAX,
        FRAMES,
        SIDE,
        SIDE,
    )
    video, fps = read_gray(again.video(record))
    assert video.shape == (FRAMES, SIDE, SIDE)
    assert fps == 16.0


def test_every_row_says_what_was_asked_measured_and_judged(dataset: Manifest) -> None:
    for i, record in enumerate(dataset.records):
        row = dataset.extras[record.uid]
        assert row["BaseName"] == record.uid[:-3] == record.patient
        assert float(row["EF_requested"]) == PLAN.item(i).ef
        assert float(row["ReIdScore"]) <= float(row["Tau"])
        assert row["Verdict"] == "accepted"
        assert row["NearestTraining"].startswith("0X")
    asked = [float(dataset.extras[r.uid]["EF_requested"]) for r in dataset.records]
    measured = [r.ef for r in dataset.records if r.ef is not None]
    assert regression(asked, measured, 10).mae < 4  # a disc of pixels is a coarse ruler


def test_rejected_candidates_are_listed(dataset: Manifest) -> None:
    with (dataset.root / "rejections.csv").open() as file:
        rows = list(csv.DictReader(file))
    attempts = {r.uid[:-3]: int(dataset.extras[r.uid]["Attempt"]) for r in dataset.records}
    assert len(rows) == sum(attempts.values()) > 0
    for row in rows:
        assert float(row["ReIdScore"]) >= float(row["Tau"])
        assert int(row["Attempt"]) < attempts[row["BaseName"]]


def test_tracings_follow_the_cavity(dataset: Manifest) -> None:
    for record in dataset.records:
        frames = dataset.tracings[record.uid]
        assert len(frames) == 2
        masks = {n: tracing_mask(lines, SIDE, SIDE) for n, lines in frames.items()}
        ed, es = sorted(masks, key=lambda n: -int(area(masks[n])))
        assert abs(es - FRAMES // 2) <= 1
        assert dice(masks[ed], disc(RADIUS)) > 0.93


def test_the_same_plan_writes_the_same_bytes(dataset: Manifest, tmp_path: Path) -> None:
    tau = engine(strict_tau(PLAN))
    synthesise(tau, DatasetPlan(n=7, batch=7), tmp_path / "again", disc_mask)
    for file in sorted(p for p in dataset.root.rglob("*") if p.suffix in {".csv", ".avi", ".png"}):
        assert (tmp_path / "again" / file.relative_to(dataset.root)).read_bytes() == (
            file.read_bytes()
        ), file.name


def test_a_taken_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        synthesise(engine(), PLAN, tmp_path, disc_mask, lambda done, total: pytest.fail("worked"))


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tools_of_the_field_keep_every_video(dataset: Manifest, tool: str) -> None:
    pairs = [pair for split in ("TRAIN", "TEST") for pair in TOOLS[tool](dataset.root, split)]
    assert len(pairs) == len(dataset.records)
    for pair in pairs:
        es, ed = (area(tracing_mask(lines)) for lines in pair.frames.values())
        assert ed >= es > 0
    assert check(dataset).faults == ()


def test_a_dataset_that_a_tool_would_misread_is_not_called_done(tmp_path: Path) -> None:
    tiny = engine()
    measured = iter([50.0, float("nan")])
    tiny.regressor = lambda video: torch.tensor([next(measured)])
    with pytest.raises(InputError, match=r"no drop-in for any tool: sample_000001_00 has no EF"):
        synthesise(tiny, DatasetPlan(n=2), tmp_path / "out", disc_mask)
    assert not list(tmp_path.iterdir())


def test_tracings_of_a_heart_that_stands_still_or_is_not_seen() -> None:
    still = np.repeat(disc(9)[None], 5, 0)
    assert list(traced(still, disc(5))) == [0, 4]
    unseen = traced(np.zeros_like(still), disc(30))
    assert list(unseen) == [0, 4]
    assert area(tracing_mask(unseen[4])) == pytest.approx(disc(30).sum(), rel=0.1)
    late = np.zeros_like(still)
    late[4] = disc(9)
    assert {n: len(lines) for n, lines in traced(late, disc(5)).items()} == {4: 21, 0: 21}


# ---- the card -----------------------------------------------------------------------------------


def test_the_card_says_what_a_reader_must_know(dataset: Manifest) -> None:
    card = DatasetCard.load(dataset.root / "README.md")
    header = card.data.to_dict()
    assert header["size_categories"] == "n<1K"
    assert header["configs"] == [{"config_name": "default", "data_files": "manifest.parquet"}]
    told = json.loads((dataset.root / "dataset.json").read_text())
    rejected, tau = told["rejected"], told["tau"]["all"]
    rate = 100 * rejected / (rejected + 7)
    for line in (
        "| videos | 7 |",
        "| split TRAIN | 5 |",
        "| `reid` | `" + "ab" * 8 + "` |",
        "Weights tiny, converted from owner/name.",
        "Discs only.",
        f"privacy threshold tau: all {tau:.4f}",
        f"rejection rate: {rate:.1f} % ({rejected} of {rejected + 7} hearts)",
        "| HReynaud/echonet | 5 TRAIN, 2 TEST |",
        "use `--frames 8 --period 1`",
    ):
        assert line in card.content
    assert "nan" not in card.content.lower()


def test_without_a_regressor_the_card_says_what_to_train_on(tmp_path: Path) -> None:
    tiny = engine()
    tiny.regressor = lambda video: torch.full((len(video),), torch.nan)
    made = synthesise(tiny, DatasetPlan(n=2), tmp_path / "out", disc_mask)
    assert [record.ef for record in made.records] == [None, None]
    card = (made.root / "README.md").read_text()
    assert "Train on `--task EF_requested`." in card
    assert "nobody checked that the videos beat as asked" in card
    assert "Not recorded in these weights" in card
    assert "NaN" not in (made.root / "dataset.json").read_text()


def test_the_parquet_manifest_has_the_same_rows_with_types(dataset: Manifest) -> None:
    rows = pq.read_table(dataset.root / "manifest.parquet").to_pylist()
    assert [row["uid"] for row in rows] == [record.uid for record in dataset.records]
    for row, record in zip(rows, dataset.records, strict=True):
        extras = dataset.extras[record.uid]
        assert (row["ef"], row["view"], row["split"]) == (
            record.ef,
            record.view.name,
            record.split.value,
        )
        assert row["Seed"] == int(extras["Seed"])
        assert row["EF_requested"] == float(extras["EF_requested"])
        assert row["edv"] is None
        assert row["sha256"] == sha256(dataset.video(record))


def test_the_origin_of_the_embedded_weights() -> None:
    origin = Origin.of("nano")
    assert origin.weights == "nano"
    assert "phantom" in origin.data
    assert {"avae", "lifm", "lvfm", "reid", "ef"} <= set(origin.models)
    weights = weights_folder("nano") / "lvfm" / "diffusion_pytorch_model.safetensors"
    assert origin.models["lvfm"] == sha256(weights)


def test_the_origin_of_a_release_tells_no_path(tmp_path: Path) -> None:
    origin = Origin.of(write_release(tmp_path / "mine"))
    assert origin.weights == "mine"
    roles = {role.split("/")[0] for role in origin.models}
    assert roles == {"vae", "lifm", "lvfm", "reid"}
    assert str(tmp_path) not in str(origin)
