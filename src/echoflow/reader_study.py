"""A reader study: can an expert tell generated clips from recorded ones?

EchoDiffusion (Reynaud et al. 2023, sec. 4) showed 300 clips to two clinicians: 130 recorded, 89
generated for the EF of their patient, 81 for another. Here any folders give clips, and all clips
pass through one window and one encoder, so that no name, length, size or date gives one away.

    for-readers/clips/001.mp4 ...   what readers see, in an order drawn by the seed
    for-readers/answers.csv         the form, of which each reader fills in a copy
    for-readers/README.md           what to tell them
    key.csv                         what each clip is
    study.json                      how the study was made
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoflow.data.prepare import Window, load_clip
from echoflow.data.sources import open_source
from echoflow.data.table import read_table
from echoflow.data.video import write_video
from echoflow.files import new_folder
from echoflow.metrics.intervals import Indices, bootstrapped
from echoflow.metrics.report import Report, fingerprint
from echoflow.types import Clip, InputError, Record, Split, choose

Progress = Callable[[int, int], None]

REAL, SYNTHETIC = "real", "synthetic"
FOR_READERS, ANSWERS, KEY, CARD = "for-readers", "answers.csv", "key.csv", "study.json"
KEY_COLUMNS = ("Clip", "Group", "Source", "FileName", "Split", "EF")
RESAMPLES = 2000
README = """\
# Reader study

