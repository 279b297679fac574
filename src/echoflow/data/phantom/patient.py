"""Who the phantom patients are: cohorts of plausible hearts, one draw per (seed, patient).

Priors follow textbook reference ranges (ASE/EACVI 2015 chamber quantification, Weissler systolic
intervals) and the published summary figures of EchoNet-Dynamic.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from echoflow.data.phantom.ventricle import Region, Ventricle, profile_integral
from echoflow.types import InputError, Split, View, check_ef, choose

if TYPE_CHECKING:
    from echoflow.data.phantom.clip import PhantomClip

Rng = np.random.Generator
EF_RANGE = (5.0, 85.0)


@dataclass(frozen=True)
class Cohort:
    """How a cohort draws what makes it special; everything else is shared by all cohorts.

    `walls` returns the septal thickness in mm and the lateral wall relative to it, from the size
    `scale` (equatorial radius over 24 mm).
    """

    name: str
    heart: Callable[[Rng], tuple[float, float, float]]  # EF %, EDV mL, heart rate bpm
    sphericity: Callable[[Rng, float], float]
    walls: Callable[[Rng, float], tuple[float, float]]
    tethered: bool = False
    anterior_motion: bool = False
    regional: bool = False


def _adult_heart(rng: Rng) -> tuple[float, float, float]:
    healthy = rng.uniform() < 0.76
    ef = float(np.clip(rng.normal(61, 5.5) if healthy else rng.normal(40, 12), 10, 80))
    edv = float(rng.lognormal(math.log(88 + 1.7 * max(0, 55 - ef)), 0.26))
    return ef, edv, float(np.clip(rng.normal(70, 13), 45, 120))


def _child_heart(rng: Rng) -> tuple[float, float, float]:
    surface = rng.uniform(0.3, 1.8)
    ef = float(np.clip(rng.normal(61, 10), 20, 80))
    edv = float(rng.lognormal(math.log(62 * surface**1.2), 0.18))
    rate = rng.normal(150 - 55 * (surface - 0.3) / 1.5, 14)
    return ef, edv, float(np.clip(rate, 60, 180))


def _uniform_heart(ef: tuple[float, float], edv: tuple[float, float]) -> Callable:
    def draw(rng: Rng) -> tuple[float, float, float]:
        rate = float(np.clip(rng.normal(72, 13), 45, 120))
        return float(rng.uniform(*ef)), float(rng.uniform(*edv)), rate

    return draw


def _plain_sphericity(rng: Rng, ef: float) -> float:
    return float(np.clip(rng.normal(1.78 - 0.006 * max(0, 55 - ef), 0.13), 1.35, 2.1))


def _plain_walls(rng: Rng, scale: float) -> tuple[float, float]:
    septum = float(np.clip(rng.normal(10, 1.6), 6.5, 19) * scale**0.5)
    return septum, float(rng.uniform(0.8, 1.02))


def _thin_walls(rng: Rng, scale: float) -> tuple[float, float]:
    septum, ratio = _plain_walls(rng, scale)
    return 0.85 * septum, ratio


def _thick_walls(rng: Rng, scale: float) -> tuple[float, float]:
    return float(rng.uniform(16, 23)), float(rng.uniform(0.55, 0.9))


COHORTS: dict[str, Cohort] = {
    c.name: c
    for c in (
        Cohort("adult", _adult_heart, _plain_sphericity, _plain_walls),
        Cohort("paediatric", _child_heart, _plain_sphericity, _plain_walls),
        Cohort(
            "dilated",
            _uniform_heart((12, 38), (170, 290)),
            lambda rng, ef: float(rng.uniform(1.35, 1.6)),
            _thin_walls,
            tethered=True,
        ),
        Cohort(
            "hypertrophic",
            _uniform_heart((64, 78), (60, 100)),
            _plain_sphericity,
            _thick_walls,
            anterior_motion=True,
        ),
        Cohort(
            "rwma",
            _uniform_heart((28, 55), (95, 170)),
            _plain_sphericity,
            _plain_walls,
            regional=True,
        ),
    )
}


@dataclass(frozen=True)
class PhantomPatient:
    """One heart. Lengths in mm, volumes in mL, EF in percent, angles in degrees, rate in bpm.

    Everything but `ef` is anatomy or rhythm: `with_ef` gives the same heart beating otherwise.
    """

    seed: int
    patient: int
    cohort: str
    ef: float
    drawn_ef: float
    edv: float
    heart_rate: float
    rr_jitter: float
    sphericity: float
    equator: float
    shape: float
    mapse_factor: float
    septum: float
    lateral: float
    bend: float
    ellipticity: float
    rv_width: float
    rv_apex: float
    la_height: float
    la_width: float
    e_fraction: float
    lvet_factor: float
    torsion: float
    respiration: float
    rocking: float
    papillary: bool
    region: Region | None

    @classmethod
    def sample(cls, seed: int, patient: int, cohort: str = "adult") -> PhantomPatient:
        """Patient number `patient` of the cohort; the same arguments always give the same heart."""
        kind = COHORTS[choose(cohort, COHORTS, "cohort")]
        if seed < 0 or patient < 0:
            raise InputError(f"seed and patient must be >= 0; got {seed} and {patient}.")
        rng = np.random.default_rng([seed, patient, list(COHORTS).index(cohort)])
        ef, edv, rate = kind.heart(rng)
        sphericity = kind.sphericity(rng, ef)
        equator, shape = rng.uniform(0.55, 0.68), rng.uniform(-0.35, 0.45)
        scale = equatorial_radius(edv, sphericity, equator, shape) / 24
        septum, ratio = kind.walls(rng, scale)
        size = scale if cohort == "paediatric" else max(0.85, scale)
        ellipticity, region = rng.normal(0, 0.04), _region(rng)
        return cls(
            seed=seed,
            patient=patient,
            cohort=cohort,
            ef=ef,
            drawn_ef=ef,
            edv=edv,
            heart_rate=rate,
            rr_jitter=rng.uniform(0.005, 0.05),
            sphericity=sphericity,
            equator=equator,
            shape=shape,
            mapse_factor=float(np.clip(rng.normal(1, 0.13), 0.6, 1.4)),
            septum=septum,
            lateral=septum * ratio,
            bend=rng.normal(0, 2.2) * scale,
            ellipticity=0.0 if kind.regional else float(np.clip(ellipticity, -0.12, 0.12)),
            rv_width=rng.uniform(24, 36) * scale,
            rv_apex=rng.uniform(0.08, 0.30),
            la_height=rng.uniform(38, 54) * size,
            la_width=rng.uniform(17, 24) * size,
            e_fraction=float(np.clip(rng.normal(0.68, 0.09), 0.4, 0.88)),
            lvet_factor=float(np.clip(rng.normal(1, 0.03), 0.9, 1.1)),
            torsion=rng.uniform(4, 11),
            respiration=1.64 * rng.uniform(0.3, 1.6),
            rocking=4.2 * float(np.clip(rng.normal(1, 0.5), 0, 2)) * scale,
            papillary=bool(rng.uniform() < 0.5),
            region=region if kind.regional else None,
        )

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> PhantomPatient:
        """The patient whose `parameters()` these are."""
        own = {f.name: parameters[f.name] for f in fields(cls)}
        region = own.pop("region")
        return cls(**own, region=Region(**region) if region else None)

    @property
    def esv(self) -> float:
        return self.edv * (1 - self.ef / 100)

    @property
    def scale(self) -> float:
        """Size relative to a heart of 24 mm equatorial radius."""
        return self.a0 / 24

    @property
    def a0(self) -> float:
        return equatorial_radius(self.edv, self.sphericity, self.equator, self.shape)

    @property
    def l0(self) -> float:
        return 2 * self.sphericity * self.a0

    @property
    def split(self) -> Split:
        """Patients go 6 : 1 : 1 to the splits by their number."""
        return {6: Split.VAL, 7: Split.TEST}.get(self.patient % 8, Split.TRAIN)

    @property
    def ventricle(self) -> Ventricle:
        """The exact left ventricle; the annulus descends in proportion to EF."""
        mapse = 0.155 * self.l0 * (self.ef / 60) * self.mapse_factor
        return Ventricle(
            edv=self.edv,
            esv=self.esv,
            a0=self.a0,
            l0=self.l0,
            equator=self.equator,
            shape=self.shape,
            mapse=mapse,
            bend=self.bend,
            kappa=self.ellipticity,
            region=self.region,
        )

    def with_ef(self, ef: float) -> PhantomPatient:
        """The same anatomy and EDV with another ESV: the true counterfactual."""
        low, high = EF_RANGE
        if not low <= check_ef(ef) <= high:
            raise InputError(f"a phantom heart beats with an ef in [{low:g}, {high:g}]; got {ef}.")
        return replace(self, ef=float(ef))

    def generator(self, *stream: int) -> Rng:
        """Independent random stream of this patient, for example (purpose, view, clip)."""
        cohort = list(COHORTS).index(self.cohort)
        return np.random.default_rng([self.seed, self.patient, cohort, *stream])

    def uid(self, view: View, clip: int, quality: int = 2) -> str:
        """A name as EchoNet-Dynamic forms it: 0X and 16 hexadecimal digits."""
        parts: list[object] = ["phantom", self.seed, self.patient, view.name, clip]
        parts += [self.cohort] if self.cohort != "adult" else []
        parts += [f"ef {self.ef:.6f}"] if self.ef != self.drawn_ef else []
        parts += [f"quality {quality}"] if quality != 2 else []
        digest = hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()
        return "0X" + digest[:16].upper()

    def parameters(self) -> dict:
        """All parameters as JSON values."""
        return {**asdict(self), "esv": self.esv, "a0": self.a0, "l0": self.l0}

    def render(
        self,
        view: View | str | int,
        frames: int = 64,
        fps: float = 32.0,
        clip: int = 0,
        quality: int = 2,
        phase: float | None = None,
    ) -> PhantomClip:
        """Clip number `clip` of this patient with its exact truth.

        `phase` is the place of frame 0 in its beat: 0 is the R wave (end-diastole), None is random.
        `quality` runs from 1 (clean) to 4 (poor).
        """
        from echoflow.data.phantom.clip import render_clip

        return render_clip(self, View.parse(view), frames, fps, clip, quality, phase)


def equatorial_radius(edv: float, sphericity: float, equator: float, shape: float) -> float:
    """a0 in mm from EDV = pi a0^2 L0 G with L0 = 2 s a0."""
    g = profile_integral(equator, shape)
    return (1000 * edv / (2 * math.pi * sphericity * g)) ** (1 / 3)


def _region(rng: Rng) -> Region:
    """One of the segments of the 17-segment model, hypokinetic to akinetic."""
    level = float(rng.choice([0.25, 0.5, 0.75]))
    phi0 = math.radians(60.0 * int(rng.integers(6)))
    return Region(level, float(rng.uniform(0.2, 0.32)), phi0, float(rng.uniform(0.55, 1.0)))
