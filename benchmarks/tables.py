"""The papers' tables on simulated hearts, with the weights of a bundle; hours on a CPU.

Usage: python benchmarks/tables.py [8 6 ...] [--folder runs/tables] [--weights nano] [--at-once 2]

Every table is `echoflow reproduce TABLE` with the sizes below, on 800 hearts in A4C that the
weights have not seen, rendered into FOLDER/hearts where they are not there yet. FOLDER/reproduced
keeps what is done: the same command goes on. Prints the tables as they are finished, and writes
each into results/tables.json with what it followed from and the machine that finished it; the
tables of other weights go.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from where import where

from echoflow.cli.progress import bars
from echoflow.files import atomic_file
from echoflow.reproduce import Job, reproduce

HEARTS = (
    *("--n", "800", "--frames", "33", "--fps", "16", "--ef", "10:80", "--quality", "1"),
    *("--gated", "--view", "A4C", "--seed", "2001", "--workers", "2"),
)
SIZES: Mapping[str, Mapping[str, Any]] = {
    "1": {},
    "4": {"steps": (5, 10, 25, 50, 100, 200), "n": 48, "inference": "bf16"},
    "5": {"n": 200},
    "6": {"steps": (25,), "scales": (0, 1, 2, 4, 7, 10), "n": 48, "inference": "bf16"},
    "8": {"seeds": 3, "settings": ("engine.steps=1000",), "inference": "bf16"},
    "echodiffusion-1": {"gated": True},
    "echodiffusion-4": {"sizes": (2, 5), "seeds": 2},
}
"""Table -> what differs from the command's own defaults."""


def hearts(folder: Path) -> Path:
    """The dataset, rendered if need be."""
    if not (folder / "FileList.csv").is_file():
        words = [sys.executable, "-m", "echoflow", "phantom", "--out", str(folder), *HEARTS]
        subprocess.run(words, check=True)
    return folder


def kept(out: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a results file, if they are of the same weights and hearts."""
    found = json.loads(out.read_text()) if out.is_file() else {}
    same = all(found.get(name) == card[name] for name in ("weights", "data"))
    return found["tables"] if same else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=list(SIZES), metavar="TABLE")
    parser.add_argument("--folder", type=Path, default=Path("runs/tables"))
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--at-once", type=int, default=2, help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/tables.json")
    args = parser.parse_args()
    if unknown := set(args.tables) - SIZES.keys():
        parser.error(f"no size for {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    on = hearts(args.folder / "hearts")
    for table in args.tables:
        with bars() as tell:
            given = {"at_once": args.at_once, "device": args.device, "tell": tell, **SIZES[table]}
            target = args.folder / "reproduced" / table
            job = Job(on=on, out=target, weights=args.weights, **given)
            sheet = reproduce(table, job, target)
        print(f"\n{sheet.to_markdown()}", flush=True)
        told = json.loads((target / "job.json").read_text())
        card: dict[str, Any] = {"hearts": " ".join(HEARTS)}
        card |= {name: told.pop(name) for name in ("weights", "data")}
        on_what = {**where(), "device": args.device}
        now = {**on_what, "job": told, "sheet": json.loads(sheet.to_json())}
        made = kept(args.out, card) | {table: now}
        card["tables"] = {name: made[name] for name in SIZES if name in made}
        with atomic_file(args.out) as work:
            work.write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
