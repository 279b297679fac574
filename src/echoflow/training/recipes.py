"""Recipes: what is trained, on what, and how. A recipe is a value; a run folder keeps its own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from echoflow.training.options import (
    AutoencoderOptions,
    CascadeOptions,
    FlowOptions,
    FreeEchoOptions,
    RegressionOptions,
    ReIdOptions,
    SegmentationOptions,
)
from echoflow.types import InputError

Stage = Literal["avae", "lifm", "lvfm", "reid", "ef", "lv", "freeecho", "cascade"]
Schedule = Literal["linear", "inverse-sqrt", "constant", "step"]


class Engine(BaseModel):
    """How the loop runs. `batch` is the effective batch over all processes.

    A process computes at most `micro` examples at once and adds up the gradients.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=10_000, ge=1, description="updates of the weights")
    batch: int = Field(default=16, ge=1, description="examples of an update, over all processes")
    lr: float = Field(default=1e-4, gt=0, description="the full rate, after the warm-up")
    schedule: Schedule = Field(
        default="linear", description="after the warm-up; see `optimisers.learning_rate`"
    )
    warmup: int = Field(default=500, ge=0, description="steps from zero to the full rate")
    decay: float = Field(
        default=0.2, ge=0, le=1, description="linear: share of the steps that decays to zero"
    )
    slope: float = Field(default=2.0, gt=0, description="inverse-sqrt: how fast it falls")
    floor: float = Field(default=1e-6, ge=0, description="inverse-sqrt: never below this rate")
    fall_every: int = Field(default=5_000, ge=1, description="step: steps between two falls")
    fall: float = Field(default=0.1, gt=0, le=1, description="step: each fall multiplies by this")
    optimiser: Literal["adamw", "muon", "adam", "sgd"] = Field(
        default="adamw", description="see `optimisers`"
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="of adam and adamw")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(default=0.01, ge=0, description="of matrices; see `optimisers`")
    clip: float = Field(default=1.0, ge=0, description="largest norm of the gradient; 0: any")
    ema: float = Field(default=0.999, ge=0, lt=1, description="0: the last weights, not averaged")
    keep: Literal["last", "best"] = Field(
        default="last", description="what a run ends with: its last weights, or the best validated"
    )
    snapshot_every: int = Field(
        default=0, ge=0, description="steps between snapshots for averages of any length; 0: none"
    )
    precision: Literal["bf16", "fp32"] = Field(
        default="bf16", description="of products; weights and sums are float32"
    )
    compile: bool = Field(default=False, description="by torch.compile")
    recompute: bool = Field(
        default=False, description="blocks again in the backward pass: less memory, more time"
    )
    micro: int | None = Field(default=None, ge=1, description="examples at once; none: all")
    workers: int = Field(default=0, ge=0, description="processes that read ahead, for each process")
    seed: int = Field(default=0, ge=0, description="of weights, order, noise, everything")
    validate_every: int = Field(default=500, ge=1, description="steps")
    checkpoint_every: int = Field(default=500, ge=1, description="steps")
    picture_every: int = Field(default=2_500, ge=0, description="steps; 0: no pictures")
    report_to: tuple[str, ...] = Field(
        default=(), description="trackers of accelerate besides metrics.jsonl, such as tensorboard"
    )


class Recipe(BaseModel):
    """One training run: `stage` of the network `model` on `data`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage
    model: str
    data: str = Field(
        description="folder of videos for avae, ef and lv, of latents for the other stages; "
        "several are separated by commas"
    )
    held_out: str | None = Field(
        default=None, description="folder whose VAL split is validated on; none: that of data"
    )
    splits: str | None = Field(
        default=None, description="split protocol of videos by name; none: the dataset's own"
    )
    start: str | None = Field(
        default=None, description="folder of weights to start from, or a torchvision file"
    )
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
    ef: RegressionOptions = RegressionOptions()
    lv: SegmentationOptions = SegmentationOptions()
    freeecho: FreeEchoOptions = FreeEchoOptions()
    cascade: CascadeOptions = CascadeOptions()

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
        place, hint = ".".join(str(part) for part in first["loc"]), ""
        if first["type"] == "extra_forbidden":
            *path, last = map(str, first["loc"])
            model: Any = Recipe
            for part in path:
                model = model.model_fields[part].annotation
            hint = _near(last, model.model_fields)
        told = f"recipe: {place}: {first['msg']} (got {first['input']!r}).{hint}"
        raise InputError(told) from error


def _near(name: str, names: Iterable[str]) -> str:
    """A sentence that offers the names nearest to a wrong one, if any are near."""
    near = difflib.get_close_matches(name, list(names), n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


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


def _set(values: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"a setting is written name=value; got {setting!r}.")
    *path, last = name.strip().split(".")
    here: Any = values
    for part in [*path, last]:
        if not isinstance(here, dict) or part not in here:
            names = list(here) if isinstance(here, dict) else []
            raise InputError(f"the recipe has no setting {name}.{_near(part, names)}")
        if part is not last:
            here = here[part]
    try:
        here[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"{setting!r} has a value that cannot be read; put it in quotes, such as "
            f"{name}='\"{text}\"'."
        ) from error
