"""What is wrong with a dataset, and whether a video had to be left out for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "missing-video",  # listed, but there is no such file
    "unlisted-video",  # a file that no table lists
    "empty-file",  # zero bytes
    "unreadable",  # not what its suffix says
    "truncated",  # decodes in part
    "frame-count",  # the table and the file disagree on the number of frames
    "wrong-size",  # the table and the file disagree on height or width
    "bad-cell",  # not a number where one is needed, empty where something is
    "bad-split",
    "bad-ef",  # outside [0, 100], or end-systole larger than end-diastole
    "repeated-name",
    "outside-root",  # a path that leaves the dataset's folder
    "no-tracing",
    "one-tracing",  # one frame traced where two are needed
    "no-systolic",  # marked as absent by the annotators
    "no-diastolic",
    "repeated-tracing",  # more lines than one tracing has
    "short-tracing",  # fewer lines or points than a tracing needs
    "outside-image",  # coordinates beyond the picture
    "frame-out-of-range",  # a traced or measured frame that the video has not
    "no-measurement",  # a measurement that the EF needs is missing
    "repeated-measurement",
    "bad-labels",  # a label map with unknown values or another size than its image
    "reversed",  # a sequence stored from end-systole to end-diastole
    "suffix",  # a name with a suffix where the layout has none, or the other way round
    "spaces",  # spaces around or inside a name
    "byte-order-mark",
    "line-ends",  # CRLF
]


@dataclass(frozen=True)
class Finding:
    """A defect: its kind, the file it is in (relative to the root), and one sentence.

    `excluded` names the video that is left out for it; None where the video is read in spite of
    it (a repeated tracing, say, of which the first is taken).
    """

    kind: Kind
    path: str
    detail: str
    excluded: str | None = None


def left_out(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The videos that are left out, each once, in the order they were found."""
    return tuple(dict.fromkeys(f.excluded for f in findings if f.excluded is not None))


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each kind, the most frequent first."""
    return dict(Counter(finding.kind for finding in findings).most_common())
