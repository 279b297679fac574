"""Our metrics beside independent implementations: the largest difference of each.

Usage: python benchmarks/agreement.py

Features, networks and pictures are those of `tests/metric_oracles.py`, the same on both sides.
Prints a table and writes results/agreement.json.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from where import where

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from metric_oracles import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    ORACLES,
    Oracle,
)

PACKAGES: dict[str, str] = {"sklearn": "scikit-learn", "skimage": "scikit-image", "ot": "POT"}


def measured(oracle: Oracle) -> dict[str, object]:
    """One row: how many numbers were compared, and how far apart they are at most."""
    pairs = [(np.atleast_1d(ours), np.atleast_1d(theirs)) for ours, theirs in oracle.pairs()]
    ours, theirs = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    gap = np.abs(ours - theirs)
    library = str(oracle.library)
    package = PACKAGES.get(library, library)
    return {
        "metric": oracle.metric,
        "library": package,
        "version": version(package),
        "numbers": len(ours),
        "largest": float(np.abs(theirs).max()),
        "difference": float(gap.max()),
        "relative": float((gap / np.maximum(np.abs(theirs), 1e-12)).max()),
    }


def main() -> None:
    warnings.simplefilter("ignore")  # what a library says about its own future
    there = [oracle for oracle in ORACLES if find_spec(oracle.library)]
    rows = [measured(oracle) for oracle in there]
    print("| metric | library | numbers | largest value | largest difference | relative |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['metric']} | {row['library']} {row['version']} | {row['numbers']} | "
            f"{row['largest']:.4g} | {row['difference']:.1e} | {row['relative']:.1e} |"
        )
    out = Path(__file__).parent / "results" / "agreement.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({**where(), "rows": rows}, indent=1) + "\n")
    print(f"\nwritten: {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
