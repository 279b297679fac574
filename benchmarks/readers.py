"""Readers of every layout against exact truth: what is found, what EF and volumes are worth, speed.

Simulated hearts are written in each layout with all its defects planted, and read back. EF errors
are in points and volumes in mL. Label: what the files say of a video, against its patient. Drawn:
what follows from tracings, polygons, label maps or calipers, against the volumes of the very frames
that were drawn, so that only the method errs. Usage: python benchmarks/readers.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from where import where

from echoflow.data.decode import decode_all
from echoflow.data.findings import left_out
from echoflow.data.manifest import Manifest
from echoflow.data.phantom import PhantomClip, PhantomPatient
from echoflow.data.phantom.layout import (
    LAYOUTS,
    Known,
    read_defects,
    read_known,
    read_truth,
    truth_path,
    write_layout,
)
from echoflow.data.phantom.population import Population
from echoflow.data.sources import open_source
from echoflow.data.truths import lv_masks, measured
from echoflow.data.video import encode, read_gray
from echoflow.data.volumes import METHODS, Plane, bullet, ejection_fraction
from echoflow.types import InputError, Record, View

OUT = Path(__file__).parent / "results" / "readers.json"
COPIES = 4  # files per heart, under other names: rendering would take longer than all the rest
FRAMES, FPS = 16, 20.0  # from the R wave: the first contraction of any heart


@dataclass(frozen=True)
class Estimate:
    """Errors of one way to get at EF (points) and at volumes (mL, None where there are none)."""

    ef: float
    edv: float | None = None
    esv: float | None = None


def write(layout: str, videos: int, root: Path, workers: int) -> float:
    """A planted dataset of about `videos` videos; seconds that it took."""
    kind = LAYOUTS[layout]
    per_clip = 2 if layout == "camus" else 1
    hearts = Population(
        patients=videos // (COPIES * per_clip * len(kind.default)),
        seed=14,
        cohorts=(kind.cohort,),
        views=kind.default,
        frames=FRAMES,
        fps=FPS,
        phase=0.0,
    )
    start = time.perf_counter()
    write_layout(layout, copied(hearts.clips(workers)), root, hearts.spec(), ("all",))
    return time.perf_counter() - start


def copied(clips: Iterable[PhantomClip]) -> Iterator[PhantomClip]:
    """Every clip `COPIES` times, as if of other patients."""
    for each in clips:
        for copy in range(COPIES):
            number = COPIES * each.truth.patient + copy
            uid = f"{each.clip.uid[:-4]}{number % 0x10000:04X}"
            clip = dataclasses.replace(each.clip, uid=uid, patient=f"adult-14-{number}")
            yield PhantomClip(clip, dataclasses.replace(each.truth, patient=number))


def timed(root: Path) -> dict[str, float]:
    """Reading and decoding in a process of its own: work per second of processor, peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed, (root,))


def _timed(root: Path) -> dict[str, float]:
    base = _memory()
    start = time.process_time()
    manifest = open_source(root)
    seconds = time.process_time() - start
    found = len(manifest.records) + len(left_out(manifest.findings))
    after = _memory()
    start = time.process_time()
    decoded = decode_all(manifest)
    decoding = time.process_time() - start
    pixels = sum(r.frames * r.height * r.width for r in manifest.records)
    return {
        "read videos/s": round(found / seconds),
        "decode frames/s": round(decoded.frames / decoding),
        "decode Mpx/s": round(pixels / decoding / 1e6, 1),
        "MiB to read": round(after - base, 1),
        "MiB to decode": round(_memory() - after, 1),
    }


