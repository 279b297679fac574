"""What is wrong with a dataset, and whether a video had to be left out for it.

Readers never stop at a bad row or file. The rule by which they go on: what can be known from
elsewhere is read around (a size or a rate from the file itself, a tracing repeated, a name with a
suffix), and what would have to be believed (a label, a split, a damaged file) leaves the video out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from echoflow.types import InputError

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
    "bad-view",
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
    "no-rate",  # a video whose file does not say its frames per second
    "no-region",  # a scan that does not mark its picture, so that writing around it stays
    "burnt-in",  # a scan said to have writing in its pictures, and nothing to cut them by
    "bad-labels",  # a label map with unknown values or another size than its image
    "reversed",  # a sequence stored from end-systole to end-diastole
    "suffix",  # a name with a suffix where the layout has none, or the other way round
    "spaces",  # spaces around or inside a name
    "byte-order-mark",
    "line-ends",  # CRLF
    "too-short",  # fewer frames than the window that is cut from it
    "not-in-protocol",  # a sound video that the chosen split protocol does not use
]

KINDS: tuple[Kind, ...] = get_args(Kind)


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

    def __post_init__(self) -> None:
        """One line, whatever stands in a name or a cell that it quotes."""
        object.__setattr__(self, "detail", " ".join(self.detail.split()))


class Flaw(InputError):
    """An error that knows its kind, so that a reader can turn it into a finding and go on.

    `detail` says it in one sentence; `table` is where a user finds the line that it names, and
    `path` the file at fault, relative to the root, if that is another than the table.
    """

    def __init__(self, kind: Kind, detail: str, table: object = "", path: str = "") -> None:
        super().__init__(f"{table}, {detail}" if table else detail)
        self.kind: Kind = kind
        self.detail = detail
        self.path = path

    def found(self, table: str, excluded: str | None = None) -> Finding:
        """The finding in file `table`, for which the video `excluded` is left out."""
        return Finding(self.kind, self.path or table, self.detail, excluded)


def left_out(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The videos that are left out, each once, in the order they were found."""
    return tuple(dict.fromkeys(f.excluded for f in findings if f.excluded is not None))


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each kind, the most frequent first."""
    return dict(Counter(finding.kind for finding in findings).most_common())


def left_out_line(findings: Iterable[Finding], read: int | None) -> str | None:
    """What is said of the videos that are left out; None if all `read` are all there are.

    Without `read`, which a part of a dataset cannot tell, they are further ones.
    """
    findings = tuple(findings)
    missing = len(left_out(findings))
    if not missing:
        return None
    kinds = counts(f for f in findings if f.excluded is not None)
    of = f"{missing:,} further" if read is None else f"{missing:,} of {missing + read:,}"
    return (
        f"{of} video{'' if read is None and missing == 1 else 's'} "
        f"{'is' if missing == 1 else 'are'} left out "
        f"({', '.join(f'{kind} {n:,}' for kind, n in kinds.items())}); "
        "`echoflow data check` says which and why"
    )
