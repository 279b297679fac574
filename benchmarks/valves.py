"""Do valves open? How bright mitral leaflets close the base of the cavity, over the beat.

Usage: python benchmarks/valves.py [--weights nano] [--n 24] [--heart-rate 70] [--films PNG].

The ruler is `data.leaflets.closedness`: blood is 0, the wall 1. Frames count as closed below an
opening of 0.02, as open above 0.5. Rows: phantoms, the same through the A-VAE, phantoms animated by
the video model, and hearts of the image model, animated. `at end-diastole` is the still that an
animation starts from; `seen to open` the share of hearts whose leaflets lose a third of the wall.
`--films` keeps a picture of each view: four hearts of every row, frame by frame.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from where import where

from echoflow.data.beat import opening
from echoflow.data.leaflets import MITRAL, closedness
from echoflow.data.phantom.patient import PhantomPatient
from echoflow.files import atomic_file
from echoflow.metrics.cavity import Finder
from echoflow.pipeline import Pipeline, load, weights_print
from echoflow.types import View

SEED = 77
CLOSED, OPEN = 0.02, 0.5
LEAST = 50  # pixels of a cavity
Films = NDArray[np.uint8]


def over_time(film: Films, find: Finder, view: View) -> NDArray[np.float64]:
    """`closedness` of each frame of a film (t, h, w); nan where no cavity is found."""
    cavities = find(film, np.ones_like(film[0], bool))
    return np.array(
        [
            closedness(frame, cavity, view) if cavity.sum() >= LEAST else np.nan
            for frame, cavity in zip(film, cavities, strict=True)
        ]
    )


def sets(
    pipeline: Pipeline, view: View, n: int, heart_rate: float
) -> dict[str, tuple[Films, Films, NDArray[np.float64]]]:
    """Name -> stills (n, h, w), films (n, t, h, w), and the opening of their valves (n, t)."""
    frames, fps = pipeline.frames, pipeline.fps
    clips = [
        PhantomPatient.sample(SEED, i).with_ef(55.0).render(view, frames + 1, fps, phase=0.0)
        for i in range(n)
    ]
    video = np.stack([clip.clip.video for clip in clips])
    truth = np.stack([clip.truth.mitral_open[1:] for clip in clips])
    masks = torch.from_numpy(np.stack([clip.truth.mask[:1] for clip in clips])).float()
    asked = opening(frames, fps, heart_rate, 1 / fps)[None, :, 0].repeat(n, 0)
    known = pipeline.encode(torch.from_numpy(video[:, 0]))
    own = pipeline.anatomies([view] * n, masks, range(n))

    def animated(stills: torch.Tensor) -> Films:
        ef = torch.full((n,), 55.0)
        z = pipeline.animate(stills, ef, range(n), views=[view] * n, heart_rate=heart_rate)
        return pipeline.decode(z).numpy()

    def decoded(latents: torch.Tensor) -> Films:
        return pipeline.decode(latents).numpy()

    through = np.stack([decoded(pipeline.encode(torch.from_numpy(clip))) for clip in video])
    return {
        "phantoms": (video[:, 0], video[:, 1:], truth),
        "through the A-VAE": (through[:, 0], through[:, 1:], truth),
        "phantoms, animated": (decoded(known), animated(known), asked),
        "own hearts, animated": (decoded(own), animated(own), asked),
    }


def measured(
    stills: Films, films: Films, opened: NDArray[np.float64], find: Finder, view: View
) -> dict[str, float]:
    """Medians over the hearts."""
    first = np.array([over_time(still[None], find, view)[0] for still in stills])
    over = np.array([over_time(film, find, view) for film in films])
    closed = np.nanmean(np.where(opened < CLOSED, over, np.nan), 1)
    wide = np.nanmean(np.where(opened > OPEN, over, np.nan), 1)
    return {
        "at end-diastole": float(np.nanmedian(first)),
        "closed": float(np.nanmedian(closed)),
        "open": float(np.nanmedian(wide)),
        "seen to open": float(np.mean(closed - wide > 1 / 3)),
    }


def picture(films: dict[str, Films], hearts: int, frames: int) -> Image.Image:
    """Hearts of every set, one a row, over the first frames."""
    rows = [
        np.concatenate(list(film[:frames]), 1) for made in films.values() for film in made[:hearts]
    ]
    return Image.fromarray(np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--heart-rate", type=float, default=70.0)
    parser.add_argument("--films", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/valves.json"))
    args = parser.parse_args()
    pipeline, rows = load(args.weights), []
    for view in MITRAL:
        made = sets(pipeline, view, args.n, args.heart_rate)
        for name, (stills, films, opened) in made.items():
            row = measured(stills, films, opened, pipeline.finder, view)
            rows.append({"view": view.name, "films": name, "n": args.n, **row})
            told = "  ".join(f"{key} {value:.2f}" for key, value in row.items())
            print(f"{view.name:5s} {name:21s} {told}")
        if args.films:
            sheet = picture({name: films for name, (_, films, _) in made.items()}, 4, 14)
            sheet.save(args.films.with_stem(f"{args.films.stem}-{view.name}"))
    card = {**where(), "seed": SEED, "weights": args.weights}
    card["fingerprint"] = weights_print(args.weights)
    with atomic_file(args.out) as work:
        work.write_text(json.dumps({**card, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
