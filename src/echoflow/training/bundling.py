"""Finished runs put together: networks, latent statistics and privacy filter as one bundle.

What a run learned from is in its recipe, so nothing is asked twice: the image and the video model
name the latents, whose training patients become the gallery of the filter, and whose validation
patients set tau.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from echoflow.data.shardfile import read_card
from echoflow.data.shards import Latents
from echoflow.files import new_folder, sha256
from echoflow.interop import bundle, echoflow, release
from echoflow.interop.bundle import Parts
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.privacy import Gallery, PrivacyByView, PrivacyFilter
from echoflow.training.folder import RECIPE
from echoflow.training.recipes import Recipe, read
from echoflow.training.sources import latents
from echoflow.training.stages import MODELS, NETWORKS
from echoflow.types import InputError, Split, View

GENERATIVE = ("lifm", "lvfm")
ALONE = ("avae", "ef", "lv")


@dataclass(frozen=True)
class Run:
    """A finished run of one stage, or a network by itself where its data do not matter."""

    folder: Path

    @cached_property
    def recipe(self) -> Recipe:
        return read(self.folder / RECIPE)

    @property
    def alone(self) -> bool:
        """A network of its own, such as a published one."""
        return echoflow.is_model(self.folder)

    @cached_property
    def stage(self) -> str:
        """`InputError` for a network that has to come with its run."""
        if not self.alone:
            return self.recipe.stage
        net: Any = echoflow.load(self.folder)
        config = AVAEConfig if isinstance(net, AutoencoderKL) else type(net.config)
        stage = next(stage for stage, configs in MODELS.items() if config in configs)
        if stage not in ALONE:
            raise InputError(
                f"{self.folder} is a network of stage {stage}; what it learned from is not there, "
                "so give the folder of its run."
            )
        return stage

    @property
    def model(self) -> str:
        """The name of its network."""
        return self.folder.name if self.alone else self.recipe.model

    @property
    def net(self) -> Path:
        """Where its averaged network lies."""
        return self.folder if self.alone else self.folder / NETWORKS[self.recipe.stage]

    def load(self) -> nn.Module:
        """The network; `InputError` if it is damaged."""
        return echoflow.load(self.net)

    @cached_property
    def latents(self) -> list[Latents]:
        """What it learned from, normalised as it was then."""
        return latents(self.recipe, Split.TRAIN)


def bundled(
    runs: Sequence[str | Path],
    out: str | Path,
    said: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Parts:
    """A bundle in the new folder `out` from the run folders of its stages, in any order.

    An A-VAE and a video model are needed. A-VAE, EF regressor and segmenter may also be networks by
    themselves, such as published ones. Of re-identification there may be several, each for the
    views in its data, the first of them where two share one; views without any get no filter, and
    the pipeline refuses to make their hearts. `said` overrides the card: name, data, plans. Weights
    and features are rounded to `dtype` if given. `InputError`: an unfinished run, two of a stage,
    latents of another A-VAE, normalised otherwise or at several rates, no held-out patients.
    """
    chosen, reids = _by_stage([Run(Path(run)) for run in runs])
    _refuse_strangers(chosen, reids)
    seen = [chosen[stage] for stage in GENERATIVE if stage in chosen]
    nets = {stage: run.load() for stage, run in chosen.items()}
    named = {**chosen, **({"reid": reids[0]} if reids else {})}
    card = {**_card(named, nets["lvfm"], Path(out).name), **(said or {})}
    parts = Parts(nets, _privacy(seen, reids, dtype), card)
    with new_folder(out) as work:
        bundle.write(parts, work, dtype)
        for stage, run in chosen.items():
            _copy_recipe(run, work / stage)
        for view, run in _judged(reids).items():
            of_view = work / "reid" / view.name
            _copy_recipe(run, of_view if of_view.is_dir() else work / "reid")
    return parts


def _by_stage(runs: Sequence[Run]) -> tuple[dict[str, Run], list[Run]]:
    """The run of every stage, and those of re-identification apart."""
    chosen: dict[str, Run] = {}
    reids: list[Run] = []
    for run in runs:
        stage = run.stage
        if stage not in zoo.STAGES:
            raise InputError(
                f"{run.folder} trained stage {stage}, which is no part of a bundle: its run folder "
                "is used as it is."
            )
        if not (run.net / zoo.WEIGHTS).is_file():
            raise InputError(f"{run.folder} is not finished; train it on with --resume.")
        if stage == "reid":
            reids.append(run)
        elif stage in chosen:
            raise InputError(f"{chosen[stage].folder} and {run.folder} are both of stage {stage}.")
        else:
            chosen[stage] = run
    missing = [stage for stage in ("avae", "lvfm") if stage not in chosen]
    if missing:
        raise InputError(f"a bundle needs a run of stage {' and one of '.join(missing)}.")
    return chosen, reids


def _refuse_strangers(chosen: Mapping[str, Run], reids: Sequence[Run]) -> None:
    """All stages must have learned in the latent space of the A-VAE, normalised alike."""
    avae = sha256(chosen["avae"].net / zoo.WEIGHTS)
    runs = [*(chosen[stage] for stage in GENERATIVE if stage in chosen), *reids]
    for run in runs:
        for part in run.latents:
            plan = read_card(part.folder).get("plan") or {}
            if plan.get("avae", avae) != avae:
                raise InputError(
                    f"{run.folder} learned from {part.folder}, which another A-VAE encoded than "
                    f"{chosen['avae'].folder}."
                )
    first = runs[0].latents[0]
    for run in runs[1:]:
        own = run.latents[0]
        alike = torch.equal(own.stats.mean, first.stats.mean)
        if not (alike and torch.equal(own.stats.std, first.stats.std)):
            raise InputError(
                f"{runs[0].folder} and {run.folder} learned from latents that are normalised "
                f"differently, by {first.folder} and by {own.folder}. Encode the second with "
                f"--scaling {first.folder}, and train on that."
            )


def _card(chosen: Mapping[str, Run], net: nn.Module, name: str) -> dict[str, Any]:
    """The card; `net` is the video model. Sampled as the paper's models are, until it says else."""
    video = chosen["lvfm"]
    train = video.latents
    stats = train[0].stats
    config: Any = net.config
    flows = {stage: chosen[stage].recipe.flow for stage in GENERATIVE if stage in chosen}
    chances = flows["lvfm"].chances
    dropped = tuple(field for field in ("ef", "frame") if chances[field] > 0)
    scale = release.MOTION.scale if dropped else 1.0
    motion = dataclasses.replace(release.MOTION, scale=scale, negative=dropped or None)
    return {
        "name": name,
        "data": ", ".join(dict.fromkeys(part.folder.name for part in train)),
        "mean": stats.mean.tolist(),
        "std": stats.std.tolist(),
        "size": train[0].shape[-1],
        "frames": config.frames,
        "fps": _rate(video),
        "shift": {**release.PUBLISHED["shift"], **{s: flow.shift for s, flow in flows.items()}},
        "anatomy": asdict(release.ANATOMY),
        "motion": asdict(motion),
        "untraced": _untraced(chosen["lifm"]) if "lifm" in chosen else [],
        "models": {stage: run.model for stage, run in chosen.items()},
    }


