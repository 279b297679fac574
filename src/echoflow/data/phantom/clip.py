"""One rendered clip with its exact truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoflow.data.phantom.cycle import Cycle, cycle
from echoflow.data.phantom.motion import State
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.data.phantom.render import Renderer
from echoflow.data.phantom.truth import Truth, truth_of
from echoflow.data.phantom.views import build_scene
from echoflow.types import Clip, InputError, View

ANATOMY, BEAT, NOISE = 1, 2, 3  # purposes of the random streams of a patient
THROUGH_PLANE = (0.95, 0.32, 1.25)  # speckle phase: rad at sigma 1, rad of respiration, rad / s^.5


@dataclass(frozen=True)
class PhantomClip:
    """A clip as a loader would give it, and the truth that no real clip has."""

    clip: Clip
    truth: Truth


def state_of(patient: PhantomPatient, view: View, beats: Cycle) -> State:
    """Geometry, rigid drift and speckle phase of every frame."""
    heart, sigma = patient.ventricle, beats.sigma
    rest = beats.respiration
    rocking = patient.rocking * patient.ef / 60 * sigma
    drift = np.stack(
        [
            0.25 * patient.respiration * rest + 0.8 * rocking * (view is View.A4C),
            patient.respiration * rest - 0.6 * rocking,
        ],
        -1,
    )
    contraction, breathing, walking = THROUGH_PLANE
    contraction *= 2 if view is View.PSAX else 1
    return State(
        sigma=sigma,
        length=heart.length(sigma),
        radius=heart.radius(sigma),
        mitral=beats.mitral,
        aortic=beats.aortic,
        twist=np.deg2rad(patient.torsion * patient.ef / 60) * sigma,
        phase=contraction * sigma + breathing * rest + walking * beats.walk,
        drift=drift,
    )


def beats_of(
    patient: PhantomPatient, view: View, frames: int, fps: float, clip: int, phase: float | None
) -> Cycle:
    """The cardiac cycle of clip number `clip`, sampled at its frames."""
    return cycle(
        patient.generator(BEAT, view, clip),
        np.arange(frames) / fps,
        patient.heart_rate,
        patient.rr_jitter,
        patient.lvet_factor,
        patient.e_fraction,
        phase,
    )


def render_clip(
    patient: PhantomPatient,
    view: View,
    frames: int,
    fps: float,
    clip: int,
    quality: int,
    phase: float | None,
) -> PhantomClip:
    """See `PhantomPatient.render`."""
    _check(frames, fps, phase)
    anatomy = patient.generator(ANATOMY, view)
    scene, style = build_scene(patient, view, anatomy)
    style = style.at_quality(quality)
    state = state_of(patient, view, beats := beats_of(patient, view, frames, fps, clip, phase))
    renderer = Renderer(scene, style, anatomy, patient.generator(NOISE, view, clip))
    video = renderer.video(state)
    truth = truth_of(patient, scene, state, beats)
    known = Clip(
        uid=patient.uid(view, clip, quality),
        video=video,
        fps=float(fps),
        view=view,
        source="phantom",
        split=patient.split,
        patient=f"{patient.cohort}-{patient.seed}-{patient.patient}",
        ef=patient.ef,
        edv=patient.edv,
        esv=patient.esv,
    )
    return PhantomClip(known, truth)


def _check(frames: int, fps: float, phase: float | None) -> None:
    if frames < 1:
        raise InputError(f"a clip needs at least one frame; got frames={frames}.")
    if not 1 <= fps <= 1000:
        raise InputError(f"fps must lie in [1, 1000]; got {fps}.")
    if phase is not None and not 0 <= phase < 1:
        raise InputError(f"phase must lie in [0, 1) or be None; got {phase}.")
