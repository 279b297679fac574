"""Values as people type them on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from echoflow.data.video import WRITABLE
from echoflow.types import INFERENCE, Inference, InputError, Split, View, check_ef, choose


def names(text: str) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(word.strip() for word in text.split(","))


def views(text: str) -> tuple[View, ...]:
    """`A4C`, `A4C,PLAX` or `all`, in the order given and without repeats."""
    if text.lower() == "all":
        return tuple(View)
    return tuple(dict.fromkeys(View.parse(name) for name in names(text)))


def ef_range(text: str) -> tuple[float, float]:
    """`15:75` or one number, in percent: the lowest and the highest ejection fraction."""
    try:
        low, colon, high = text.partition(":")
        bounds = check_ef(float(low)), check_ef(float(high if colon else low))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"--ef must be a percentage or a range of two such as 15:75; got {text!r}."
        ) from error
    if bounds[0] > bounds[1]:
        raise InputError(f"--ef must go from low to high; got {text}. Swap the two numbers.")
    return bounds


def check_split(name: str | None) -> Split | None:
    """A split in any case; None for all."""
    return None if name is None else Split(choose(name.upper(), list(Split), "split"))


def efs(text: str) -> tuple[float, ...]:
    """`20,45,70`: ejection fractions in percent."""
    try:
        values = [float(word) for word in names(text)]
    except ValueError as error:
        raise InputError(f"--ef must be percentages such as 20,45,70; got {text!r}.") from error
    return tuple(map(check_ef, values))


def refuse_given(options: Mapping[str, object], purpose: str) -> None:
    """`InputError` for options that were given and would have no effect here; None is not given."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(
            f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} {purpose}; leave "
            f"{'it' if len(given) == 1 else 'them'} out."
        )


def video_path(path: Path, option: str = "--out") -> Path:
    """`path`, which an option gives, if its suffix is one of a video that can be written."""
    choose(path.suffix.lower(), WRITABLE, f"suffix of {option}")
    return path


def check_inference(name: str) -> Inference:
    """`name` if generative networks can compute that way."""
    choose(name, INFERENCE, "inference setting")
    return cast(Inference, name)


def check_device(name: str) -> str:
    """`name` if torch has such a device here."""
    if name == "cpu":
        return name
    import torch

    there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if len(there) > 1:
        there.insert(1, "cuda")
    return choose(name, there, "device")
