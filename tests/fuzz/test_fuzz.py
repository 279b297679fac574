"""Damaged inputs: each is read, left out with a reason, or refused in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz_targets import TARGETS

HERE = Path(__file__).parent
OUTCOMES = {"record", "finding", "exclusion", "error"}
PATIENCE = 3000  # seconds for a whole target: a hang of one case is noticed by the worker itself


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs(name: str, tmp_path: Path, record_property: Callable[..., None]) -> None:
    target = TARGETS[name]
    target.build(tmp_path / "pristine")
    log = tmp_path / "log"
    log.touch()
    failures, first = [], 0
    while first < target.cases:
        ended = _worker(name, tmp_path, log, first, target.cases)
        started = [line["start"] for line in _lines(log) if "start" in line]
        assert started, f"reading the sound dataset failed: {ended}"
        if any("peak_mb" in line for line in _lines(log)[-1:]):
            break
        failures.append(f"case {started[-1]} ended the process: {ended}")
        first = started[-1] + 1
    outcomes = {line["case"]: line["outcome"] for line in _lines(log) if "case" in line}
    failures += [f"case {n}: {o}" for n, o in outcomes.items() if o not in OUTCOMES]
    peak = max((line["peak_mb"] for line in _lines(log) if "peak_mb" in line), default=0)
    counts = Counter(o for o in outcomes.values() if o in OUTCOMES)
    record_property("fuzz", {"target": name, **counts, "failures": len(failures), "peak_mb": peak})
    assert not failures, f"{len(failures)} of {target.cases}; the first:\n" + "\n".join(
        failures[:3]
    )
    assert sum(counts.values()) == target.cases


def test_there_are_five_thousand() -> None:
    assert sum(target.cases for target in TARGETS.values()) >= 5000


def _worker(name: str, folder: Path, log: Path, first: int, last: int) -> str:
    """Runs the cases from `first` on in a process of their own; how it ended."""
    work = folder / f"work-{first}"
    words = [name, folder / "pristine", work, log, first, last]
    done = subprocess.run(
        [sys.executable, HERE / "fuzz_worker.py", *map(str, words)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PATH": ""},
    )
    how = {-14: "no answer in 10 s", -9: "killed", -11: "crashed"}.get(done.returncode)
    return f"{how or f'exit code {done.returncode}'}; {done.stderr[-1500:]}"


def _lines(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]
