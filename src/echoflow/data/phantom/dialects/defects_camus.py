"""What can be wrong in the layout of CAMUS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from echoflow.data.phantom.dialects.camus import LISTS, SPLITS, read_nifti, write_nifti
from echoflow.data.phantom.dialects.defects import Defect, Spoil
from echoflow.data.phantom.dialects.spoil import (
    edit_text,
    led_out,
    marked,
    of_files,
    removed,
    returned,
)
from echoflow.data.phantom.sidecar import Known

STAGES = ("ED", "ES", "half_sequence")


def _stem(known: Known) -> str:
    """Path of a view's files without what follows the view."""
    return known.record.path.removesuffix("_half_sequence.nii.gz")


def _facts(known: Known) -> str:
    folder, _, name = _stem(known).rpartition("/")
    return f"{folder}/Info_{name.rpartition('_')[2]}.cfg"


def _list(known: Known) -> str:
    return f"{SPLITS}/{LISTS[known.record.split]}"


def _fact(name: str, value: str | Callable[[Known], object]) -> Spoil:
    """Writes another value behind a name of the text file."""

    def spoil(root: Path, known: Known) -> str:
        new = value if isinstance(value, str) else str(value(known))

        def change(text: str) -> str:
            lines = text.splitlines()
            return "".join(
                f"{name}: {new}\n" if line.startswith(f"{name}:") else f"{line}\n" for line in lines
            )

        edit_text(root / _facts(known), change)
        return _facts(known)

    return spoil


def _spaced(root: Path, known: Known) -> str:
    line = f"{known.record.patient}\n"
    edit_text(root / _list(known), lambda text: text.replace(line, f"  {line.strip()} \n"))
    return _list(known)


def _in_no_list(root: Path, known: Known) -> str:
    edit_text(root / _list(known), lambda text: text.replace(f"{known.record.patient}\n", ""))
    return known.record.path


def _without_labels(*stages: str) -> Spoil:
    def spoil(root: Path, known: Known) -> str:
        for stage in stages:
            (root / f"{_stem(known)}_{stage}_gt.nii.gz").unlink()
        return known.record.path

    return spoil


def _foreign_label(root: Path, known: Known) -> str:
    """Every cavity pixel at end-diastole gets a value that the layout has not."""
    path = f"{_stem(known)}_ED_gt.nii.gz"
    array, spacing = read_nifti(root / path)
    write_nifti(root / path, np.where(array == 1, 7, array).astype(np.uint8), spacing)
    return path


def _backwards(root: Path, known: Known) -> str:
    """The sequence runs from end-systole to end-diastole, and the text file says so."""
    for suffix in ("", "_gt"):
        path = root / f"{_stem(known)}_half_sequence{suffix}.nii.gz"
        array, spacing = read_nifti(path)
        write_nifti(path, array[::-1], spacing)
    _fact("ED", lambda known: known.record.frames)(root, known)
    _fact("ES", "1")(root, known)
    return known.record.path


def _in_two_lists(root: Path, known: Known) -> str:
    """The patient is in the last list too, or, if he was there before, in the first."""
    first, *_, last = (f"{SPLITS}/{name}" for name in LISTS.values())
    path = root / (first if _list(known) == last else last)
    text = path.read_text() if path.exists() else ""
    path.write_text(f"{text}{known.record.patient}\n")
    return last


CAMUS = (
    *of_files(noise="unreadable"),
    Defect("missing-video", "there is no half sequence", removed, True),
    Defect("outside-root", "a link that leads out of the folder", led_out, True),
    Defect("repeated-name", "a patient in two lists", _in_two_lists, True, together=True),
    Defect("bad-split", "a patient in no list", _in_no_list, True, together=True),
    Defect("bad-cell", "an EF that is no number", _fact("EF", "n/a"), True),
    Defect("bad-ef", "an EF as a fraction", _fact("EF", "0.55"), True),
    Defect("reversed", "a sequence from end-systole to end-diastole", _backwards),
    Defect("bad-labels", "a label that the layout has not", _foreign_label),
    Defect("no-tracing", "no label maps", _without_labels(*STAGES)),
    Defect("one-tracing", "end-systole is not labelled", _without_labels("ES", "half_sequence")),
    Defect("frame-count", "more frames than the sequence has", _fact("NbFrame", "99")),
    Defect(
        "frame-out-of-range",
        "end-systole after the last frame",
        _fact("ES", lambda known: known.record.frames + 3),
    ),
    Defect("spaces", "spaces around a patient", _spaced, together=True),
    Defect("byte-order-mark", "in a list", marked(_list), whole=True),
    Defect("line-ends", "CRLF in a text file", returned(_facts), whole=True),
)
