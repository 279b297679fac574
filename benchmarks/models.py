"""Parameters and multiply-adds of every network with a name, beside what the paper prints.

Usage: python benchmarks/models.py [NAMES OR PATTERNS]. Counted on shapes, nothing is computed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from where import where

from echoflow.cli.models import COLUMNS, LEGEND, row
from echoflow.files import atomic_file
from echoflow.networks.published import TOLERANCE, Line, line
from echoflow.networks.zoo import matching


def rounded(found: Line) -> dict[str, object]:
    """A line with the digits that mean something."""
    fields = dataclasses.asdict(found).items()
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in fields}


def summary(ratios: list[float | None]) -> dict[str, object]:
    """How many printed figures are met, and the widest gap among these, in percent."""
    gaps = [abs(ratio - 1) for ratio in ratios if ratio is not None]
    met = [gap for gap in gaps if gap <= TOLERANCE]
    return {"printed": len(gaps), "met": len(met), "gap": round(100 * max(met, default=0.0), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/models.json"))
    args = parser.parse_args()
    print(COLUMNS)
    lines = []
    for name in matching(args.names):
        lines.append(line(name))
        print(row(lines[-1]), flush=True)
    met = {
        "parameters": summary([found.parameters_ratio for found in lines]),
        "multiply-adds": summary([found.macs_ratio for found in lines]),
    }
    print(LEGEND)
    for what, figures in met.items():
        print(
            f"{what}: {figures['met']} of {figures['printed']} printed figures within 1 %, "
            f"the widest gap {figures['gap']} %"
        )
    card = {**where(), "met": met, "rows": [rounded(found) for found in lines]}
    with atomic_file(args.out) as work:
        work.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
