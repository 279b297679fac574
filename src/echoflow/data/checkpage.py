"""A check for people, as text and a picture, and for machines, as JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from echoflow.data.check import Check, Group, Spread, summary
from echoflow.data.findings import Finding, counts
from echoflow.files import atomic_file
from echoflow.types import Split

SUMMARY, FINDINGS, PLOT = "summary.json", "findings.csv", "ef.png"
SHOWN = 40  # videos that are left out and named on the screen; the file names all


def text(checked: Check) -> str:
    """What was found, in a few tables; every video that is left out, with its reason."""
    parts = [_head(checked), _groups(checked.groups()), _facts(checked)]
    if checked.findings:
        parts += [_kinds(checked.findings)]
    if checked.left_out:
        parts += [_left_out(checked)]
    return "\n\n".join("\n".join(map(_printable, lines)) for lines in parts)


def write(checked: Check, folder: str | Path) -> None:
    """`summary.json`, `findings.csv` and, where an EF is known, `ef.png`; each replaces its own."""
    with atomic_file(Path(folder, SUMMARY)) as work:
        work.write_text(json.dumps(summary(checked), indent=2) + "\n")
    with atomic_file(Path(folder, FINDINGS)) as work, _open(work) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("kind", "file", "left_out", "detail"))
        for finding in checked.findings:
            table.writerow((finding.kind, finding.path, finding.excluded or "", finding.detail))
    values = efs(checked)
    if values:
        from echoflow.metrics.figures import ef_histograms

        with atomic_file(Path(folder, PLOT)) as work:
            work.write_bytes(ef_histograms(values))


def efs(checked: Check) -> dict[str, list[float]]:
    """Split -> EF in percent of its videos, where any are known."""
    known = {
        split.value: [r.ef for r in checked.records if r.split == split and r.ef is not None]
        for split in Split
    }
    return {name: values for name, values in known.items() if values}


def _head(checked: Check) -> Iterator[str]:
    splits = f", splits {checked.protocol}" if checked.protocol else ""
    yield (
        f"{checked.source}{splits}: {checked.found:,} videos found = "
        f"{len(checked.records):,} that can be used + {len(checked.left_out):,} left out"
    )


def _groups(groups: Sequence[Group]) -> Iterator[str]:
    published = any(group.published for group in groups)
    head = ("view", "split", "videos", *(["published"] if published else []))
    rows: list[Sequence[str]] = [(*head, "with EF", "mean", "sd", "least", "median", "most")]
    for group in groups:
        ef = group.ef
        figures = (ef.mean, ef.sd, ef.least, ef.quartiles[1], ef.most) if ef else ()
        rows.append(
            (
                group.view.name,
                group.split.value,
                f"{group.videos:,}",
                *([f"{group.published:,}" if group.published else ""] if published else []),
                f"{ef.n if ef else 0:,}",
                *(f"{value:.1f}" for value in figures),
            )
        )
    yield from _aligned(rows, left=2)


def _facts(checked: Check) -> Iterator[str]:
    records = checked.records
    sizes = [f"{size} in {n:,}" for size, n in checked.sizes().items()]
    more = f" and {len(sizes) - 4:,} other sizes" if len(sizes) > 4 else ""
    seconds = sum(r.frames / r.fps for r in records)
    patients = len({r.patient for r in records if r.patient is not None})
    marks = [
        f"{name} in {frames:,} frames of {videos:,} videos"
        for name, (videos, frames) in checked.traced().items()
    ]
    facts = {
        "pixels": ", ".join(sizes[:4]) + more + " (height x width)" if sizes else "",
        "frames": _range(Spread.of(r.frames for r in records)) + f", {_duration(seconds)} in all",
        "fps": _range(Spread.of(r.fps for r in records)),
        "patients": f"{patients:,} known" if patients else "not known",
        "traced": ", ".join(marks) or "nothing",
    }
    done = checked.decoded
    if done is not None:
        pace = done.frames / done.seconds if done.seconds else 0.0
        facts["decoded"] = f"{done.frames:,} frames of {done.videos:,} videos, {pace:,.0f} a second"
    yield from _aligned(list(facts.items()), left=2)


def _kinds(findings: Sequence[Finding]) -> Iterator[str]:
    first = {finding.kind: finding for finding in reversed(findings)}
    gone = counts(f for f in findings if f.excluded is not None)
    rows = [("what is wrong", "times", "left out", "")]
    for kind, n in counts(findings).items():
        example = "" if gone.get(kind) else f"e.g. {_told(first[kind])}"  # the others are all named
        rows.append((kind, f"{n:,}", f"{gone.get(kind, 0):,}", example))
    yield from _aligned(rows, left=1, last=True)


def _left_out(checked: Check) -> Iterator[str]:
    reasons = [f for f in checked.findings if f.excluded is not None]
    rows = [("left out", "for", "because")]
    rows += [(f.excluded or "", f.kind, _told(f)) for f in reasons[:SHOWN]]
    yield from _aligned(rows, left=2, last=True)
    if len(reasons) > SHOWN:
        yield f"and {len(reasons) - SHOWN:,} more; {FINDINGS} names every one (--out)"


def _open(path: Path) -> TextIO:
    """Names on disk may be bytes that are no text."""
    return path.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def _printable(line: str) -> str:
    """No name on disk or cell of a table may steer the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _told(finding: Finding) -> str:
    """The detail, with its file where it does not begin with it."""
    there = finding.path in finding.detail
    return finding.detail if there else f"{finding.path}, {finding.detail}"


def _range(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    least, middle, most = (f"{v:,.4g}" for v in (spread.least, spread.quartiles[1], spread.most))
    return least if least == most else f"{least} to {most}, median {middle}"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _aligned(rows: Iterable[Sequence[str]], left: int, last: bool = False) -> Iterator[str]:
    """Lines of columns: the first `left` begin, the others end together; the last may run on."""
    rows = [list(row) for row in rows]
    columns = max(map(len, rows))
    rows = [row + [""] * (columns - len(row)) for row in rows]
    running = columns - 1 if last else columns
    widths = [max(len(row[column]) for row in rows) for column in range(running)]
    for row in rows:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield "  ".join(cells + row[running:]).rstrip()
