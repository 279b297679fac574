"""What a generated dataset says of itself: `dataset.json` for programs, `README.md` for people.

Both come from the same facts. The header of the README is what the hub reads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from echoflow.data.manifest import Manifest
from echoflow.metrics.clinical import mae, r2
from echoflow.synthesis.dropin import ASKED, DropIn
from echoflow.synthesis.origin import Origin
from echoflow.synthesis.plan import DatasetPlan
from echoflow.synthesis.samples import Engine
from echoflow.synthesis.tables import PARQUET

UNKNOWN = "Not recorded in these weights. State it here before you publish the dataset."
COLUMNS = {
    "EF": "ejection fraction in percent, measured on the video by a regressor; empty without",
    "EF_requested": "the ejection fraction that the video was asked for",
    "ESV, EDV": "empty: a generated picture has no scale from which volumes could follow",
    "Split": "TRAIN, VAL or TEST; all videos of a heart are in one",
    "View": "A4C, PSAX or PLAX",
    "BaseName": "the heart; FileName is BaseName and the number of the video",
    "Seed, MotionSeed, Attempt": "what makes the same heart and the same beat again",
    "ReIdScore": "correlation with the nearest training anatomy, NearestTraining",
    "Tau": "the privacy threshold; every ReIdScore of a filtered dataset is below it",
    "Traced": "whether VolumeTracings.csv follows the cavity seen or the mask asked for",
}


def facts(
    manifest: Manifest,
    engine: Engine,
    plan: DatasetPlan,
    rejected: int,
    read: DropIn,
    origin: Origin,
) -> dict[str, Any]:
    """All that the card tells, as plain values. `relabelled`: was the EF of the videos measured?"""
    records = manifest.records
    anatomies = -(-plan.n // plan.per_anatomy)
    return {
        "plan": asdict(plan) | {"views": [view.name for view in plan.views]},
        "fps": engine.fps,
        "frames": sorted({record.frames for record in records}),
        "pixels": sorted({(record.height, record.width) for record in records}),
        "videos": len(records),
        "anatomies": anatomies,
        "splits": dict(Counter(record.split.value for record in records)),
        "views": dict(Counter(record.view.name for record in records)),
        "relabelled": all(record.ef is not None for record in records),
        "ef": _ef(manifest),
        "gallery": len(engine.privacy.gallery),
        "tau": {group or "all": tau for group, tau in engine.privacy.thresholds().items()},
        "rejected": rejected,
        "above_tau": _above(manifest),
        "rejection_percent": 100 * rejected / (rejected + anatomies),
        "label": read.label,
        "reads_in": {tool: dict(splits) for tool, splits in read.videos.items()},
        "origin": asdict(origin),
    }


def _above(manifest: Manifest) -> int:
    """Hearts that the filter would have thrown away: none, unless it was switched off."""
    rows = (manifest.extras[record.uid] for record in manifest.records)
    return len({r["BaseName"] for r in rows if float(r["ReIdScore"]) >= float(r["Tau"])})


def _ef(manifest: Manifest) -> dict[str, float]:
    """Percent: the range asked for, and how far the measured EF is from it."""
    pairs = [(float(manifest.extras[r.uid][ASKED]), r.ef) for r in manifest.records]
    asked = [wanted for wanted, _ in pairs]
    told = {"asked_low": min(asked), "asked_high": max(asked)}
    both = [(wanted, measured) for wanted, measured in pairs if measured is not None]
    if both:
        wanted, measured = zip(*both, strict=True)
        told |= {"measured_low": min(measured), "measured_high": max(measured)}
        told |= {"mae": mae(wanted, measured), "r2": r2(wanted, measured)}
    return {name: value for name, value in told.items() if math.isfinite(value)}


def readme(told: Mapping[str, Any]) -> str:
    """README.md from the facts: a header of YAML for the hub, then the dataset in words."""
    sections = {
        "Contents": _contents(told),
        "Labels": _labels(told),
        "Source models": _models(told["origin"]),
        "Training data": _training(told["origin"]),
        "Privacy": _privacy(told),
        "Reading it": _reading(told),
        "Making it again": "`dataset.json` holds the plan. Video number i depends on the seed of "
        "the plan and on i alone: a larger `n` appends videos and changes none.",
        "Licence": "Whoever trained the models decides; the licence of the training data may ask "
        "for more. Not for diagnosis.",
    }
    body = "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items())
    return f"---\n{_header(told)}\n---\n\n# {_title(told)}\n{body}"


def _title(told: Mapping[str, Any]) -> str:
    return f"{told['videos']} synthetic echocardiograms"


def _header(told: Mapping[str, Any]) -> str:
    from huggingface_hub import DatasetCardData

    return DatasetCardData(
        pretty_name=_title(told),
        license="other",
        task_categories=["video-classification"],
        size_categories=_size(told["videos"]),
        tags=["echocardiography", "ejection-fraction", "synthetic-data", "flow-matching"],
        configs=[{"config_name": "default", "data_files": PARQUET}],
    ).to_yaml()


def _size(n: int) -> str:
    """The size class of the hub."""
    edges = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    return next((name for edge, name in edges if n < edge), "100K<n<1M")


def _contents(told: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{height}x{width}" for height, width in told["pixels"])
    frames = ", ".join(map(str, told["frames"]))
    rows = [
        ("videos", told["videos"]),
        ("hearts", told["anatomies"]),
        *((f"split {name}", n) for name, n in told["splits"].items()),
        *((f"view {name}", n) for name, n in told["views"].items()),
        ("frames per video", frames),
        ("frames per second", f"{told['fps']:g}"),
        ("pixels", sizes),
    ]
    columns = "\n".join(f"| `{name}` | {text} |" for name, text in COLUMNS.items())
    return (
        "Grey ultrasound clips of hearts that do not exist, in the layout of EchoNet-Dynamic.\n\n"
        f"{_table(('', 'number'), rows)}\n\n| column of FileList.csv | meaning |\n| --- | --- |\n"
        f"{columns}\n\n`{PARQUET}` has the same rows with types and the SHA-256 of every video, "
        "`VolumeTracings.csv` two traced frames per video, `Masks` the cavities asked for, "
        "`rejections.csv` the hearts that the filter threw away."
    )


def _labels(told: Mapping[str, Any]) -> str:
    ef = told["ef"]
    asked = f"An EF of {ef['asked_low']:g} to {ef['asked_high']:g} % was asked for."
    if not told["relabelled"]:
        return (
            f"{asked} No regressor came with the weights, so the column EF is empty and nobody "
            f"checked that the videos beat as asked; train on `{ASKED}`."
        )
    fit = f", R2 {ef['r2']:.2f}" if "r2" in ef else ""
    return (
        f"{asked} A regressor measured {ef['measured_low']:.1f} to {ef['measured_high']:.1f} % on "
        f"the finished videos: mean absolute difference {ef['mae']:.2f} points{fit}. "
        "The column EF holds what was measured. The regressor was trained on the data that the "
        "models were trained on, so labels are not independent of them."
    )


def _models(origin: Mapping[str, Any]) -> str:
    if not origin["models"]:
        return "Not recorded."
    rows = [(f"`{role}`", f"`{digest[:16]}`") for role, digest in origin["models"].items()]
    source = f", converted from {origin['source']}" if origin["source"] else ""
    return (
        f"Weights {origin['weights']}{source}.\n\n"
        f"{_table(('model', 'first 16 digits of the SHA-256 of its weights'), rows)}"
    )


def _training(origin: Mapping[str, Any]) -> str:
    data = origin["data"]
    return f"{data[:1].upper()}{data[1:].rstrip('.')}." if data else UNKNOWN


def _privacy(told: Mapping[str, Any]) -> str:
    taus = ", ".join(f"{group} {tau:.4f}" for group, tau in told["tau"].items())
    candidates = told["rejected"] + told["anatomies"]
    if told["above_tau"]:
        return (
            f"This dataset is not filtered: {told['above_tau']} of {told['anatomies']} hearts "
            f"reach the privacy threshold (tau: {taus}) when compared with {told['gallery']} "
            "training anatomies. It serves comparisons with a filtered one; do not share it."
        )
    return (
        f"Every heart was compared with {told['gallery']} training anatomies by a "
        "re-identification network; one whose correlation reaches the threshold was thrown away "
        f"and the next seed took its place.\n\n- privacy threshold tau: {taus}\n"
        f"- rejection rate: {told['rejection_percent']:.1f} % ({told['rejected']} of {candidates} "
        "hearts)\n\nOnly filtered data are claimed to be private, never the models. The "
        "filter judges the heart at rest, not its motion."
    )


def _reading(told: Mapping[str, Any]) -> str:
    rows = [
        (tool, ", ".join(f"{n} {split}" for split, n in splits.items()))
        for tool, splits in told["reads_in"].items()
    ]
    frames, period = min(told["frames"]), 2
    advice = (
        f"They take 32 frames at period {period} unless told otherwise; with {frames} frames per "
        f"video use `--frames {min(frames, 32)} --period 1`, or the rest of a clip is padding."
        if frames < 32 * period
        else "Their default of 32 frames at period 2 fits."
    )
    task = "" if told["label"] == "EF" else f" Train on `--task {told['label']}`."
    return (
        "Checked by re-reading the folder as each tool does, every video decoded:\n\n"
        f"{_table(('tool', 'videos read'), rows)}\n\n{advice}{task}"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
