"""Who the patients are: repeatable draws, plausible cohorts, the counterfactual, clear refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echoflow.data.phantom import COHORTS, PhantomPatient
from echoflow.types import InputError, Split, View


@pytest.mark.parametrize("cohort", COHORTS)
def test_a_patient_is_the_same_every_time_and_unlike_the_next(cohort: str) -> None:
    first = PhantomPatient.sample(3, 8, cohort)
    assert first == PhantomPatient.sample(3, 8, cohort)
    assert first != PhantomPatient.sample(3, 9, cohort)
    assert first != PhantomPatient.sample(4, 8, cohort)


def test_adults_resemble_the_public_population() -> None:
    people = [PhantomPatient.sample(0, p) for p in range(400)]
    efs, edvs = np.array([p.ef for p in people]), np.array([p.edv for p in people])
    assert efs.mean() == pytest.approx(56.5, abs=2)
    assert efs.std() == pytest.approx(12, abs=2)
    assert edvs.mean() == pytest.approx(100, abs=8)
    splits = [p.split for p in people]
    assert splits.count(Split.TRAIN) == 300
    assert splits.count(Split.TEST) == 50


def test_cohorts_differ_as_named() -> None:
    def mean(cohort: str, field: str) -> float:
        people = [PhantomPatient.sample(0, p, cohort) for p in range(30)]
        return float(np.mean([getattr(p, field) for p in people]))

    assert mean("dilated", "edv") > 1.7 * mean("adult", "edv")
    assert mean("dilated", "ef") < 38
    assert mean("hypertrophic", "septum") > 16
    assert mean("paediatric", "edv") < 0.75 * mean("adult", "edv")
    assert mean("paediatric", "heart_rate") > 100


def test_another_ef_keeps_everything_but_the_stroke() -> None:
    patient = PhantomPatient.sample(0, 1)
    other = patient.with_ef(30)
    assert other.esv == pytest.approx(0.7 * patient.edv)
    assert (other.edv, other.a0, other.l0) == (patient.edv, patient.a0, patient.l0)
    assert other.uid(View.A4C, 0) != patient.uid(View.A4C, 0)
    assert other.with_ef(patient.ef) == patient


def test_names_look_like_those_of_the_public_dataset() -> None:
    patient = PhantomPatient.sample(0, 1)
    names = {
        patient.uid(view, clip, quality) for view in View for clip in (0, 1) for quality in (2, 3)
    }
    assert len(names) == 12
    assert all(len(n) == 18 and n.startswith("0X") and int(n, 16) >= 0 for n in names)


def test_parameters_are_json() -> None:
    patient = PhantomPatient.sample(0, 1, "rwma")
    assert json.loads(json.dumps(patient.parameters()))["ef"] == patient.ef


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: PhantomPatient.sample(0, 0, "dilatd"), "Did you mean dilated"),
        (lambda: PhantomPatient.sample(0, -1), "must be >= 0"),
        (lambda: PhantomPatient.sample(0, 0).with_ef(0.55), "Multiply a fraction by 100"),
        (lambda: PhantomPatient.sample(0, 0).with_ef(95), r"ef in \[5, 85\]; got 95"),
        (lambda: PhantomPatient.sample(0, 0).render("A5C"), "Did you mean A4C"),
        (lambda: PhantomPatient.sample(0, 0).render("A4C", frames=0), "at least one frame"),
        (lambda: PhantomPatient.sample(0, 0).render("A4C", fps=0), "fps must lie in"),
        (lambda: PhantomPatient.sample(0, 0).render("A4C", phase=1.5), "phase must lie in"),
        (lambda: PhantomPatient.sample(0, 0).render("A4C", quality=9), "quality must be 1"),
    ],
)
def test_refusals_say_what_is_allowed(act, message: str) -> None:
    with pytest.raises(InputError, match=message):
        act()
