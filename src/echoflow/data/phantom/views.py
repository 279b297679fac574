"""The table of views: how each one is painted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from echoflow.data.phantom.a4c import a4c
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.data.phantom.plax import plax
from echoflow.data.phantom.psax import psax
from echoflow.data.phantom.scene import Scene
from echoflow.data.phantom.style import Style, draw_style
from echoflow.types import View

Builder = Callable[[PhantomPatient, np.random.Generator, float, float], Scene]
BUILDERS: dict[View, Builder] = {View.A4C: a4c, View.PSAX: psax, View.PLAX: plax}


def build_scene(
    patient: PhantomPatient, view: View, rng: np.random.Generator
) -> tuple[Scene, Style]:
    """The scene and the scanner settings of a patient in a view."""
    style_rng, scene_rng = rng.spawn(2)
    contrast = 3 + float(style_rng.normal(0, 3))
    scene = BUILDERS[view](patient, scene_rng, contrast, 0.25)
    return scene, draw_style(style_rng, scene.sector.depth, scene.sector.half_angle)
