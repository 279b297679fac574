"""Phantom clips on disk: the layout of EchoNet-Dynamic, and the exact truth beside it.

FileList.csv  VolumeTracings.csv  Videos/<uid>.avi      read like any other dataset
PhantomTruth/<uid>.npz                                  curves, masks and parameters of a clip
phantom.json                                            generator version, what was asked for
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from echoflow import __version__
from echoflow.data.manifest import Manifest, video_path, write_file_list, write_tracings
from echoflow.data.phantom.clip import PhantomClip, Truth
from echoflow.data.video import write_video
from echoflow.files import new_folder
from echoflow.types import InputError, Record, View

TRUTH = "PhantomTruth"
CARD = "phantom.json"


def write_dynamic(
    clips: Iterable[PhantomClip], root: str | Path, spec: Mapping[str, Any] | None = None
) -> Manifest:
    """Streams clips to a new dataset folder; nothing appears under `root` before all are written.

    `spec`, what the clips were asked to be (seed, cohort ...), goes into phantom.json. `InputError`
    if there are no clips, two have one name, or the folder cannot be written.
    """
    records: list[Record] = []
    extras: dict[str, dict[str, str]] = {}
    tracings: dict[str, dict[int, np.ndarray]] = {}
    with new_folder(root) as work:
        for each in clips:
            record = Record.of(each.clip, video_path(each.clip.uid))
            if record.uid in tracings:
                raise InputError(f"two phantom clips are called {record.uid}; each must differ.")
            _write_clip(each, record, work)
            records.append(record)
            extras[record.uid] = {"Cohort": str(each.truth.parameters.get("cohort", ""))}
            tracings[record.uid] = {
                frame: each.truth.tracing(frame) for frame in (each.truth.es, each.truth.ed)
            }
        if not records:
            raise InputError("there are no clips to write; ask for at least one.")
        write_file_list(work, records, extras)
        write_tracings(work, tracings)
        _write_card(work, records, spec or {})
    return Manifest(Path(root), tuple(records), extras, tracings)


def read_truth(path: str | Path) -> Truth:
    """The truth of a clip from its `PhantomTruth/<uid>.npz`, equal to what was written."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no phantom truth {path}; the phantom command writes it.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        facts = json.loads(str(values.pop("facts")))
        shape = values.pop("mask_shape")
        bits = np.unpackbits(values.pop("mask"), count=int(shape.prod()))
        facts["view"] = View.parse(facts["view"])
        return Truth(mask=bits.reshape(shape).astype(bool), **values, **facts)
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is not a phantom truth, or damaged: write it again.") from error


def truth_path(root: str | Path, uid: str) -> Path:
    """Where the truth of a clip lies."""
    return Path(root) / TRUTH / f"{uid}.npz"


def _write_clip(each: PhantomClip, record: Record, work: Path) -> None:
    path, truth = work / record.path, truth_path(work, record.uid)
    path.parent.mkdir(exist_ok=True)
    truth.parent.mkdir(exist_ok=True)
    write_video(path, each.clip.video, record.fps)
    np.savez_compressed(truth, allow_pickle=False, **_arrays(each.truth))


def _arrays(truth: Truth) -> dict[str, np.ndarray]:
    """Curves as they are, the mask as bits, everything else as one JSON text called `facts`."""
    values = {f.name: getattr(truth, f.name) for f in dataclasses.fields(truth)}
    mask = values.pop("mask")
    values["view"] = truth.view.name
    curves = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in values.items() if name not in curves}
    return {
        **curves,
        "mask": np.packbits(mask),
        "mask_shape": np.array(mask.shape),
        "facts": np.array(json.dumps(facts)),
    }


def _write_card(work: Path, records: list[Record], spec: Mapping[str, Any]) -> None:
    card = {
        "generator": "echoflow phantom",
        "version": __version__,
        "videos": len(records),
        "patients": len({record.patient for record in records}),
        "spec": dict(spec),
    }
    (work / CARD).write_text(json.dumps(card, indent=2) + "\n")
