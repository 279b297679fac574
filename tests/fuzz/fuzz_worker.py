"""One process that reads damaged files: a line per case in a log, under limits that end it.

    python fuzz_worker.py TARGET PRISTINE WORK LOG FIRST LAST

A case that takes 10 s is ended by the alarm, one that takes 2 GB more than sound files by the
allocator; whoever started this process sees which case the log ends with.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path
from random import Random

SECONDS = 10
BYTES = 2 << 30


def run(target: str, pristine: Path, work: Path, log: Path, first: int, last: int) -> None:
    """Cases `first` to `last` of a target; `pristine` is a sound dataset, `work` a new folder."""
    from fuzz_targets import TARGETS
    from mutations import damaged, misplaced

    one = TARGETS[target]
    outside = work / "outside"
    outside.mkdir(parents=True)
    root = work / "root"
    for warm in range(2):
        _copy(pristine, root)
        outcome = one.attempt(root)
        assert warm or not outcome.startswith("error"), f"the sound dataset: {outcome}"
    victims = sorted(path.relative_to(root) for glob in one.victims for path in root.glob(glob))
    _limit_memory()
    with log.open("a") as lines:
        for case in range(first, last):
            _say(lines, {"start": case})
            rng = Random(f"{target} {case}")
            name = rng.choice(victims)
            moved = bool(one.places) and rng.random() < 1 / 12
            sound = (pristine / name).read_bytes()
            if moved:
                (outside / "secret").write_bytes(sound)
                misplaced(root / name, outside / "secret", one.places, rng)
            else:
                (root / name).write_bytes(damaged(sound, one.damages, rng))
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                outcome = one.attempt(root)
            except BaseException:
                outcome = f"exception in {name}: {traceback.format_exc()}"
            signal.setitimer(signal.ITIMER_REAL, 0)
            _say(lines, {"case": case, "outcome": outcome})
            _copy(pristine, root) if moved else (root / name).write_bytes(sound)
        _say(lines, {"peak_mb": _peak_mb()})


def _copy(pristine: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(pristine, root)


def _say(lines, what: dict) -> None:
    lines.write(json.dumps(what) + "\n")
    lines.flush()


def _limit_memory() -> None:
    """2 GB of addresses more than what reading sound files took."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _peak_mb() -> float:
    """Most memory so far; `getrusage` would begin with that of the process this one is born of."""
    (told,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(told.split()[1]) / 1024


if __name__ == "__main__":
    name, pristine, work, log, first, last = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers of the other tests
    run(name, Path(pristine), Path(work), Path(log), int(first), int(last))
