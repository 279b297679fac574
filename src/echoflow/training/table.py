"""The recipes that have a name: every row of EchoFlow's Tables 1-3 and 8, the judges, and our own.

A recipe of a network has the network's name; `protocols` holds what the recipes of a stage share.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from echoflow.networks.rows import ROWS
from echoflow.training import echodiffusion, freeecho, ours, protocols
from echoflow.training.provenance import Preset, Says
from echoflow.training.recipes import Recipe, Stage
from echoflow.types import InputError

KINETICS = "r2plus1d_18-91a641e6.pth"  # torchvision's file


@dataclass(frozen=True)
class TrainingSet:
    """A row of Table 8: what the regressor sees, and its R2 on the test sets of `VIDEOS`."""

    about: str
    synthetic: bool
    r2: tuple[float, ...]


VIDEOS = {"dynamic": 7465, "a4c": 2580, "psax": 3559, "lvh": 9508}  # training videos, Table 7
TABLE_8 = {
    "real": TrainingSet("real videos", False, (0.81, 0.68, 0.71, 0.55)),
    "rec-4f4": TrainingSet("real ones through A-VAE-4f4", False, (0.81, 0.70, 0.68, 0.57)),
    "rec-16f8": TrainingSet("real ones through A-VAE-16f8", False, (0.81, 0.68, 0.70, 0.58)),
    "echodiffusion": TrainingSet("EchoDiffusion's", True, (0.55,)),
    "echosyn": TrainingSet("EchoNet-Synthetic's", True, (0.75, 0.70, 0.68)),
    "npc": TrainingSet("EchoFlow's, unfiltered", True, (0.81, 0.72, 0.73, 0.53)),
    "pc": TrainingSet("EchoFlow's, filtered", True, (0.81, 0.72, 0.72, 0.55)),
}
# FID of Dynamic, Pediatric A4C, Pediatric PSAX, LVH; two cells are lost
TABLE_2 = {
    "UNet-S-16f8": "13.35 28.52 16.75 22.41",
    "UNet-B-16f8": "8.89 22.54 10.21 16.76",
    "UNet-L-16f8": "8.79 24.05 9.87 16.21",
    "UNet-S-4f4": "7.47 9.51 6.70 14.10",
    "UNet-B-4f4": "5.02 6.63 6.24 11.66",
    "UNet-L-4f4": "4.47 6.22 - -",
    "FMiT-S/2-16f8": "11.11 33.19 17.91 11.99",
    "FMiT-B/2-16f8": "10.08 31.19 14.35 11.33",
    "FMiT-L/2-16f8": "9.69 23.62 10.90 11.36",
    "FMiT-S/4-4f4": "12.43 22.84 17.43 13.43",
    "FMiT-B/4-4f4": "11.34 15.63 13.11 12.15",
    "FMiT-L/4-4f4": "8.52 9.95 8.12 11.46",
    "FMiT-S/2-4f4": "8.09 16.02 9.10 7.65",
    "FMiT-B/2-4f4": "7.50 12.88 7.51 7.41",
    "FMiT-L/2-4f4": "6.79 8.18 5.78 6.76",
}
TABLE_3 = {  # all other rows are lost
    "STUNet-S-16f8": "",
    "STUNet-S-4f4": "",
    "FMvT-S/2-16f8": "",
    "FMvT-S/4-4f4": "",
    "FMvT-S/2-4f4": "7.92 12.26 16.77 7.71",
}


@dataclass(frozen=True)
class Family:
    """Networks that are trained alike: their stage, their group in the list, and the paper's table
    of them with what it prints of each."""

    stage: Stage
    group: str
    table: str
    said: tuple[Says, ...]
    printed: Mapping[str, str]


_IMAGE = Family("lifm", "Table 2: anatomies, FID in the paper", "Table 2", protocols.LIFM, TABLE_2)
_VIDEO = Family("lvfm", "Table 3: videos, FID in the paper", "Table 3", protocols.LVFM, TABLE_3)
FAMILIES: Mapping[str, Family] = {
    "A-VAE": Family(
        "avae",
        "Table 1: autoencoders",
        "Table 1",
        protocols.AVAE,
        {"A-VAE-4f8": "", "A-VAE-4f4": "", "A-VAE-16f8": ""},
    ),
    "UNet": _IMAGE,
    "FMiT": _IMAGE,
    "STUNet": _VIDEO,
    "FMvT": _VIDEO,
    "ReId": Family("reid", "Re-identification", "section 3.3", protocols.REID, {"ReId-4f4": ""}),
}
BEYOND = "Not in the paper's tables, trained as their kin"


def named(name: str) -> Recipe:
    """A recipe of the table by name; the nearest names are offered otherwise."""
    return preset(name).recipe


def preset(name: str) -> Preset:
    """The same with its sources."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"there is no recipe {name!r}; `echoflow train` lists them.{hint}")
    return PRESETS[name]


