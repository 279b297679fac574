"""How exactly the phantom's labels, tracings and masks agree: EF errors in points, no pictures.

Geometry of two seconds at 50 frames/s per patient. Usage: python benchmarks/phantom_truth.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from where import where

from echoflow.data.phantom import COHORTS, PhantomPatient, Truth
from echoflow.data.phantom.clip import ANATOMY, beats_of, state_of
from echoflow.data.phantom.truth import cavity_masks, truth_of
from echoflow.data.phantom.views import build_scene
from echoflow.data.volumes import mask_volume, tracing_volume
from echoflow.types import View


def geometry(patient: PhantomPatient, view: View) -> tuple[Truth, np.ndarray]:
    """The truth of a clip without its pixels, and its masks not clipped by the sector."""
    scene, _ = build_scene(patient, view, patient.generator(ANATOMY, view))
    beats = beats_of(patient, view, 100, 50.0, 0, None)
    state = state_of(patient, view, beats)
    return truth_of(patient, scene, state, beats), cavity_masks(scene, state, clipped=False)


def ef(truth: Truth, size) -> float:
    """EF in percent from any measure of volume of a frame."""
    return 100 * (1 - size(truth.es) / size(truth.ed))


def errors(patient: PhantomPatient) -> dict[str, float]:
    """EF estimates minus the label, in points."""
    (apical, whole), (short, _) = geometry(patient, View.A4C), geometry(patient, View.PSAX)
    found = {
        "sampled volume curve": ef(apical, lambda f: apical.volume[f]),
        "A4C tracing, 20 disks": ef(apical, lambda f: tracing_volume(apical.tracing(f))),
        "A4C mask, Simpson": ef(apical, lambda f: mask_volume(whole[f])),
        "same, clipped by sector": ef(apical, lambda f: mask_volume(apical.mask[f])),
        "PSAX mask area x length": ef(short, lambda f: short.mask[f].sum() * short.length[f]),
    }
    return {name: value - patient.ef for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    rows = []
    for cohort in COHORTS:
        found = [errors(PhantomPatient.sample(33, p, cohort)) for p in range(args.patients)]
        for name in found[0]:
            e = np.array([one[name] for one in found])
            row = {"mae": np.abs(e).mean(), "bias": e.mean(), "max": np.abs(e).max()}
            rows.append(
                {"cohort": cohort, "estimate": name} | {k: float(v) for k, v in row.items()}
            )
    print(f"{'cohort':14s}{'estimate':26s}{'mae':>8s}{'bias':>8s}{'max':>8s}")
    for r in rows:
        print("{cohort:14s}{estimate:26s}{mae:8.3f}{bias:8.3f}{max:8.3f}".format(**r))
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**where(), "patients per cohort": args.patients, "rows": rows}, indent=2)
    (args.out / "phantom_truth.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
