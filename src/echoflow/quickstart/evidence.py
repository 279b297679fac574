"""What a quickstart run measures on the dataset it has just written.

The ruler is the phantom. Every synthetic video has a *twin*: the phantom heart whose mask it was
asked to follow, rendered at the EF asked for. What the twins score is the best that can be hoped.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from echoflow.data.manifest import Manifest
from echoflow.data.phantom import PhantomPatient
from echoflow.data.pixels import to_float
from echoflow.data.video import read_gray
from echoflow.evaluation import ASKED, Sweep, finder_dice, obedience, regressor_error
from echoflow.latents import LatentSpace
from echoflow.metrics.cavity import Finder
from echoflow.metrics.clinical import Regression, regression
from echoflow.metrics.image import flicker, frame_correlations, roughness
from echoflow.metrics.report import Report
from echoflow.privacy import Verdict, rejection_rate
from echoflow.synthesis import UNSEEN, Anatomy, Engine
from echoflow.types import Clip, Record, View

QUALITY = 1  # the clean image quality that the nano weights were trained on
STEADINESS = {"flicker": flicker, "roughness": roughness}


class Studio(Engine, Protocol):
    """A pipeline that can also encode pictures."""

    @property
    def space(self) -> LatentSpace: ...


@dataclass(frozen=True)
class Made:
    """A dataset in memory: `videos` (n, t, h, w), the `masks` asked for (n, h, w), phantom `twins`.

    A twin has one frame more: its first is end-diastole, where a synthetic video has its anatomy.
    """

    manifest: Manifest
    videos: np.ndarray
    masks: np.ndarray
    twins: tuple[Clip, ...]
    rejected: tuple[float, ...]

    @property
    def twin_videos(self) -> list[Clip]:
        """The twins without their first frame, which matches `videos` frame by frame."""
        return [replace(clip, video=clip.video[1:]) for clip in self.twins]

    @property
    def views(self) -> list[View]:
        return [record.view for record in self.manifest.records]

    def column(self, name: str) -> list[str]:
        """One of the further columns of FileList.csv, in the order of the rows."""
        return [self.manifest.extras[record.uid][name] for record in self.manifest.records]

    @classmethod
    def read(cls, root: Path) -> Made:
        """Reads a dataset that `synthesise` wrote with phantom masks, and renders its twins."""
        manifest = Manifest.read(root)
        videos = [read_gray(manifest.video(record))[0] for record in manifest.records]
        masks = [
            read_gray(root / "Masks" / f"{record.uid}.png")[0][0] > 127
            for record in manifest.records
        ]
        with (root / "rejections.csv").open() as file:
            rejected = tuple(float(row["ReIdScore"]) for row in csv.DictReader(file))
        twins = tuple(_twin(manifest, record) for record in manifest.records)
        return cls(manifest, np.stack(videos), np.stack(masks), twins, rejected)


def _twin(manifest: Manifest, record: Record) -> Clip:
    """Frame 0 is end-diastole, the anatomy; the videos that are compared begin one frame later."""
    row = manifest.extras[record.uid]
    heart = PhantomPatient.sample(UNSEEN, int(row["Seed"])).with_ef(float(row[ASKED]))
    length = record.frames + 1
    return heart.render(record.view, length, record.fps, quality=QUALITY, phase=0.0).clip


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows.

    `steady` and `dice` are pairs (synthetic, twins); `hearts` are those that `swept` animated.
    """

    made: Made
    asked: np.ndarray
    measured: np.ndarray
    obeyed: Regression
    floor: Report
    steady: Mapping[str, tuple[float, float]]
    dice: tuple[float, float]
    unseen: tuple[Verdict, ...]
    hearts: Sequence[Anatomy]
    swept: Sweep
    taus: Mapping[str, float]
    finder: Finder
    warped: bool  # whether videos start from an anatomy that was warped until it beat

    def reports(self) -> list[Report]:
        """The same numbers for programs."""
        n = len(self.asked)
        settings = {"frames": int(self.made.videos.shape[1]), "fps": self.made.twins[0].fps}
        steady = {
            f"{who}_{name}": pair[i]
            for name, pair in self.steady.items()
            for i, who in enumerate(("synthetic", "phantom"))
        }
        dice = {"synthetic_dice": self.dice[0], "phantom_dice": self.dice[1]}
        privacy = {
            "candidates_rejected": float(len(self.made.rejected)),
            "unseen_rejected_percent": rejection_rate(self.unseen),
        }
        return [
            Report("obedience", self.obeyed.metrics("ef_"), n, settings),
            self.floor,
            self.swept.report(settings),
            Report("steadiness", steady, n, settings),
            Report("adherence", dice, n, settings),
            Report("privacy", privacy, n + len(self.made.rejected), settings),
        ]


def measure(studio: Studio, made: Made, hearts: Sequence[Anatomy], swept: Sweep) -> Findings:
    """All measurements of one dataset."""
    asked, measured, _ = obedience(made.manifest)
    truth = np.stack([clip.video for clip in made.twin_videos])
    return Findings(
        made=made,
        asked=asked,
        measured=measured,
        obeyed=regression(asked, measured),
        floor=regressor_error(studio.regressor, made.twin_videos),
        steady={
            name: (_mean(score, made.videos), _mean(score, truth))
            for name, score in (*STEADINESS.items(), ("frame correlation", _correlation))
        },
        dice=(
            float(finder_dice(studio.finder, made.videos[:, 0], made.masks).mean()),
            float(finder_dice(studio.finder, truth[:, 0], made.masks).mean()),
        ),
        unseen=tuple(unseen_verdicts(studio, made.twins)),
        hearts=hearts,
        swept=swept,
        taus=studio.privacy.thresholds(),
        finder=studio.finder,
        warped=studio.motion.start_index > 0,
    )


def unseen_verdicts(studio: Studio, clips: Sequence[Clip]) -> list[Verdict]:
    """The filter on the first frames of hearts that no model has seen: its false alarms."""
    frames = torch.from_numpy(np.stack([clip.video[0] for clip in clips]))
    z = studio.space.draw(studio.space.encode(to_float(frames)))
    return studio.privacy.verdicts(z, [clip.view for clip in clips])


def _mean(score, videos: np.ndarray) -> float:
    return float(np.mean([score(video) for video in videos]))


def _correlation(video: np.ndarray) -> float:
    return float(frame_correlations(video).mean())
