"""Recipes: what is trained, on what, and how. A recipe is a value; a run folder keeps its own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from echoflow.training.options import CascadeOptions
from echoflow.types import InputError

Stage = Literal["avae", "lifm", "lvfm", "reid", "ef", "lv", "freeecho", "cascade"]
Schedule = Literal["linear", "inverse-sqrt", "constant", "step"]
ReIdHead = Literal["difference", "similarity"]
Told = Literal["nothing", "sector", "labels"]
"""What Free-Echo's network is told of a picture: nothing, where the sector is, or all labels."""
Grey = tuple[float, float, float]
"""Grey levels 0..255, one for each colour channel."""


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


class AutoencoderOptions(BaseModel):
    """EchoFlow eq. 1-7. The adversary learns from step `adversary_from` on, alone for the first
    `adversary_lead` steps, at `adversary_rate` times the learning rate; its weight is `adversary`
    times what makes its gradients as large as those of the reconstruction, or `adversary_most` if
    that is more. `lpips` weighs the perceptual loss, and `eq` that turned and shrunk latents of
    `eq_share` of the batch decode to turned and shrunk images (EQ-VAE)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int | None = Field(
        default=None, ge=1, description="an example is one frame in so many; none: a random frame"
    )
    reconstruction: Literal["l1", "mse"] = "mse"
    lpips: float = Field(default=0.0, ge=0)
    eq: float = Field(default=0.0, ge=0)
    eq_share: float = Field(default=0.5, gt=0, le=1)
    kl: float = Field(default=1e-6, ge=0)
    adversary: float = Field(default=0.5, ge=0)
    adversary_from: int = Field(default=1_000, ge=0)
    adversary_lead: int = Field(default=0, ge=0)
    adversary_rate: float = Field(default=1.0, gt=0)
    adversary_most: float = Field(default=1e4, gt=0)
    adversary_width: int = Field(default=64, ge=8)


class FlowOptions(BaseModel):
    """The rectified flow and the chance that each condition is dropped, independently.

    `drop` is for all of them, `drop_ef` and the like for one.
    `noise_offset` is the std of a shift of the noise, one for each channel of a sample;
    `frame_noise` that of noise on the anatomy; `stills` the share of batches of videos that are
    taken apart into single frames; `coarse` the weight of errors that neighbouring cells share,
    over `coarse_cells` frames, rows and columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: float = Field(default=1.0, gt=0)
    times: Literal["uniform", "logit-normal"] = "uniform"
    drop: float = Field(default=0.1, ge=0, le=1)
    drop_ef: float | None = Field(default=None, ge=0, le=1)
    drop_frame: float | None = Field(default=None, ge=0, le=1)
    drop_view: float | None = Field(default=None, ge=0, le=1)
    drop_mask: float | None = Field(default=None, ge=0, le=1)
    noise_offset: float = Field(default=0.0, ge=0)
    frame_noise: float = Field(default=0.0, ge=0)
    stills: float = Field(default=0.0, ge=0, lt=1)
    coarse: float = Field(default=0.0, ge=0)
    coarse_cells: tuple[int, int, int] = (4, 4, 4)
    frames: int = Field(default=64, ge=1)
    anatomy: Literal["first", "outside"] = "outside"

    @property
    def chances(self) -> dict[str, float]:
        """The chance that each field of a condition is dropped."""
        own = {name: getattr(self, f"drop_{name}") for name in ("ef", "frame", "view", "mask")}
        return {name: self.drop if p is None else p for name, p in own.items()}


class ReIdOptions(BaseModel):
    """Weights of the paper's pair loss and of the contrast of correlations, and its temperature.

    The head decides on a pair from the differences of features, as released, or from their
    correlation (`similarity`), scaled and shifted as in SigLIP (Zhai et al. 2023).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: ReIdHead = "difference"
    pair: float = Field(default=1.0, ge=0)
    contrast: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=0.1, gt=0)
    disturb: bool = Field(
        default=True, description="a little noise, and a shift of up to a cell, on each frame"
    )


class RegressionOptions(BaseModel):
    """EF from clips: which frames, how they are varied, what is minimised.

    `augment="grain"` holds videos in memory, shifts them and changes their grain and contrast;
    "crop" and "none" read recordings when they are needed. A clip then takes every `period`-th
    frame of a training video of the median rate, and of every other recording those nearest to as
    many a second; mean grey where the video is too short. "crop" cuts it from a picture widened by
    `pad` pixels of mean grey. `mean`, `std` and `bias` are those of the network where not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: Literal["huber", "mse"] = Field(default="huber", description="huber turns at 10 points")
    augment: Literal["grain", "crop", "none"] = "grain"
    frames: int | None = Field(default=None, ge=1, description="none: as many as the network's")
    period: int = Field(default=1, ge=1)
    pad: int = Field(default=12, ge=0)
    mean: Grey | None = None
    std: Grey | None = None
    bias: float | None = Field(default=None, description="EF that the untrained network answers")
    by_anatomy: bool = Field(
        default=False, description="a synthetic heart is one example: a random video of it"
    )


class SegmentationOptions(BaseModel):
    """The left ventricle of frames: which ones, and what is minimised.

    `frames="all"` takes any frame of videos that are drawn throughout, as phantoms are; "ed-es"
    takes the two that a recording is drawn in as one example. "bce-sum" adds up the cross-entropy
    of all pixels of a frame. `statistics` is how many training videos give mean and spread of the
    grey levels; with 0 they are the network's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: Literal["bce+dice", "bce-sum"] = "bce+dice"
    frames: Literal["all", "ed-es"] = "all"
    statistics: int = Field(default=0, ge=0)


class FreeEchoOptions(BaseModel):
    """EDM on clips of pixels, `frames` long and at `fps` or, without it, at the video's own rate.

    `drop` is the share of examples that are told of no labels, for classifier-free guidance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=24, ge=1)
    fps: float | None = Field(default=None, gt=0)
    told: Told = "sector"
    drop: float = Field(default=0.0, ge=0, le=1)
    sigma_data: float = Field(default=0.5, gt=0)


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
