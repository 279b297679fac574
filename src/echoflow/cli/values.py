"""Values as people type them on the command line."""

from __future__ import annotations

from pathlib import Path

from echoflow.types import InputError, View, check_ef

VIDEO_SUFFIXES = (".mp4", ".gif", ".avi")


def views(text: str) -> tuple[View, ...]:
    """`A4C`, `A4C,PLAX` or `all`, in the order given and without repeats."""
    if text.lower() == "all":
        return tuple(View)
    return tuple(dict.fromkeys(View.parse(name.strip()) for name in text.split(",")))


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


def video_path(path: Path) -> Path:
    """`path` if its suffix is one of a video that can be written."""
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(
            f"--out must end in {', '.join(VIDEO_SUFFIXES)}; got {path.name!r}. Change the suffix."
        )
    return path


def overrides(words: list[str]) -> dict[str, str]:
    """`key.sub=value` words as a table, in the order given."""
    pairs = [word.partition("=") for word in words]
    wrong = [key for key, equals, _ in pairs if not (key and equals)]
    if wrong:
        raise InputError(f"a setting is written key=value; got {wrong[0]!r}.")
    return {key: value for key, _, value in pairs}