def _memory() -> float:
    """The largest resident memory of this process so far, MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def defects(root: Path, manifest: Manifest) -> dict[str, int]:
    """How many planted defects a finding of their kind tells of, and how the counts add up."""
    planted = read_defects(root)
    kinds = {finding.kind for finding in manifest.findings}
    return {
        "planted": len(planted),
        "found": sum(defect.kind in kinds for defect in planted),
        "videos": len(read_known(root)),
        "used": len(manifest.records),
        "left out": len(left_out(manifest.findings)),
    }


def sound(root: Path, manifest: Manifest) -> Iterator[tuple[Record, Known]]:
    """The records that no defect touches, with what is known of them."""
    hurt = {video for defect in read_defects(root) for video in defect.videos}
    known = {root / one.record.path: one for one in read_known(root)}
    for record in manifest.records:
        one = known[manifest.root / record.path]
        if one.record.path not in hurt:
            yield record, one


def estimates(
    root: Path, manifest: Manifest, record: Record, one: Known
) -> Iterator[tuple[str, Estimate]]:
    """Every way to EF and volumes that the files of a video allow."""
    view = f"{record.view.name}, " if record.view is not View.OTHER else "2CH, "
    if record.view is View.PLAX:
        yield f"{view}calipers, Teichholz", _against(one, record.ef, record.edv, record.esv)
        return
    assert record.ef is not None
    told = (None if v is None else v - w for v, w in _volumes(record, one))
    yield "label", Estimate(record.ef - float(one.record.ef or 0), *told)
    if record.view is View.PSAX:
        yield f"{view}polygon and true length, bullet", _short_axis(root, manifest, record, one)
        return
    drawn = "label map" if manifest.label_maps else "polygon" if manifest.outlines else "chords"
    scale = None if manifest.label_maps else one.mm_per_px
    for method in METHODS:
        sizes = measured(manifest, record, scale, method)
        if sizes is not None:
            yield f"{view}{drawn}, {method}", _against(one, sizes.ef, sizes.edv, sizes.esv)
    if drawn == "chords":
        masks = lv_masks(manifest, record)
        pair = [Plane.of_mask(masks[f], one.mm_per_px).volume() for f in (one.ed, one.es)]
        estimate = _against(one, ejection_fraction(*pair), *pair)
        yield f"{view}mask of the chords, simpson", estimate


def _volumes(record: Record, one: Known) -> list[tuple[float | None, float]]:
    return [(record.edv, one.record.edv or 0.0), (record.esv, one.record.esv or 0.0)]


def _against(one: Known, ef: float | None, edv: float | None, esv: float | None) -> Estimate:
    """Errors against the drawn frames."""
    assert ef is not None
    pairs = ((edv, one.volume_ed), (esv, one.volume_es))
    return Estimate(ef - one.sampled_ef, *(None if v is None else v - w for v, w in pairs))


def _short_axis(root: Path, manifest: Manifest, record: Record, one: Known) -> Estimate:
    """The area from the polygon, the length from the truth: the layout does not pair its views."""
    masks = lv_masks(manifest, record)
    truth = read_truth(truth_path(root, one.record.uid))
    edv, esv = (
        bullet(masks[f].sum() * one.mm_per_px**2 / 100, truth.length[f] / 10)
        for f in (one.ed, one.es)
    )
    return _against(one, ejection_fraction(edv, esv), edv, esv)


def errors(root: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """A row per way to EF and volumes."""
    found: dict[str, list[Estimate]] = defaultdict(list)
    for record, one in sound(root, manifest):
        for name, estimate in estimates(root, manifest, record, one):
            found[name].append(estimate)
    return [{"estimate": name, "n": len(many), **_summary(many)} for name, many in found.items()]


def _summary(many: list[Estimate]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name in ("ef", "edv", "esv"):
        values = [v for v in (getattr(one, name) for one in many) if v is not None]
        row[f"{name} mae"] = float(np.mean(np.abs(values))) if values else None
        row[f"{name} bias"] = float(np.mean(values)) if values else None
        if name == "ef":
            row["ef max"] = float(np.max(np.abs(values)))
    return row


def layout_row(layout: str, root: Path, seconds: float | None) -> dict[str, Any]:
    """All that is measured of one layout."""
    speeds = timed(root)
    manifest = open_source(root)
    row = {"layout": layout, **defects(root, manifest), **speeds, "errors": errors(root, manifest)}
    return row if seconds is None else row | {"written in s": round(seconds)}


def damage(scratch: Path, tries: int = 200) -> list[dict[str, int]]:
    """What becomes of random bytes at random places of an AVI: refused, painted over, unseen.

    Painted over is a change of more than 20 grey levels that plain reading lets pass; of these,
    how many strict reading refuses.
    """
    clip = PhantomPatient.sample(14, 1).render(View.A4C, 24, 30.0).clip
    sound, path = encode(clip.video, clip.fps, ".avi"), scratch / "x.avi"
    path.write_bytes(sound)
    clean, _ = read_gray(path)
    rows = []
    for size in (1, 64):
        row = {
            "bytes": size,
            "tries": tries,
            "refused": 0,
            "painted over": 0,
            "refused if strict": 0,
        }
        for rng in np.random.default_rng(size).spawn(tries):
            data = bytearray(sound)
            start = int(rng.integers(6000, len(data) - 2000))  # beyond the header
            data[start : start + size] = rng.integers(0, 256, size, np.uint8).tobytes()
            path.write_bytes(data)
            plain = _or_none(path, strict=False)
            if plain is None or plain.shape != clean.shape:
                row["refused"] += 1
            elif np.abs(plain.astype(int) - clean).max() > 20:
                row["painted over"] += 1
                row["refused if strict"] += _or_none(path, strict=True) is None
        rows.append(row)
    return rows


def _or_none(path: Path, strict: bool) -> np.ndarray | None:
    try:
        return read_gray(path, strict=strict)[0]
    except InputError:
        return None


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as two tables."""
    plain = [name for name in rows[0] if name not in ("errors", "written in s")]
    print(" | ".join(plain))
    for row in rows:
        print(" | ".join(str(row[name]) for name in plain))
    print(
        f"\n{'layout':11s}{'estimate':34s}{'n':>6s}"
        + "EF mae  bias   max | EDV mae  bias".rjust(40)
    )
    for row in rows:
        for e in row["errors"]:
            cells = [e[name] for name in ("ef mae", "ef bias", "ef max", "edv mae", "edv bias")]
            told = "".join(f"{'-':>8s}" if v is None else f"{v:8.3f}" for v in cells)
            print(f"{row['layout']:11s}{e['estimate']:34s}{e['n']:6d}{told}")


def main() -> None:
    """Write, read, measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=1000, help="per layout")
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS))
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--keep", type=Path, help="folder for the datasets; read if they are there")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for layout in args.layouts:
            root = (args.keep or Path(scratch)) / layout
            there = root.exists()
            seconds = None if there else write(layout, args.videos, root, args.workers)
            rows.append(layout_row(layout, root, seconds))
        harmed = damage(Path(scratch))
    show(rows)
    print("\nRandom bytes in an AVI:", *harmed, sep="\n")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {**where(), "frames per video": FRAMES, "fps": FPS, "files per heart": COPIES}
    args.out.write_text(json.dumps({**settings, "rows": rows, "damage": harmed}, indent=2) + "\n")


if __name__ == "__main__":
    main()
