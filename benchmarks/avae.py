"""What each choice in training an A-VAE does: adversary, KL weight, equivariance, recorded clips.

Usage: python benchmarks/avae.py [--pool FOLDER] [--steps 400] [--patients 60] [--rows NAME ...]
[--picture FILE.png] [--folder FOLDER]. Renders hearts, trains A-VAEs of nano size that differ from
the first row in one thing each, and measures them on patients that none has seen. The adversary
begins after four fifths of the steps, as in the recipe. With --pool, a folder of recorded clips,
every row is measured on a quarter of those too, which none has seen either, and one row learns from
the rest beside the hearts. "an adversary afterwards" goes on from the end of the first row for a
quarter of the steps, at a third of the rate. With --folder hearts and runs are kept there, and the
same command goes on where it was stopped. With --rows, the other rows of the file stay.

Columns: PSNR in dB; `turned`, that of latents turned by a quarter and halved against images so
moved; `fine` and `middle`, power of what is left of a frame after a blur of 1 pixel, and between
blurs of 1 and 3 pixels, in dB of that of the original: what of speckle and edges comes back (0 is
all of it); `spread`, the mean posterior deviation over the deviation of the latents: how much of
a latent is noise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from where import where

from echoflow.data.phantom.layout import write_dynamic
from echoflow.data.phantom.population import Population
from echoflow.data.pixels import to_float
from echoflow.data.prepare import Window, load_clip
from echoflow.data.sources import open_source
from echoflow.files import atomic_file
from echoflow.networks import zoo
from echoflow.training.autoencoder import psnr as psnr_of
from echoflow.training.equivariance import moved
from echoflow.training.nano import POPULATION
from echoflow.training.stages import trained
from echoflow.training.table import named
from echoflow.types import Split

PLAIN = ["avae.adversary=0", "avae.eq=0"]
ROWS: dict[str, list[str]] = {
    "no adversary, KL 2e-7": PLAIN,
    "adversary": ["avae.eq=0"],
    "adversary, VQGAN's balance": ["avae.eq=0", "avae.adversary_most=1e4"],
    "KL 0": [*PLAIN, "avae.kl=0"],
    "KL 1e-6": [*PLAIN, "avae.kl=1e-6"],
    "KL 1e-5": [*PLAIN, "avae.kl=1e-5"],
    "EQ-VAE": ["avae.adversary=0", "avae.eq=1"],
}
WITH_POOL = "hearts and clips"
FIRST, AFTERWARDS = next(iter(ROWS)), "an adversary afterwards"
ORDER = (*ROWS, AFTERWARDS, WITH_POOL)


def prepared(root: Path, patients: int, pool: Path | None) -> None:
    """Simulated hearts, and the clips of the pool in three quarters and one."""
    hearts = Population(**{**vars(POPULATION), "patients": patients})
    if not (root / "hearts").exists():
        write_dynamic(hearts.clips(2), root / "hearts", hearts.spec())
    if pool is None:
        return
    for number, file in enumerate(sorted(pool.glob("*.gif"))):
        part = root / ("unseen" if number % 4 == 0 else "clips")
        part.mkdir(exist_ok=True, parents=True)
        shutil.copy(file, part)


def recipe(root: Path, name: str, steps: int, changes: list[str]) -> Any:
    data = f"{root / 'hearts'},{root / 'clips'}" if name == WITH_POOL else str(root / "hearts")
    base = [f"data={data}", f"held_out={root / 'hearts'}", f"engine.steps={steps}"]
    base += [f"avae.adversary_from={steps * 4 // 5}", f"avae.adversary_lead={steps // 20}"]
    base += [f"engine.{key}={steps}" for key in ("validate_every", "checkpoint_every")]
    base += ["engine.picture_every=0", *(["avae.every=2"] if name == WITH_POOL else [])]
    if name == AFTERWARDS:
        base += [f"start={folder_of(root, FIRST) / 'avae'}", "avae.adversary_from=0"]
        base += [f"engine.steps={steps // 4}", "engine.lr=5e-4", "engine.decay=0.5"]
        base += ["engine.ema=0.99"]
    return named("nano-avae").changed([*base, *changes])


def folder_of(root: Path, name: str) -> Path:
    return root / "runs" / name.replace(" ", "-")


def frames(folder: Path, every: int, trained_on: Split | None = None) -> Tensor:
    """Some frames of each clip that was not trained on, (n, 1, h, w) in [-1, 1]."""
    manifest = open_source(folder)
    unseen = [record for record in manifest.records if record.split is not trained_on]
    clips = [load_clip(manifest, record, Window()).video[::every] for record in unseen]
    return torch.from_numpy(to_float(np.concatenate(clips)))[:, None]


@torch.no_grad()
def measured(avae: Any, x: Tensor) -> tuple[dict[str, float], np.ndarray]:
    """The columns of one set of frames, and the frames as they came back."""
    made, turned, spreads, deviations = [], [], [], []
    for part in x.split(16):
        posterior = avae.encode(part.expand(-1, avae.config["in_channels"], -1, -1)).latent_dist
        z = posterior.mean
        made.append(avae.decode(z).sample.mean(1, keepdim=True))
        small, seen = ([side // 2 for side in each.shape[2:]] for each in (z, part))
        back = avae.decode(moved(z, [1] * len(z), small)).sample.mean(1, keepdim=True)
        turned.append(psnr_of(back, moved(part, [1] * len(z), seen)))
        spreads.append(posterior.std.mean())
        deviations.append(z.std(dim=(0, 2, 3)).mean())
    recon = torch.cat(made).clamp(-1, 1)
    fine, middle = powers(x, recon)
    return {
        "PSNR": round(float(psnr_of(recon, x).mean()), 2),
        "turned": round(float(torch.cat(turned).mean()), 2),
        "fine": fine,
        "middle": middle,
        "spread": round(float(torch.stack(spreads).mean() / torch.stack(deviations).mean()), 3),
    }, recon[:, 0].numpy()


def powers(x: Tensor, recon: Tensor) -> tuple[float, float]:
    """Fine and middle power of reconstructions, in dB of that of the originals."""
    had, got = (np.mean([bands(frame) for frame in y[:, 0].numpy()], axis=0) for y in (x, recon))
    fine, middle = 10 * np.log10(got / had)
    return round(float(fine), 1), round(float(middle), 1)


def bands(frame: np.ndarray) -> tuple[float, float]:
    """Power beyond a blur of 1 pixel, and between blurs of 1 and 3."""
    one, three = gaussian_filter(frame, 1), gaussian_filter(frame, 3)
    return float(np.square(frame - one).mean()), float(np.square(one - three).mean())


def runs(args: argparse.Namespace, root: Path) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """One row and its pictures after the other."""
    sets = {"hearts": frames(root / "hearts", 8, Split.TRAIN)}
    wanted = ROWS | {AFTERWARDS: ["avae.eq=0"]}
    if args.pool:
        sets["clips"] = frames(root / "unseen", 4)
        wanted[WITH_POOL] = []
    originals = np.concatenate([y[:4, 0].numpy() for y in sets.values()])
    yield {}, originals
    for name, changes in wanted.items():
        if args.rows and name not in args.rows:
            continue
        if name == AFTERWARDS:
            trained(recipe(root, FIRST, args.steps, ROWS[FIRST]), folder_of(root, FIRST))
        run = trained(recipe(root, name, args.steps, changes), folder_of(root, name))
        avae: Any = zoo.load(run)
        found, pictures = {}, []
        for where_from, x in sets.items():
            values, recon = measured(avae, x)
            found |= {f"{where_from} {key}": value for key, value in values.items()}
            pictures.append(recon[:4])
        yield {"row": name, **found}, np.concatenate(pictures)


def others(file: Path, settings: dict[str, int], measured: list[str]) -> list[dict[str, Any]]:
    """The rows of a file of the same settings that are not measured again."""
    before = json.loads(file.read_text()) if file.is_file() else {}
    if any(before.get(name) != value for name, value in settings.items()):
        return []
    return [row for row in before["rows"] if row["row"] not in measured]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, help="a folder of recorded clips as GIF")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--rows", nargs="*", help="only these")
    parser.add_argument("--picture", type=Path, help="originals and what came back, row by row")
    parser.add_argument("--folder", type=Path, help="where hearts and runs are kept")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/avae.json"))
    args = parser.parse_args()
    rows, sheet = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        prepared(Path(folder), args.patients, args.pool)
        for row, pictures in runs(args, Path(folder)):
            sheet.append(np.concatenate(list(pictures), axis=1))
            if row:
                rows.append(row)
                print(" ".join(f"{value!s:>22s}" for value in row.values()), flush=True)
    if args.picture:
        grey = np.clip((np.concatenate(sheet) + 1) * 127.5, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(args.picture)
    settings = {"steps": args.steps, "patients": args.patients}
    rows = [*others(args.out, settings, [row["row"] for row in rows]), *rows]
    card = {**where(), **settings, "rows": sorted(rows, key=lambda row: ORDER.index(row["row"]))}
    with atomic_file(args.out) as work:
        work.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
