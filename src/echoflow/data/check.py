"""What is in a dataset and what is wrong with it, as a value."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoflow.data.decode import Decoded, decode_all
from echoflow.data.findings import Finding, counts, left_out
from echoflow.data.manifest import Manifest
from echoflow.data.sources import located, open_source
from echoflow.data.splits import PROTOCOLS, protocol
from echoflow.types import Record, Split, View


@dataclass(frozen=True)
class Spread:
    """Of the values that are known: how many, mean, standard deviation, least, quartiles, most."""

    n: int
    mean: float
    sd: float
    least: float
    quartiles: tuple[float, float, float]
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None where there is no value."""
        known = np.array(list(values), float)
        if not len(known):
            return None
        low, middle, high = np.percentile(known, (25, 50, 75)).tolist()
        return cls(
            len(known),
            float(known.mean()),
            float(known.std()),
            float(known.min()),
            (low, middle, high),
            float(known.max()),
        )


@dataclass(frozen=True)
class Group:
    """The videos of one view and split. `published` is how many the paper has, where it says."""

    view: View
    split: Split
    videos: int
    ef: Spread | None  # percent
    published: int | None


@dataclass(frozen=True)
class Check:
    """A dataset as it was found. Videos found = videos in the manifest + left out."""

    source: str
    protocol: str | None
    manifest: Manifest
    decoded: Decoded | None

    @property
    def records(self) -> tuple[Record, ...]:
        """The videos that can be used."""
        return self.manifest.records

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        return self.manifest.findings

    @property
    def left_out(self) -> tuple[str, ...]:
        """The videos that cannot be used."""
        return left_out(self.findings)

    @property
    def found(self) -> int:
        """Listed rows and files on disk, each video once."""
        return len(self.records) + len(self.left_out)

    def groups(self) -> tuple[Group, ...]:
        """A group per view and split that is there, in the order of both."""
        by: dict[tuple[View, Split], list[Record]] = {}
        for record in self.records:
            by.setdefault((record.view, record.split), []).append(record)
        order = sorted(by, key=lambda key: (key[0], list(Split).index(key[1])))
        return tuple(self._group(view, split, by[view, split]) for view, split in order)

    def _group(self, view: View, split: Split, records: list[Record]) -> Group:
        ef = Spread.of(r.ef for r in records if r.ef is not None)
        known = self._published().get(view.name)
        published = known[list(Split).index(split)] if known else None
        return Group(view, split, len(records), ef, published)

    def _published(self) -> Mapping[str, tuple[int, int, int]]:
        if self.protocol is not None:
            return protocol(self.source, self.protocol).published
        return next(iter(PROTOCOLS[self.source].values())).published

    def sizes(self) -> dict[str, int]:
        """`height x width` in pixels -> videos, the most frequent first."""
        return dict(Counter(f"{r.height}x{r.width}" for r in self.records).most_common())

    def traced(self) -> dict[str, tuple[int, int]]:
        """What marks the ventricle -> videos, and frames in all."""
        marks: dict[str, Mapping[str, Mapping[int, object]]] = {
            "lines": self.manifest.tracings,
            "polygons": self.manifest.outlines,
            "label maps": self.manifest.label_maps,
        }
        return {
            name: (len(videos), sum(map(len, videos.values())))
            for name, videos in marks.items()
            if videos
        }


def check(
    root: str | Path,
    source: str | None = None,
    splits: str | None = None,
    decode: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Check:
    """Opens a dataset; with `decode` also every frame, in `workers` processes.

    Nothing but a root that is no dataset raises `InputError`: see `open_source`.
    """
    name, _ = located(root, source)
    manifest = open_source(root, name, splits)
    decoded = decode_all(manifest, workers, progress) if decode else None
    if decoded is not None:
        manifest = without(manifest, decoded.findings)
    return Check(name, splits, manifest, decoded)


def without(manifest: Manifest, findings: tuple[Finding, ...]) -> Manifest:
    """The manifest less the videos that `findings` leave out."""
    gone = set(left_out(findings))
    return dataclasses.replace(
        manifest,
        records=tuple(r for r in manifest.records if r.uid not in gone),
        extras={uid: v for uid, v in manifest.extras.items() if uid not in gone},
        tracings={uid: v for uid, v in manifest.tracings.items() if uid not in gone},
        outlines={uid: v for uid, v in manifest.outlines.items() if uid not in gone},
        label_maps={uid: v for uid, v in manifest.label_maps.items() if uid not in gone},
        findings=manifest.findings + findings,
    )


def summary(checked: Check) -> dict[str, object]:
    """The check as plain values; `videos.found` is the sum of `used` and `left_out`."""
    records, decoded = checked.records, checked.decoded
    return {
        "source": checked.source,
        "splits": checked.protocol,
        "videos": {
            "found": checked.found,
            "used": len(records),
            "left_out": len(checked.left_out),
        },
        "groups": [
            {**dataclasses.asdict(group), "view": group.view.name} for group in checked.groups()
        ],
        "sizes": checked.sizes(),
        "fps": _plain(Spread.of(r.fps for r in records)),
        "frames": _plain(Spread.of(r.frames for r in records)),
        "seconds": sum(r.frames / r.fps for r in records),
        "patients": len({r.patient for r in records if r.patient is not None}) or None,
        "traced": {
            name: {"videos": videos, "frames": frames}
            for name, (videos, frames) in checked.traced().items()
        },
        "decoded": decoded
        and {"videos": decoded.videos, "frames": decoded.frames, "seconds": decoded.seconds},
        "findings": counts(checked.findings),
        "left_out": counts(f for f in checked.findings if f.excluded is not None),
    }


def _plain(spread: Spread | None) -> dict[str, object] | None:
    return spread and dataclasses.asdict(spread)
