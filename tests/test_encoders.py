"""Published networks of tensors: strictly filled, prepared as published, absent in one sentence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow import encoders
from echoflow.distances import EXTRACTORS, extractor
from echoflow.encoders import TRUNKS, Row, trunk, untrained
from echoflow.metrics.extractors import PUBLISHED, VARIABLE
from echoflow.metrics.features import FeatureExtractor, extracted
from echoflow.networks.vit import ViT, ViTConfig
from echoflow.types import InputError

TINY = ViTConfig(patch=14, width=8, depth=1, heads=2, grid=3)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of this machine's."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCH_HOME", raising=False)


def publish(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, weights: dict, features: int
) -> None:
    """The file of `name` in `folder` becomes the published one."""
    path = folder / PUBLISHED[name].file
    torch.save(weights, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = replace(PUBLISHED[name], sha256=digest, features=features)
    monkeypatch.setitem(PUBLISHED, name, row)


def tiny(monkeypatch: pytest.MonkeyPatch) -> ViT:
    torch.manual_seed(0)
    rows = {**TRUNKS, "dinov2": Row(lambda: ViT(TINY), TRUNKS["dinov2"].prepare, 16)}
    monkeypatch.setattr(encoders, "TRUNKS", rows)
    return ViT(TINY)


@pytest.mark.parametrize("name", TRUNKS)
def test_absent_files_are_told_in_one_sentence(name: str) -> None:
    assert name in EXTRACTORS
    with pytest.raises(InputError) as caught:
        extractor(name)
    assert PUBLISHED[name].file in str(caught.value)
    assert VARIABLE in str(caught.value)


def test_a_file_is_found_filled_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny(monkeypatch)
    publish(monkeypatch, tmp_path, "dinov2", net.state_dict(), 8)
    network: FeatureExtractor = trunk("dinov2")
    videos = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 40), np.uint8)
    found = extracted(network, videos)
    assert found.values.shape == (6, 8)
    assert found.extractor.name == "dinov2"
    with torch.no_grad():
        one = net.eval()(TRUNKS["dinov2"].prepare(torch.from_numpy(videos[1:, 2:3]).float()))
    assert np.allclose(found.values[5], one[0].numpy(), atol=1e-5)


def test_a_file_of_another_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tiny(monkeypatch).state_dict()
    del weights["norm.bias"]
    publish(monkeypatch, tmp_path, "dinov2", {**weights, "head.weight": torch.ones(1)}, 8)
    with pytest.raises(InputError, match=r"lacks norm\.bias and has unknown head\.weight"):
        trunk("dinov2")
    publish(monkeypatch, tmp_path, "dinov2", {**weights, "norm.bias": torch.full((8,), np.nan)}, 8)
    with pytest.raises(InputError, match="not finite"):
        trunk("dinov2")


def test_without_weights_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch)
    monkeypatch.setitem(PUBLISHED, "dinov2", replace(PUBLISHED["dinov2"], features=8))
    network = untrained("dinov2")
    assert network(np.zeros((1, 2, 30, 30), np.uint8)).shape == (2, 8)
    assert "no measure of quality" in network.identity.caveat
    assert network.frames == 16


def test_videos_are_prepared_as_published() -> None:
    grey = torch.full((2, 40, 56, 56), 128.0)
    pictures = TRUNKS["dinov2"].prepare(grey[:, :3])
    assert pictures.shape == (6, 3, 224, 224)
    assert pictures[0, 0, 9, 9] == pytest.approx((128 / 255 - 0.485) / 0.229, abs=1e-4)
    clips = TRUNKS["r2plus1d"].prepare(grey[:, :16])
    assert clips.shape == (2, 3, 16, 112, 112)
    assert clips[0, 2, 3, 9, 9] == pytest.approx((128 / 255 - 0.37645) / 0.216989, abs=1e-4)
    echo = TRUNKS["echoprime"].prepare(grey[:1])
    assert echo.shape == (1, 3, 16, 224, 224)
    assert echo[0, 1, 15, 9, 9] == pytest.approx((128 - 28.076836) / 46.456997, abs=1e-4)
    grey[:, 1] = 0
    assert torch.equal(TRUNKS["echoprime"].prepare(grey[:1]), echo)  # every other frame
    short = TRUNKS["echoprime"].prepare(grey[:1, :20])
    assert torch.equal(short[:, :, 10:], torch.zeros(1, 3, 6, 224, 224))
    assert torch.equal(short[:, :, :10], echo[:, :, :10])


def test_counters_of_batches_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(monkeypatch)
    normed = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.LazyLinear(8), torch.nn.BatchNorm1d(8)
    )
    normed(torch.zeros(2, 3, 224, 224))
    row = Row(lambda: normed, TRUNKS["dinov2"].prepare, 16)
    monkeypatch.setattr(encoders, "TRUNKS", {**TRUNKS, "dinov2": row})
    old = {k: v for k, v in normed.state_dict().items() if "num_batches" not in k}
    publish(monkeypatch, tmp_path, "dinov2", old, 8)
    assert trunk("dinov2")(np.zeros((1, 2, 9, 9), np.uint8)).shape == (2, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r2plus1d", "echoprime", "inception-fidelity"])
def test_torchvision_trunks_give_their_features(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weights = TRUNKS[name].build().state_dict()
    publish(monkeypatch, tmp_path, name, weights, PUBLISHED[name].features)
    network = trunk(name)
    videos = np.random.default_rng(0).integers(0, 256, (1, network.frames, 64, 64), np.uint8)
    rows = 1 if name != "inception-fidelity" else trunk(name).frames
    assert network(videos).shape == (rows, PUBLISHED[name].features)