{n} clips of hearts, `clips/001.mp4` onwards. Some were recorded, some were made by a computer; how
many of each is not told. Look at them in their order, alone, as often as you like, and write into a
copy of `answers.csv`, in each line, `real` or `synthetic`. Guess where you cannot tell. The column
`Seconds`, how long a clip took you, may stay empty.
"""


@dataclass(frozen=True)
class Group:
    """Clips of one kind, from a dataset or a folder of videos; `REAL` names the recorded ones."""

    name: str
    dataset: Path
    n: int
    split: Split | None = None


def make(
    groups: Sequence[Group],
    out: str | Path,
    window: Window,
    seed: int = 0,
    anywhere: bool = True,
    tell: Progress = lambda done, total: None,
) -> Path:
    """The folder `out` of a study; the same groups, window and seed give the same bytes.

    Videos are drawn without repeats, one of a patient as long as there are patients, those that
    cannot be read or are too short passed over. `anywhere`: windows start at a random place of a
    video and not at its first frame. `InputError`: no recorded or no generated group, a name given
    twice, too few videos, no length or rate in `window`, which would give recordings away.
    """
    _check(groups, window)
    rng = np.random.default_rng(seed)
    total = sum(group.n for group in groups)
    shown: list[tuple[Group, Clip]] = []
    for group in groups:
        for clip in _drawn(group, window, rng, anywhere):
            shown.append((group, clip))
            tell(len(shown), total)
    order = rng.permutation(total)
    with new_folder(out) as work:
        given = work / FOR_READERS
        (given / "clips").mkdir(parents=True)
        rows, width = [], max(3, len(str(total)))
        for number, place in enumerate(order, 1):
            group, clip = shown[place]
            name = f"{number:0{width}d}"
            write_video(given / "clips" / f"{name}.mp4", clip.video, clip.fps)
            ef = "" if clip.ef is None else f"{clip.ef:.2f}"
            rows.append([name, group.name, str(group.dataset), clip.uid, clip.split.value, ef])
        _write(work / KEY, KEY_COLUMNS, rows)
        _write(given / ANSWERS, ("Clip", "Answer", "Seconds"), [[row[0], "", ""] for row in rows])
        (given / "README.md").write_text(README.format(n=total))
        told = {"seed": seed, "anywhere": anywhere, "window": asdict(window)}
        told["groups"] = {group.name: group.n for group in groups}
        (work / CARD).write_text(json.dumps(told, indent=1) + "\n")
    return Path(out)


def _check(groups: Sequence[Group], window: Window) -> None:
    names = [group.name for group in groups]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"the group {twice[0]} is given twice; give each a name of its own.")
    if REAL not in names or len(names) < 2:
        raise InputError(
            f"a reader study needs the group {REAL!r} and at least one of generated clips; got "
            f"{', '.join(names) or 'none'}."
        )
    if any(group.n < 1 for group in groups):
        raise InputError("every group needs at least 1 clip.")
    if window.frames is None or window.fps is None:
        raise InputError("clips of a study need one length and one rate; give both.")


def _drawn(
    group: Group, window: Window, rng: np.random.Generator, anywhere: bool
) -> Iterator[Clip]:
    """The clips of a group; patients that were not seen yet come first."""
    manifest = open_source(group.dataset)
    records = [record for record in manifest.of(group.split) if record.frames > 1]
    seen: Counter[str] = Counter()
    turns: list[tuple[int, Record]] = []
    for i in rng.permutation(len(records)):
        patient = records[i].patient or records[i].uid
        turns.append((seen[patient], records[i]))
        seen[patient] += 1
    found = 0
    for _, record in sorted(turns, key=lambda turn: turn[0]):
        try:
            clip = load_clip(manifest, record, window, rng if anywhere else None)
        except InputError:
            continue
        yield clip
        found += 1
        if found == group.n:
            return
    raise InputError(
        f"{group.dataset} has {found} videos for the group {group.name} that can be read and are "
        f"long enough for {window.frames} frames at {window.fps:g} a second; {group.n} were asked "
        "for."
    )


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def score(study: str | Path, answers: Sequence[str | Path], seed: int = 0) -> Report:
    """How often readers were right, over all clips and in each group, and how far they agree.

    One file of answers for each reader. Accuracies are means over readers and clips; `said_real`
    is the share of clips called real, `accuracy_reader_i` that of one reader, `agreement` the share
    of clips on which two readers said the same (mean over pairs), `kappa` Cohen's, over chance.
    Intervals resample clips, so they speak of other clips and not of other readers. `InputError`
    names file and line of an answer that is missing, unknown or given twice.
    """
    if not answers:
        raise InputError("give a file of answers for each reader.")
    key = {row.text("Clip"): row.text("Group") for row in read_table(study, KEY, KEY_COLUMNS)}
    if not key:
        raise InputError(f"{study} has an empty {KEY}; make the study again.")
    read = [_answers(Path(file), list(key)) for file in answers]
    said = np.array([[answer == REAL for answer, _ in one.values()] for one in read])
    kinds = np.array(list(key.values()))
    metrics = _metrics(said, kinds, seed)
    seconds = [s for one in read for _, s in one.values() if s is not None]
    if seconds:
        metrics["seconds"] = float(np.mean(seconds))
    settings = {
        "readers": len(read),
        "groups": dict(sorted(Counter(kinds.tolist()).items())),
        "interval": {"level": 90, "resamples": RESAMPLES, "of": "clips"},
        "seed": seed,
    }
    prints = {"study": fingerprint(Path(study) / KEY)}
    one = ("One reader: agreement is not known.",) if len(read) < 2 else ()
    return Report("reader study", metrics, len(key), settings, prints, one)


def _answers(path: Path, clips: Sequence[str]) -> Mapping[str, tuple[str, float | None]]:
    """Answer and seconds of every clip, in the order of `clips`."""
    found: dict[str, tuple[str, float | None]] = {}
    for row in read_table(path.parent, path.name, ("Clip", "Answer")):
        clip = row.text("Clip")
        clip = clip.zfill(len(clips[0])) if clip.isdigit() else clip  # spreadsheets drop zeros
        row.checked(lambda clip=clip: choose(clip, clips, "clip"))
        if clip in found:
            raise row.error(f"clip {clip} is answered twice; keep one of the lines.")
        given = row.text("Answer").lower()
        row.checked(lambda given=given: choose(given, (REAL, SYNTHETIC), "answer"))
        found[clip] = given, row.maybe_number("Seconds")
    missing = [clip for clip in clips if clip not in found]
    if missing:
        raise InputError(
            f"{path} has no answer for {len(missing)} clips, {', '.join(missing[:3])} first; every "
            "clip needs one, a guess where need be."
        )
    return {clip: found[clip] for clip in clips}


def _metrics(said: NDArray[np.bool_], kinds: NDArray[np.str_], seed: int) -> dict[str, float]:
    """From what readers called real, (readers, clips), and the groups of the clips."""
    right = said == (kinds == REAL)
    scores: dict[str, Callable[[Indices], float]] = {
        "accuracy": lambda i: _share(right[:, i]),
        "said_real": lambda i: _share(said[:, i]),
    }
    for kind in sorted(set(kinds.tolist())):
        within = kinds == kind
        scores[f"accuracy_{kind}"] = lambda i, w=within: _share(right[:, i[w[i]]])
    if len(said) > 1:
        for number, one in enumerate(right, 1):
            scores[f"accuracy_reader_{number}"] = lambda i, one=one: _share(one[i])
        pairs = list(combinations(range(len(said)), 2))
        scores["agreement"] = lambda i: _mean([_share(said[a, i] == said[b, i]) for a, b in pairs])
        scores["kappa"] = lambda i: _mean([kappa(said[a, i], said[b, i]) for a, b in pairs])
    metrics: dict[str, float] = {}
    for name, statistic in scores.items():
        low, high = bootstrapped(statistic, said.shape[1], RESAMPLES, seed)
        metrics |= {name: statistic(np.arange(said.shape[1]))}
        metrics |= {f"{name}_low": low, f"{name}_high": high}
    return metrics


def kappa(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Agreement of two readers beyond chance (Cohen 1960); nan where both always say the same."""
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return float(((a == b).mean() - chance) / (1 - chance)) if chance < 1 else math.nan


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean()) if found.size else math.nan


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
