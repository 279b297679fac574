"""Medical files read as videos: which ones there are, and what they need to be installed.

`nifti`, `dicom` and `dicom_pixels` do the reading. Their packages come with the extra `medical`.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from echoflow.data.luma import Gray
from echoflow.types import InputError

Format = Literal["nifti", "dicom"]

NIFTI = (".nii", ".nii.gz")
DICOM = (".dcm", ".dicom")
MEDICAL = NIFTI + DICOM
LARGEST = 1 << 30  # bytes of pixels in one file; what claims to hold more is damaged, or hostile
_PREAMBLE, _MAGIC = 128, b"DICM"


def medical_format(path: str | Path) -> Format | None:
    """NIfTI by its suffix, DICOM by its suffix or, since many have none, by its first bytes."""
    path = Path(path)
    name = path.name.lower()
    if name.endswith(NIFTI):
        return "nifti"
    if name.endswith(DICOM) or _is_dicom(path):
        return "dicom"
    return None


def read_medical(path: Path, gray: Gray) -> tuple[np.ndarray, float]:
    """Frames uint8 (t, h, w), or (t, h, w, 3) for "keep", and frames per second.

    A file that does not say its rate reports `video.STILL_FPS`.
    """
    from echoflow.data import dicom_pixels, nifti

    if medical_format(path) == "dicom":
        return dicom_pixels.read_pictures(path, gray)
    video, fps = nifti.read_pictures(path)
    return (np.repeat(video[..., None], 3, axis=-1) if gray == "keep" else video), fps


def probe_medical(path: Path) -> tuple[int, int, int, float]:
    """Frames, height, width and frames per second by the header alone."""
    from echoflow.data import dicom, nifti

    held = dicom.describe(path) if medical_format(path) == "dicom" else nifti.describe(path)
    return held.frames, held.height, held.width, held.fps or 1.0


def package(name: str) -> Any:
    """A package of the extra `medical`; `InputError` says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"{name} is needed for this file and not installed; in the folder of this program, "
            'pip install -e ".[medical]" installs it.'
        ) from None


@contextmanager
def parsing(path: Path, logger: logging.Logger) -> Iterator[None]:
    """Whatever a foreign parser raises on a damaged file, told as one `InputError`.

    Its own words, its warnings and its log are left out: they may quote the file, and a file may
    name a patient.
    """
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except EOFError:
        raise InputError(f"{path} is damaged or truncated; copy it again.") from None
    except Exception as error:  # parsers of hostile bytes raise anything
        kind = type(error).__name__
        raise InputError(f"{path} cannot be read ({kind}); copy it again.") from None
    finally:
        logger.disabled = before


def refuse_huge(path: Path, frames: int, *sizes: int) -> None:
    """`InputError` unless frames times sizes are a plausible number of bytes."""
    if min(frames, *sizes) < 1:
        raise InputError(f"{path} holds no frames; give a video with at least one.")
    claimed = int(np.prod([frames, *sizes], dtype=object))
    if claimed > LARGEST:
        raise InputError(
            f"{path} claims {frames:,} frames and {claimed / 1e9:,.1f} GB of pixels; "
            f"{LARGEST / 1e9:.1f} GB are the most that is read. Cut it into shorter videos."
        )


def _is_dicom(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False
