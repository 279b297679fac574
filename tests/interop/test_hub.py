"""A folder or a hub id to a folder: a cache on disk as huggingface_hub makes it, and no network."""

from pathlib import Path

import pytest

from echoflow.interop import hub
from echoflow.types import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that nobody reaches."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def cached(cache: Path, repo: str, *files: str, kind: str = "models") -> Path:
    """A snapshot in the layout of the cache: refs/main names a folder under snapshots."""
    place = cache / f"{kind}--{repo.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    for name in files:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_text("{}")
    return snapshot


def test_a_local_folder_wins(cache: Path, tmp_path: Path) -> None:
    cached(cache, "owner/name", "config.json")
    (tmp_path / "owner" / "name" / "vae").mkdir(parents=True)
    assert hub.find("owner/name") == Path("owner/name")
    assert hub.find("owner/name", "vae") == Path("owner/name/vae")


def test_the_cache_is_found_without_a_network(cache: Path) -> None:
    snapshot = cached(cache, "owner/name", "lvfm/small/config.json")
    assert hub.find("owner/name") == snapshot
    assert hub.find("owner/name", "lvfm/small") == snapshot / "lvfm" / "small"


def test_assets_come_from_the_space_of_the_same_name(cache: Path, tmp_path: Path) -> None:
    assert hub.find_assets("owner/name") is None
    space = cached(cache, "owner/name", "assets/scaling.pt", kind="spaces")
    assert hub.find_assets("owner/name") == space
    assert hub.find_assets(tmp_path) is None


@pytest.mark.parametrize(
    ("subfolder", "says"),
    [
        (None, ["owner/name is not on this machine", "https://huggingface.co/owner/name"]),
        ("lvfm/S", ["tree/main/lvfm/S", "name/lvfm/S", '--include "lvfm/S/*"']),
    ],
)
def test_no_network_says_what_to_fetch_and_where_to_put_it(
    subfolder: str | None, says: list[str], cache: Path
) -> None:
    with pytest.raises(InputError) as refusal:
        hub.find("owner/name", subfolder)
    assert all(words in str(refusal.value) for words in says)
    assert str(refusal.value).count(". ") == 0, "one sentence"


def test_a_part_of_a_repository_in_the_cache_is_not_the_whole(cache: Path) -> None:
    cached(cache, "owner/name", "vae/config.json")
    with pytest.raises(InputError, match="tree/main/lvfm/S"):
        hub.find("owner/name", "lvfm/S")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere", "no hub id of the form owner/name"),
        ("./nowhere/at/all", "there is no folder"),
        ("owner/na me", "no hub id"),
        ("owner/name/lvfm/S", "given as owner/name with subfolder lvfm/S"),
        ("https://huggingface.co/owner/name", "Give owner/name instead of the address"),
        ("../up", "no hub id"),
        ("", "no hub id"),
    ],
)
def test_what_is_neither_folder_nor_id(source: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        hub.find(source) if source else hub.hub_id(source)


def test_a_file_or_a_missing_subfolder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; give the folder"):
        hub.find(tmp_path / "file")
    (tmp_path / "lvfm").mkdir()
    with pytest.raises(InputError, match="has no folder lvfmm; it has lvfm"):
        hub.find(tmp_path, "lvfmm")
