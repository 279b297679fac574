"""What a recipe says of a stage of a cascade."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from echoflow.lowres import Resize

FrameFrom = Literal["clip", "video", "first"]


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
    In a share `still` of the steps no layer looks along time. The rest says how to sample it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=64, ge=1)
    fps: float = Field(default=32.0, gt=0)
    size: int = Field(default=112, ge=8)
    before: tuple[int, int] | None = Field(default=None, description="none: the first stage")
    resize: Resize = "nearest"
    frame: FrameFrom = "video"
    crop: int | None = Field(default=None, ge=8)
    crops: Literal["clip", "frame"] = "clip"
    still: float = Field(default=0.25, ge=0, lt=1)
    drop_ef: float = Field(default=0.1, ge=0, le=1)
    sigma_data: float = Field(default=0.25, gt=0)
    steps: int = Field(default=64, ge=1, description="of sampling")
    churn: float = Field(default=160.0, ge=0, description="S_churn; 0: deterministic")
    scale: float = Field(default=5.0, ge=0, description="of guidance on the EF; 1: none")
