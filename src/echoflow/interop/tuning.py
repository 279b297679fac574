"""How weights on disk are to be sampled, changed in the card beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from echoflow.calibration import EFCalibration
from echoflow.files import atomic_file, plain_refusal
from echoflow.interop import bundle, release
from echoflow.sampling import SamplingPlan


def retune(folder: Path, motion: SamplingPlan, calibration: EFCalibration) -> None:
    """Keeps a plan of the video model, and the calibration that belongs to it.

    The card is `bundle.json`, or the `release.json` of a release, which may not exist before.
    """
    path = folder / bundle.CARD
    if not path.is_file():
        path = folder / release.CARD
    card = json.loads(path.read_text()) if path.is_file() else {}
    card |= {"motion": asdict(motion), "calibration": calibration.plain()}
    with plain_refusal(path), atomic_file(path) as file:
        file.write_text(json.dumps(card, indent=1) + "\n")