def _untraced(image: Run) -> list[str]:
    """Views whose anatomies the image model learned with empty masks."""
    seen: dict[str, bool] = {}
    for part in image.latents:
        for i, record in enumerate(part.records):
            seen[record.view.name] = seen.get(record.view.name, False) or len(part.traced(i)) > 0
    return [view for view, traced in seen.items() if not traced]


def _rate(video: Run) -> float:
    """Frames a second of the clips that the video model learned."""
    rates = sorted({round(r.fps, 2) for part in video.latents for r in part.records})
    if rates[-1] > 1.01 * rates[0]:
        raise InputError(
            f"{video.folder} learned from clips of {rates[0]:g} to {rates[-1]:g} frames a second, "
            "so its videos have no rate; encode with --fps, and train on that."
        )
    return rates[0]


# ---- privacy ------------------------------------------------------------------------------------


def _privacy(
    seen: Sequence[Run], reids: Sequence[Run], dtype: torch.dtype | None
) -> PrivacyFilter | PrivacyByView:
    """One filter if one network serves every view there is, else one for each."""
    judged = _judged(reids)
    train, val = (_all(seen, split) for split in (Split.TRAIN, Split.VAL))
    views = {record.view for part in train for record in part.records}
    nets = {run.folder: _rounded(run.load(), dtype) for run in judged.values()}

    def calibrated(net: nn.Module, kept: set[View]) -> PrivacyFilter:
        patients, held_out = (_gallery(net, parts, kept, dtype) for parts in (train, val))
        return PrivacyFilter.calibrated(net, patients, held_out)

    if views <= set(judged) and len(nets) == 1:
        return calibrated(next(iter(nets.values())), views)
    judged = {view: run for view, run in judged.items() if view in views}
    return PrivacyByView(
        {view: calibrated(nets[run.folder], {view}) for view, run in judged.items()}
    )


def _judged(reids: Sequence[Run]) -> dict[View, Run]:
    """The run of re-identification for every view that one learned."""
    found: dict[View, Run] = {}
    for run in reids:
        for record in (r for part in run.latents for r in part.records):
            found.setdefault(record.view, run)
    return found


def _all(runs: Sequence[Run], split: Split) -> list[Latents]:
    """The latents of all runs, each folder once."""
    found = {part.folder: part for run in runs for part in latents(run.recipe, split)}
    return list(found.values())


def _gallery(
    net: nn.Module, parts: Sequence[Latents], kept: set[View], dtype: torch.dtype | None
) -> Gallery:
    """The anatomies that the models saw, means of the posterior, a group for each view.

    Of a video that is traced in some frames those frames, of any other its first.
    """
    galleries = []
    for part in parts:
        rows = [i for i, record in enumerate(part.records) if record.view in kept]
        shown = [(i, frame) for i in rows for frame in _shown(part, i)]
        if shown:
            index, frames = np.array(shown).T
            z = part.draw(index, frames[:, None], None)[:, 0]
            of = [part.records[i] for i in index]
            uids, groups = [r.uid for r in of], [r.view.name for r in of]
            galleries.append(Gallery.of(net, z, uids, groups))
    if not galleries:
        told = ", ".join(view.name for view in sorted(kept))
        raise InputError(f"no held-out patients in {told}, which tau is set by; encode some.")
    features = torch.cat([one.features for one in galleries])
    return Gallery(
        features if dtype is None else features.half().float(),
        tuple(uid for one in galleries for uid in one.uids),
        tuple(group for one in galleries for group in one.groups or ()),
    )


def _shown(part: Latents, video: int) -> list[int]:
    """The frames of a video that stand for its anatomy."""
    known = part.traced(video)
    return known.tolist() if 0 < len(known) < part.lengths[video] else [0]


def _rounded(net: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """The network as it will be read again."""
    return net if dtype is None else net.to(dtype).float()


def _copy_recipe(run: Run, place: Path) -> None:
    """The recipe, with the folders beside the run as they are called there."""
    if (run.folder / RECIPE).is_file():
        told = (run.folder / RECIPE).read_text().replace(f"{run.folder.parent}/", "")
        (place / RECIPE).write_text(told)
