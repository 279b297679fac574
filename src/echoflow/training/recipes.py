"""Recipes: what is trained, on what, and how. A recipe is a value; a run folder keeps its own."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from echoflow.types import InputError, choose

Stage = Literal["avae", "lifm", "lvfm", "reid", "ef", "lv"]


class Engine(BaseModel):
    """How the loop runs. `batch` is the effective batch over all processes.

    A process computes at most `micro` examples at once and adds up the gradients.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=10_000, ge=1)
    batch: int = Field(default=16, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    warmup: int = Field(default=500, ge=0)
    decay: float = Field(
        default=0.2, ge=0, le=1, description="share of the steps that decays to zero"
    )
    optimiser: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    snapshot_every: int = Field(
        default=0, ge=0, description="steps between snapshots for averages of any length; 0: none"
    )
    precision: Literal["bf16", "fp32"] = "bf16"
    compile: bool = False
    recompute: bool = Field(
        default=False, description="blocks again in the backward pass: less memory, more time"
    )
    micro: int | None = Field(default=None, ge=1)
    workers: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    validate_every: int = Field(default=500, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    picture_every: int = Field(default=2_500, ge=0, description="0: no pictures")
    report_to: tuple[str, ...] = Field(
        default=(), description="trackers of accelerate besides metrics.jsonl, such as tensorboard"
    )


class AutoencoderOptions(BaseModel):
    """EchoFlow eq. 1-7. The adversary learns from step `adversary_from` on, alone for the first
    `adversary_lead` steps, at `adversary_rate` times the learning rate. `lpips` weighs the
    perceptual loss, and `eq` that turned and shrunk latents of `eq_share` of the batch decode to
    turned and shrunk images (EQ-VAE)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconstruction: Literal["l1", "mse"] = "mse"
    lpips: float = Field(default=0.0, ge=0)
    eq: float = Field(default=0.0, ge=0)
    eq_share: float = Field(default=0.5, gt=0, le=1)
    kl: float = Field(default=1e-6, ge=0)
    adversary: float = Field(default=0.5, ge=0)
    adversary_from: int = Field(default=1_000, ge=0)
    adversary_lead: int = Field(default=0, ge=0)
    adversary_rate: float = Field(default=1.0, gt=0)
    adversary_width: int = Field(default=64, ge=8)


class FlowOptions(BaseModel):
    """The rectified flow and the chance that each condition is dropped.

    `noise_offset` is the std of a shift of the noise, one for each channel of a sample;
    `frame_noise` that of noise on the anatomy; `stills` the share of batches of videos that are
    taken apart into single frames.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: float = Field(default=1.0, gt=0)
    times: Literal["uniform", "logit-normal"] = "uniform"
    drop: float = Field(default=0.1, ge=0, lt=1)
    noise_offset: float = Field(default=0.0, ge=0)
    frame_noise: float = Field(default=0.0, ge=0)
    stills: float = Field(default=0.0, ge=0, lt=1)
    frames: int = Field(default=64, ge=1)
    anatomy: Literal["first", "outside"] = "outside"


class ReIdOptions(BaseModel):
    """Weights of the paper's pair loss and of the contrast of correlations, and its temperature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pair: float = Field(default=1.0, ge=0)
    contrast: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=0.1, gt=0)


class Recipe(BaseModel):
    """One training run: `stage` of the network `model` on `data`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage
    model: str
    data: str = Field(description="videos for avae, ef and lv, latents for the other stages")
    start: str | None = Field(default=None, description="folder of weights to start from")
    posterior: Literal["draw", "mean"] = Field(
        default="draw", description="what latents are: posterior draws (the paper) or its means"
    )
    decoder: str | None = Field(
        default=None, description="folder of the A-VAE that decodes latents for pictures"
    )
    engine: Engine = Engine()
    avae: AutoencoderOptions = AutoencoderOptions()
    flow: FlowOptions = FlowOptions()
    reid: ReIdOptions = ReIdOptions()

    def to_yaml(self) -> str:
        """The resolved recipe, every value written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def changed(self, settings: list[str]) -> Recipe:
        """The recipe with dotted settings, such as `engine.lr=1e-3`, applied."""
        values = self.model_dump(mode="json")
        for setting in settings:
            _set(values, setting)
        return parse(values)


def parse(values: dict[str, Any]) -> Recipe:
    """A recipe from plain values; an `InputError` names the field that is wrong."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"recipe: {place}: {first['msg']} (got {first['input']!r}).") from error


def read(path: str | Path) -> Recipe:
    """A recipe from a YAML file."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"there is no recipe file {path}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold settings as `name: value` lines.")
    return parse(values)


def named(name: str) -> Recipe:
    """A recipe of the table by name; the nearest names are offered otherwise."""
    return RECIPES[choose(name, RECIPES, "recipe")]


def _set(values: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"a setting is written name=value; got {setting!r}.")
    *path, last = name.strip().split(".")
    here: Any = values
    for part in [*path, last]:
        if not isinstance(here, dict) or part not in here:
            names = list(here) if isinstance(here, dict) else []
            near = difflib.get_close_matches(part, names, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"the recipe has no setting {name}.{hint}")
        if part is not last:
            here = here[part]
    here[last] = yaml.safe_load(text)


def _nano(stage: Stage, model: str, data: str, engine: Engine, **options: Any) -> Recipe:
    return Recipe(stage=stage, model=model, data=data, posterior="mean", engine=engine, **options)


RECIPES: dict[str, Recipe] = {
    "nano-avae": _nano(
        "avae",
        "A-VAE-nano",
        "videos",
        Engine(steps=2000, batch=8, lr=1.5e-3, warmup=100, decay=0.35, ema=0.995, weight_decay=0.0),
        avae=AutoencoderOptions(
            reconstruction="l1",
            kl=2e-7,
            adversary=0.1,
            adversary_from=1000,
            adversary_lead=150,
            adversary_rate=0.15,
            adversary_width=32,
        ),
    ),
    "nano-lifm": _nano(
        "lifm",
        "FMiT-nano",
        "latents",
        Engine(
            steps=2400,
            batch=32,
            lr=1e-3,
            warmup=50,
            decay=0.35,
            ema=0.998,
            optimiser="muon",
            compile=True,
        ),
        flow=FlowOptions(frames=1, shift=1.5),
    ),
    "nano-lvfm": _nano(
        "lvfm",
        "FMvT-nano",
        "latents",
        Engine(
            steps=12000,
            batch=8,
            lr=1e-3,
            warmup=50,
            decay=0.35,
            ema=0.999,
            optimiser="muon",
            compile=True,
        ),
        flow=FlowOptions(frames=32, anatomy="first", shift=3.0),
    ),
    "nano-reid": _nano(
        "reid", "ReId-nano", "latents", Engine(steps=300, batch=32, lr=1e-3, warmup=50)
    ),
    "nano-ef": _nano(
        "ef",
        "EF-nano",
        "videos",
        Engine(steps=1400, batch=16, lr=1.5e-3, warmup=50, decay=0.4),
    ),
    "nano-lv": _nano(
        "lv",
        "LV-nano",
        "videos",
        Engine(steps=1200, batch=16, lr=2e-3, warmup=50, decay=0.4, ema=0.99),
    ),
}
