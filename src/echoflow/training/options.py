"""What a recipe says of each stage."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from echoflow.lowres import Resize
from echoflow.process import EDM

FrameFrom = Literal["clip", "video", "first"]
ReIdHead = Literal["difference", "similarity"]
Told = Literal["nothing", "sector", "labels"]
"""What Free-Echo's network is told of a picture: nothing, where the sector is, or all labels."""
Grey = tuple[float, float, float]
"""Grey levels 0..255, one for each colour channel."""


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


class CascadeOptions(BaseModel):
    """EDM on clips of pixels, seen by one stage of EchoDiffusion.

    Clips of `frames` at `fps`, `size` pixels a side, are those of the last stage; every stage
    resizes them to what its network makes, and the input of a later one is the same clip reduced to
    what the stage `before` makes, (frames, size), and enlarged again. `frame` is where the
    conditioning frame is from: the clip, which may have been filled up with black (as released),
    anywhere in the video (the paper), or the first, before a clip that follows it (gated loops).
    `crop` is the side of random crops. One is taken of each clip, at the same place in its frame
    and its low-resolution twin; with `crops="frame"` every picture of them has a place of its own,
    as in the released code, whose helper took the frames of all clips for a batch of images.
    In a share `still` of the steps no layer looks along time. ln(sigma) is drawn from
    N(p_mean, p_std^2), the level of the noise on the low-resolution input from [0, lowres_most).
    The rest says how to sample it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=64, ge=1)
    fps: float = Field(default=32.0, gt=0)
    size: int = Field(default=112, ge=8)
    before: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="none: the first stage"
    )
    resize: Resize = "nearest"
    frame: FrameFrom = "video"
    crop: int | None = Field(default=None, ge=8)
    crops: Literal["clip", "frame"] = "clip"
    still: float = Field(default=0.25, ge=0, lt=1)
    drop_ef: float = Field(default=0.1, ge=0, le=1)
    sigma_data: float = Field(default=0.25, gt=0)
    p_mean: float = -1.2
    p_std: float = Field(default=1.2, gt=0)
    lowres_most: float = Field(default=1.0, gt=0, le=1)
    lowres_level: float = Field(
        default=0.2,
        ge=0,
        le=1,
        validate_default=True,
        description="of noise, in sampling; at most lowres_most",
    )
    steps: int = Field(default=64, ge=1, description="of sampling")
    churn: float = Field(default=160.0, ge=0, description="S_churn; 0: deterministic")
    scale: float = Field(default=5.0, ge=0, description="of guidance on the EF; 1: none")

    @property
    def process(self) -> EDM:
        """What the stage learns to undo, and is sampled by."""
        return EDM(sigma_data=self.sigma_data, p_mean=self.p_mean, p_std=self.p_std)

    @field_validator("lowres_level")
    @classmethod
    def _seen_in_training(cls, level: float, info: ValidationInfo) -> float:
        most = info.data.get("lowres_most")
        if info.data.get("before") is not None and most is not None and level > most:
            raise PydanticCustomError(
                "unseen_level",
                "Input should be at most lowres_most={most}, the most noise that training shows",
                {"most": most},
            )
        return level
