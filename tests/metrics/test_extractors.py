"""The registry of published networks: where files are looked for, and what is said of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from echoflow.metrics.extractors import PUBLISHED, VARIABLE, Scripted, find, tensors
from echoflow.types import InputError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of this machine's."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, file: None)


def known(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """`path` becomes the file of the network called `name`."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], sha256=digest))


class Brightness(nn.Module):
    """Stands for a published TorchScript network: the its brightness, in `width` numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        assert return_features
        assert x.dtype == torch.uint8
        return x.float().flatten(1).mean(1)[:, None].repeat(1, self.width)


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_are_whole_and_absence_is_one_sentence(name: str) -> None:
    row = PUBLISHED[name]
    assert len(row.sha256) in ((64,) if row.call else (8, 64))  # TorchScript brings code along
    assert set(row.sha256) <= set("0123456789abcdef")
    with pytest.raises(InputError) as caught:
        find(name)
    sentence = str(caught.value)
    for part in (row.file, row.sha256[:16], row.licence, row.source, VARIABLE):
        assert part in sentence


def test_places_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PUBLISHED["vgg16"].file
    hub = tmp_path / "cache" / "torch" / "hub" / "checkpoints"
    for folder in (hub, tmp_path / "mine", tmp_path / "given"):
        folder.mkdir(parents=True)
        (folder / file).write_bytes(b"weights")
    known(monkeypatch, "vgg16", hub / file)
    assert find("vgg16") == hub / file
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert find("vgg16") == tmp_path / "mine" / file
    assert find("vgg16", tmp_path / "given") == tmp_path / "given" / file


def test_the_cache_of_stylegan_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "dnnlib" / "downloads" / f"0a1b_{PUBLISHED['inception'].file}"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    known(monkeypatch, "inception", path)
    assert find("inception") == path


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / PUBLISHED["i3d"].file).write_bytes(b"something else")
    with pytest.raises(
        InputError, match=r"another file than .* begins with .*, not bec6519f66ea534e"
    ):
        Scripted("i3d", tmp_path)


def test_scripted_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / PUBLISHED["inception"].file
    torch.jit.script(Brightness(2048)).save(str(path))
    known(monkeypatch, "inception", path)
    videos = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    net = Scripted("inception", tmp_path)
    np.testing.assert_allclose(net(videos)[:, 7], videos.reshape(6, 4).mean(axis=1))
    assert net.identity.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    torch.jit.script(Brightness(10)).save(str(path))
    known(monkeypatch, "inception", path)
    with pytest.raises(InputError, match=r"shape \(6, 10\); it should give 2048"):
        Scripted("inception", tmp_path)(videos)


def test_tensors_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / PUBLISHED["vgg16"].file
    torch.save({"a": torch.ones(2)}, path)
    known(monkeypatch, "vgg16", path)
    assert tensors("vgg16", tmp_path)["a"].sum() == 2
    with pytest.raises(InputError, match="TorchScript"):
        tensors("i3d", tmp_path)
    with pytest.raises(InputError, match="no TorchScript network; those are inception, i3d"):
        Scripted("vgg16", tmp_path)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="Did you mean inception"):
        find("inceptoin")