def listed() -> str:
    """Every recipe in its group, a line each; those of a kind beyond the paper by name only."""
    groups: dict[str, list[str]] = {}
    for name, one in PRESETS.items():
        groups.setdefault(one.group, []).append(name)
    beyond = groups.pop(BEYOND)
    parts = [
        "\n".join([group, *(f"  {name:<26}{PRESETS[name].about}".rstrip() for name in names)])
        for group, names in groups.items()
    ]
    return "\n\n".join([*parts, "\n".join([BEYOND, *(f"  {line}" for line in _by_kind(beyond))])])


def _by_kind(names: list[str]) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.partition("-")[0], []).append(name)
    return ("  ".join(group) for group in kinds.values())


def _networks() -> Iterator[tuple[str, Preset]]:
    """A recipe for every network of the zoo that generates or tells patients apart."""
    for name in ROWS:
        family = FAMILIES.get("A-VAE" if name.startswith("A-VAE") else name.partition("-")[0])
        if family is None or name.endswith("-nano"):
            continue
        inside = name in family.printed
        source = f"paper, {family.table}" if inside else "ours, not a row of the paper"
        space = next(part for part in reversed(name.split("-")) if part[:1].isdigit())
        data = "videos" if family.stage == "avae" else f"latents-{space}"
        said = (
            Says(source, {"stage": family.stage, "model": name}),
            Says("ours, a name to replace", {"data": data}),
            protocols.GPU,
            *family.said,
        )
        about = "   ".join(f"{score:>5}" for score in family.printed.get(name, "").split())
        yield name, Preset(family.group if inside else BEYOND, about, said)


def _regressors() -> Iterator[tuple[str, Preset]]:
    """Table 8: `EF-<training set>-<test set>`."""
    for row, seen in TABLE_8.items():
        for test, r2 in zip(VIDEOS, seen.r2, strict=False):
            about = f"R2 {r2:.2f} in the paper, trained on {seen.about}"
            said = (protocols.GPU, *protocols.EF, *_regression(row, seen, test))
            yield f"EF-{row}-{test}", Preset("Table 8: EF regression", about, said)


def _regression(row: str, seen: TrainingSet, test: str) -> tuple[Says, ...]:
    """What differs between the rows and columns of Table 8."""
    epoch = VIDEOS[test] // 20
    warm = test in ("a4c", "psax")
    start = "runs/EF-real-dynamic/net" if warm else KINETICS
    source = "pediatric runs go on from real adults" if warm else "Kinetics-400"
    return (
        Says("paper, Table 8", {"stage": "ef", "model": "EF-R2+1D"}),
        Says("ours, a name to replace", {"data": f"{row}-{test}", "held_out": f"real-{test}"}),
        Says(
            f"{protocols.ECHONET}: 45 epochs, a fall every 15; {VIDEOS[test]} videos as in Table 7",
            {"engine.steps": 45 * epoch, "engine.fall_every": 15 * epoch},
        ),
        Says(f"{protocols.ECHONET}: every epoch", {"engine.validate_every": epoch}),
        Says(
            f"{protocols.ECHONET}: 1 for 32 frames per second, 2 for recordings",
            {"ef.period": 1 if seen.synthetic else 2},
        ),
        Says(
            f"{protocols.ECHONET}: a random video of each anatomy",
            {"ef.by_anatomy": row in ("npc", "pc")},
        ),
        Says(
            f"{protocols.ECHONET}: {source}",
            {"start": start},
        ),
    )


def _segmenter() -> tuple[str, Preset]:
    said = (
        Says("paper: masks by DeepLabV3", {"stage": "lv", "model": "LV-DeepLabV3"}),
        Says("ours, a name to replace", {"data": "echonet-dynamic"}),
        protocols.GPU,
        *protocols.LV,
    )
    return "LV-DeepLabV3", Preset("LV segmentation", "masks of every frame", said)


PRESETS: Mapping[str, Preset] = {
    **dict(_networks()),
    **dict(_regressors()),
    **dict([_segmenter()]),
    **ours.presets(),
    **echodiffusion.presets(),
    **freeecho.presets(),
}
