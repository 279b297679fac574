"""Videos of a dataset beside real ones: which go together, how they look, how their hearts beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from echoflow.data.manifest import Manifest
from echoflow.data.prepare import Window, load_clip
from echoflow.data.video import encode
from echoflow.judges import Segmenter
from echoflow.metrics import diagrams
from echoflow.metrics.page import Picture, Section
from echoflow.truth.scores import relative_volumes
from echoflow.types import Clip, InputError, Record, View

SHOWN = 4  # videos beside each other


@dataclass(frozen=True)
class Pair:
    """A video of the dataset beside a real one, of one length and size.

    `same`: both have one name, so that the one was made from the other.
    """

    ours: Clip
    theirs: Clip
    same: bool


def pairs_of(ours: Manifest, theirs: Manifest, most: int = SHOWN) -> list[Pair]:
    """Up to `most` videos of ours, spread over views and EFs, each with its real counterpart.

    The video of the same name, or the one of the same view whose EF is nearest. Videos that cannot
    be read, or that share fewer than two frames, are passed over.
    """
    by_name = {record.uid: record for record in theirs.records}
    pairs = []
    for record in _spread(ours.records):
        partner = by_name.get(record.uid) or _nearest(record, theirs.records)
        try:
            pair = _pair(ours, record, theirs, partner)
        except InputError:
            continue
        if len(pair.ours.video) > 1:
            pairs.append(pair)
        if len(pairs) == most:
            break
    return pairs


def _spread(records: Sequence[Record]) -> list[Record]:
    """Views in turn, and in each view EFs from both ends towards the middle."""
    queues: dict[View, list[Record]] = {}
    for record in sorted(records, key=lambda one: -1.0 if one.ef is None else one.ef):
        queues.setdefault(record.view, []).append(record)
    order: list[Record] = []
    while any(queues.values()):
        for queue in queues.values():
            if queue:
                order.append(queue.pop(0 if len(queue) % 2 else -1))
    return order


def _nearest(record: Record, others: Sequence[Record]) -> Record:
    """The record of the same view (of any, if there is none) whose EF is nearest."""
    seen = [other for other in others if other.view is record.view] or list(others)
    if record.ef is None:
        return seen[0]
    ef = record.ef
    return min(seen, key=lambda other: 1e3 if other.ef is None else abs(other.ef - ef))


def _pair(ours: Manifest, record: Record, theirs: Manifest, partner: Record) -> Pair:
    """Both at the rate of ours, 112 x 112, cut to the shorter."""
    made, real = (
        load_clip(manifest, one, Window(fps=record.fps))
        for manifest, one in ((ours, record), (theirs, partner))
    )
    frames = min(len(made.video), len(real.video))
    cut = (_cut(made, frames), _cut(real, frames))
    return Pair(*cut, same=record.uid == partner.uid)


def _cut(clip: Clip, frames: int) -> Clip:
    return replace(clip, video=clip.video[:frames])


def side_by_side(pairs: Sequence[Pair]) -> list[Section]:
    """A film of every pair, with the difference where that means something."""
    if not pairs:
        return []
    same = all(pair.same for pair in pairs)
    told = (
        "Left the real video, in the middle the one made from it, right their difference: grey is "
        "equal, bright where the dataset's is brighter."
        if same
        else "The videos have no counterparts of one name, so each stands beside the real one of "
        "its view whose EF is nearest. They show different hearts: a difference means nothing."
    )
    films = []
    for place, pair in enumerate(pairs):
        film = diagrams.comparison(
            [(pair.theirs.video, pair.ours.video)],
            [""],
            (_caption("real", pair.theirs), _caption("dataset", pair.ours), "difference"),
            differ=pair.same,
        )
        films.append(
            Picture(
                encode(film, pair.ours.fps, ".mp4"),
                f"beside-{place}.mp4",
                f"{pair.theirs.uid} and {pair.ours.uid}, {pair.ours.view.name}.",
                "a real video beside one of the dataset",
            )
        )
    return [Section("Side by side", [told], films)]


def _caption(who: str, clip: Clip) -> str:
    return who if clip.ef is None else f"{who}, EF {clip.ef:.0f} %"


def curves(pairs: Sequence[Pair], finder: Segmenter | None, weights: str) -> list[Section]:
    """Volume curves of the pairs, if there is a segmenter to find them."""
    if finder is None or not pairs:
        return []
    charts = {}
    for place, pair in enumerate(pairs, 1):
        real, made = (
            relative_volumes(finder(clip.video), clip.view) for clip in (pair.theirs, pair.ours)
        )
        title = f"{place}: {_caption(pair.ours.view.name, pair.ours)}"
        charts[title] = {"_": (real, made)}
    rates = [pair.ours.fps for pair in pairs]
    return [
        Section(
            "Volume through the beat",
            [
                f"The videos above, in the eyes of the segmenter of {weights}. It knows what "
                "it was trained on, and on other pictures it can be wrong."
            ],
            [
                Picture(
                    diagrams.volume_curves(charts, rates, ("real", "dataset")),
                    "volumes.png",
                    "Volume in percent of the largest. Solid: real. Dashed: the dataset's.",
                    "volume curves of real and generated videos",
                )
            ],
        )
    ]
