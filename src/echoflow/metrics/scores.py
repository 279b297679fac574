"""EchoDiffusion's protocol (Reynaud et al. 2023, table 1): scores of several draws per video.

A score file has a row for every generated clip, and as many rows for a video as noises were drawn.
The published row takes the best of them, and each kind of score chooses for itself: the EF metrics
the draw whose EF is nearest to the one asked for, SSIM the highest and LPIPS the lowest of all.
No single clip has those scores. Beside it stand the draw chosen by its EF with its own SSIM and
LPIPS, and what somebody gets who draws once.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoflow.metrics.clinical import r2
from echoflow.metrics.intervals import Indices, Interval, bootstrapped
from echoflow.metrics.report import Report, fingerprint
from echoflow.types import InputError

Values = NDArray[np.float64]

_FIELDS = ("asked", "measured", "reference", "ssim", "lpips")
NAME = "FileName"
COLUMNS = ("GT EF", "Gen EF", "Ref EF", "SSIM", "LPIPS")
METRICS = ("r2", "mae", "rmse", "ssim", "lpips")
POSSIBLE = {
    "GT EF": (0.0, 100.0),
    "Gen EF": (-100.0, 200.0),
    "Ref EF": (-100.0, 200.0),
    "SSIM": (-1.0, 1.0),
    "LPIPS": (0.0, math.inf),
}
"""What a cell can be. A regressor may leave [0, 100] somewhat; 6444273 has lost its comma."""


@dataclass(frozen=True)
class Draws:
    """Scores of `videos` (v,) x draws (k): each (v, k), nan where a video has fewer draws than k.

    `asked` and `measured` are the EF wanted and regressed from the generated clip, `reference` the
    one regressed from the real clip, all in percent; `lpips` is a distance, `ssim` a similarity.
    """

    videos: tuple[str, ...]
    asked: Values
    measured: Values
    reference: Values
    ssim: Values
    lpips: Values

    @classmethod
    def read(cls, path: str | Path) -> Draws:
        """A score file; `InputError` names the line and the cell that cannot be used."""
        found = _rows(Path(path))
        videos = tuple(found)
        most = max(map(len, found.values()))
        table = np.full((len(COLUMNS), len(videos), most), np.nan)
        for place, draws in enumerate(found.values()):
            table[:, place, : len(draws)] = np.transpose(draws)
        told = COLUMNS[: 3 if table[0].max(initial=0, where=table[0] > 0) else 1]
        for column, values in zip(told, table, strict=False):
            if 0.0 < np.nanmax(values) <= 1.0:
                raise InputError(
                    f"{path}: the largest {column} is {np.nanmax(values):.3g}; EFs are "
                    "percentages. Multiply fractions by 100."
                )
        for video, asked in zip(videos, table[0], strict=True):
            if np.any((asked > 0) & (asked < 1)):
                raise InputError(
                    f"{path}: a GT EF of {video} is {np.nanmin(asked):.3g}, others are "
                    "percentages. Multiply a fraction by 100."
                )
        return cls(videos, *table)

    @property
    def counts(self) -> NDArray[np.int_]:
        """Draws per video (v,)."""
        return np.isfinite(self.asked).sum(axis=1)

    @property
    def notes(self) -> tuple[str, ...]:
        """How many videos have how many draws, if not all have as many; rows that look copied."""
        counts, rows = self.counts, np.stack([getattr(self, name) for name in _FIELDS], axis=-1)
        said = []
        if len(set(counts.tolist())) > 1:
            videos = Counter(counts.tolist())
            told = ", ".join(f"{videos[k]} of {k}" for k in sorted(videos, reverse=True))
            said.append(f"videos by their draws: {told}; a single draw counts every one alike.")
        same = sum(
            int(n - len({tuple(row) for row in np.nan_to_num(draws[:n]).tolist()}))
            for n, draws in zip(counts, rows, strict=True)
        )
        if same:
            said.append(
                f"{same} of {int(counts.sum())} rows repeat another of their video in every "
                "number, and count as draws all the same; remove them if they are copies."
            )
        return tuple(said)


@dataclass(frozen=True)
class Row:
    """One row of the table: `values` and their intervals by the names of `METRICS`."""

    label: str
    clips: int
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class _Chosen:
    """Clips that a rule takes, one row per video: EFs, SSIM and LPIPS (v, clips), nan where none.

    SSIM and LPIPS may be those of other clips than the EFs.
    """

    asked: Values
    measured: Values
    ssim: Values
    lpips: Values

    def metric(self, name: str) -> Callable[[Indices], float]:
        """The metric called `name` as a function of the indices of videos."""
        if name in ("ssim", "lpips"):
            scores: Values = getattr(self, name)
            return lambda index: float(np.nanmean(scores[index]))
        return lambda index: _EF[name](*_flat(self.asked[index], self.measured[index]))


_EF: dict[str, Callable[[Values, Values], float]] = {
    "r2": r2,
    "mae": lambda asked, measured: float(np.mean(np.abs(asked - measured))),
    "rmse": lambda asked, measured: float(np.sqrt(np.mean((asked - measured) ** 2))),
}


def _published(draws: Draws) -> _Chosen:
    """Every score takes the draw that is best for it."""
    nearest = _nearest(draws)
    ssim = np.nanmax(draws.ssim, axis=1, keepdims=True)
    if np.isnan(draws.lpips).all():
        return replace(nearest, ssim=ssim)
    return _Chosen(nearest.asked, nearest.measured, ssim, np.nanmin(draws.lpips, 1, keepdims=True))


def _nearest(draws: Draws) -> _Chosen:
    """The draw of every video whose EF is nearest to the one asked for, with its own scores."""
    best = np.nanargmin(np.abs(draws.asked - draws.measured), axis=1)[:, None]
    chosen = (draws.asked, draws.measured, draws.ssim, draws.lpips)
    return _Chosen(*(np.take_along_axis(scores, best, axis=1) for scores in chosen))


def _single(draws: Draws) -> _Chosen:
    """All draws, none chosen: what a single draw scores on average."""
    return _Chosen(draws.asked, draws.measured, draws.ssim, draws.lpips)


def _real(draws: Draws) -> _Chosen:
    """The real clip in place of the generated one. It equals itself: no SSIM, no LPIPS."""
    none = np.full_like(draws.ssim, np.nan)
    return _Chosen(draws.asked, draws.reference, none, none)


RULES: dict[str, tuple[str, Callable[[Draws], _Chosen]]] = {
    "published": ("published rule, best of {k}", _published),
    "selected": ("draw chosen by its EF", _nearest),
    "single": ("single draw", _single),
    "real": ("real clips", _real),
}


def table(draws: Draws, resamples: int = 1000, seed: int = 0) -> dict[str, Row]:
    """A row for each of `RULES`, with 90 % intervals from resampled videos (not clips)."""
    return {
        key: _row(label.format(k=_either(draws)), rule(draws), resamples, seed)
        for key, (label, rule) in RULES.items()
    }


def _either(draws: Draws) -> str:
    """How many draws a video has, `2 or 3` where that differs."""
    return " or ".join(map(str, sorted(set(draws.counts.tolist()))))


def _row(label: str, chosen: _Chosen, resamples: int, seed: int) -> Row:
    videos = len(chosen.asked)
    values, intervals = {}, {}
    for name in METRICS:
        if name in ("ssim", "lpips") and np.isnan(getattr(chosen, name)).all():
            values[name], intervals[name] = math.nan, (math.nan, math.nan)
            continue
        metric = chosen.metric(name)
        values[name] = metric(np.arange(videos))
        intervals[name] = bootstrapped(metric, videos, resamples, seed)
    return Row(label, int(np.isfinite(chosen.asked).sum()), values, intervals)


def report(path: str | Path, resamples: int = 1000, seed: int = 0) -> tuple[Report, list[Row]]:
    """The rows of a score file, and the report that holds them with what they depend on."""
    draws = Draws.read(path)
    found = table(draws, resamples, seed)
    metrics: dict[str, float] = {}
    for key, row in found.items():
        for name in METRICS:
            low, high = row.intervals[name]
            named = {name: row.values[name], f"{name}_low": low, f"{name}_high": high}
            metrics |= {f"{key}_{metric}": value for metric, value in named.items()}
    settings = {
        "draws": sorted({int(count) for count in draws.counts}),
        "interval": {"level": 90, "resamples": resamples, "of": "videos", "seed": seed},
    }
    prints = {"scores": fingerprint(Path(path))}
    whole = Report("scores", metrics, len(draws.videos), settings, prints, draws.notes)
    return whole, list(found.values())


def to_markdown(rows: list[Row]) -> str:
    """The rows as a table, each number to two decimals with its interval."""
    lines = [
        "| clips | n | R2 | MAE | RMSE | SSIM | LPIPS |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [_cell(row.values[name], row.intervals[name]) for name in METRICS]
        lines.append(f"| {' | '.join([row.label, str(row.clips), *cells])} |")
    return "\n".join(lines)


def _cell(value: float, interval: Interval) -> str:
    if math.isnan(value):
        return "-"
    if math.isnan(interval[0]):
        return f"{value:.2f}"
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _flat(asked: Values, measured: Values) -> tuple[Values, Values]:
    there = np.isfinite(asked)
    return asked[there], measured[there]


def _rows(path: Path) -> dict[str, list[list[float]]]:
    """Scores of every draw by video, in the order of the file."""
    found: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            _check_header(path, reader.fieldnames)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if any((cell or "").strip() for cell in row.get(None) or ()):
                    raise InputError(
                        f"{where} has more cells than the header; is there a decimal comma?"
                    )
                name = (row[NAME] or "").strip()
                if not name:
                    raise InputError(f"{where}: {NAME} is empty; fill it in.")
                scores = [_number(where, column, row[column]) for column in COLUMNS[:-1]]
                scores.append(_distance(where, row[COLUMNS[-1]]))
                found.setdefault(name, []).append(scores)
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise InputError(f"{path} is no CSV file of scores: {error}.") from error
    _check_distances(path, found)
    if not found:
        raise InputError(f"{path} has no rows; give a score file with at least one clip.")
    return found


def _check_header(path: Path, names: Sequence[str]) -> None:
    lack = [name for name in (NAME, *COLUMNS) if name not in names]
    if lack:
        raise InputError(
            f"{path} lacks the column {', '.join(lack)}; it has {', '.join(names) or 'none'}. A "
            f"score file has {', '.join((NAME, *COLUMNS))}, separated by commas."
        )
    twice = [name for name in (NAME, *COLUMNS) if names.count(name) > 1]
    if twice:
        raise InputError(f"{path} has the column {twice[0]} twice; remove one of them.")


def _distance(where: str, text: str | None) -> float:
    """LPIPS; an empty cell is nan, that of a file which was scored without its network."""
    return math.nan if not (text or "").strip() else _number(where, "LPIPS", text)


def _check_distances(path: Path, found: Mapping[str, list[list[float]]]) -> None:
    lack = [math.isnan(row[-1]) for rows in found.values() for row in rows]
    if any(lack) and not all(lack):
        raise InputError(
            f"{path}: LPIPS is empty in {sum(lack)} of {len(lack)} rows; fill in all, or none."
        )


def _number(where: str, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{where}: {column} must be a number; got {(text or '')[:40]!r}. Score that clip "
            "again, or leave its line out and say so."
        )
    low, high = POSSIBLE[column]
    if not low <= value <= high:
        raise InputError(f"{where}: {column} {value:g} is not between {low:g} and {high:g}.")
    return value
