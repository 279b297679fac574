"""A folder or a hub id to a folder on this machine.

A folder that exists wins. A hub id `owner/name` is looked up in the cache of huggingface_hub, and
downloaded where the network allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from echoflow.types import InputError

Kind = Literal["model", "space"]
FILES = ("*.json", "*.yaml", "*.safetensors", "*.pt", "*.bin", "*.md")
SITE = "https://huggingface.co"


def find(source: str | Path, subfolder: str | None = None) -> Path:
    """The folder that `source` (and `subfolder` in it) names: local, cached, or downloaded now.

    `InputError` in one sentence: no such folder and no hub id, no such subfolder, or neither in
    the cache nor to be had from the network.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _inside(folder, subfolder)
    if folder.exists():
        raise InputError(f"{source} is a file; give the folder that it lies in.")
    repo = hub_id(source)
    cached = _cached(repo)
    if cached is not None and (cached / (subfolder or "")).is_dir():
        return cached / (subfolder or "")
    inside = f"{subfolder}/" if subfolder else ""
    wanted = [inside + name for name in FILES]
    folder = _downloaded(repo, wanted, subfolder) / (subfolder or "")
    if not folder.is_dir():  # without a network, what is cached of the repository comes back
        raise InputError(_unreachable(repo, subfolder))
    return folder


def find_assets(source: str | Path) -> Path | None:
    """The demo Space of the same hub id, where released tables (*.pt) lie; None for a local folder.

    None also when the Space is neither cached nor to be had: the caller says what it misses.
    """
    if Path(source).expanduser().exists():
        return None
    repo = hub_id(source)
    found = _cached(repo, "space")
    if found is not None and any(found.rglob("*.pt")):
        return found
    try:
        return _downloaded(repo, ["*.pt"], None, "space")
    except InputError:
        return found


def hub_id(source: str | Path) -> str:
    """`source` if it has the form `owner/name`, else an `InputError`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    text = str(source)
    try:
        validate_repo_id(text)
        if text.count("/") == 1:
            return text
    except HFValidationError:
        pass  # told below, together with the other reason
    hint = ""
    if text.startswith(f"{SITE}/"):
        hint = f" Give {text.removeprefix(SITE + '/')} instead of the address."
    elif text.count("/") > 1 and not text.startswith((".", "/", "~")):
        owner, name, rest = text.split("/", 2)
        hint = f" A folder of a hub repository is given as {owner}/{name} with subfolder {rest}."
    raise InputError(
        f"there is no folder {text}, and it is no hub id of the form owner/name.{hint}"
    )


def _inside(folder: Path, subfolder: str | None) -> Path:
    if subfolder is None or (folder / subfolder).is_dir():
        return folder / (subfolder or "")
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    raise InputError(
        f"{folder} has no folder {subfolder}; it has {', '.join(there) or 'no folders'}."
    )


def _cached(repo: str, kind: Kind = "model") -> Path | None:
    """The newest snapshot in the cache, whole or in part."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, repo_type=kind, local_files_only=True))
    except LocalEntryNotFoundError as error:
        partly = getattr(error, "snapshot_path", None)  # newer versions tell a part from nothing
        return Path(partly) if partly else None


def _downloaded(repo: str, wanted: list[str], subfolder: str | None, kind: Kind = "model") -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repo, repo_type=kind, allow_patterns=wanted))
    except GatedRepoError as error:
        raise InputError(
            f"{repo} asks for its terms to be accepted: do so at {SITE}/{repo}, then log in with "
            "`hf auth login`."
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no {repo}, or it is private; check the name, or log in with "
            "`hf auth login`."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(_unreachable(repo, subfolder)) from error


def _unreachable(repo: str, subfolder: str | None) -> str:
    """What to fetch elsewhere and where to put it."""
    name = repo.split("/")[1]
    if subfolder is None:
        lack = f"{repo} is not on this machine and the hub cannot be reached"
        what, option, place = f"{SITE}/{repo}", "", name
    else:
        lack = f"{subfolder} of {repo} is not on this machine and not to be had from the hub now"
        what = f"{SITE}/{repo}/tree/main/{subfolder}"
        option, place = f' --include "{subfolder}/*"', f"{name}/{subfolder}"
    return (
        f"{lack}: download {what} elsewhere "
        f"(`hf download {repo}{option} --local-dir {name}`), put it into a folder here, such as "
        f"{place}, and give the folder {name} instead of the hub id."
    )
