"""The torchvision judges: shapes, normalisation, starting from files, refusals."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from echoflow.networks.trunks import (
    DeepLab,
    DeepLabConfig,
    R2Plus1D,
    R2Plus1DConfig,
    ReId18,
    ReId18Config,
    start_from,
)
from echoflow.types import InputError

TINY = ReId18Config(channels=4, features=16, width=8)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def reid(config: ReId18Config = TINY) -> ReId18:
    torch.manual_seed(0)
    return ReId18(config).eval()


@torch.no_grad()
def test_features_are_the_sigmoid_of_the_logits() -> None:
    net, z = reid(), noise(3, 4, 14, 14)
    assert net(z).shape == (3, 16)
    assert torch.equal(net(z), torch.sigmoid(net.logits(z)))
    assert net.match(net(z), net(z).flip(0)).shape == (3,)


@torch.no_grad()
def test_the_released_form_is_the_trunk_alone() -> None:
    net, z = reid(), noise(1, 4, 14, 14)
    bare = net.released()
    assert torch.equal(bare(z), net(z))
    assert {key.split(".")[0] for key in bare.state_dict()} == {"trunk"}
    with pytest.raises(InputError, match="no pair head"):
        bare.match(bare(z), bare(z))


def test_real_width_is_torchvisions_resnet18() -> None:
    from torchvision.models import resnet18

    with torch.device("meta"):
        theirs, ours = resnet18(), ReId18(ReId18Config(4, 1000)).trunk
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {**shapes, "conv1.weight": (64, 4, 7, 7)} == {
        key: value.shape for key, value in ours.state_dict().items()
    }


@torch.no_grad()
def test_untrained_regressor_answers_the_mean() -> None:
    net = R2Plus1D(R2Plus1DConfig()).eval()
    torch.nn.init.zeros_(net.trunk.fc.weight)
    clip = noise(2, 4, 16, 16).clamp(-1, 1)
    torch.testing.assert_close(net(clip), torch.full((2,), 55.6))
    with pytest.raises(InputError, match=r"clips \(b, t, h, w\); got \(2, 1, 4, 16, 16\)"):
        net(clip[:, None])


def test_pixels_are_normalised_per_channel() -> None:
    """A clip of constant grey level 82.5 reaches the trunk as (82.5 - mean) / std."""
    net = R2Plus1D(R2Plus1DConfig(mean=(32.5, 42.5, 82.5), std=(50.0, 20.0, 10.0))).eval()
    seen: list[Tensor] = []
    net.trunk.stem.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(torch.full((1, 2, 16, 16), 82.5 / 128 - 1))
    assert seen[0].shape == (1, 3, 2, 16, 16)
    torch.testing.assert_close(seen[0].mean((0, 2, 3, 4)), torch.tensor([1.0, 2.0, 0.0]))
    with pytest.raises(InputError, match="3 numbers each, std above 0"):
        DeepLab(DeepLabConfig(std=(1.0, 1.0, 0.0)))


@torch.no_grad()
def test_segmenter_gives_a_logit_per_pixel() -> None:
    net = DeepLab(DeepLabConfig()).eval()
    assert net(noise(2, 32, 24)).shape == (2, 32, 24)
    with pytest.raises(InputError, match=r"\(b, h, w\); got \(2, 1, 32, 24\)"):
        net(noise(2, 1, 32, 24))


def torchvision_file(path: Path) -> dict[str, Tensor]:
    """A file as torchvision publishes it: three colours, a thousand classes."""
    torch.manual_seed(3)
    from torchvision.models import resnet18

    tensors = resnet18(weights=None).state_dict()
    torch.save(tensors, path)
    return tensors


def test_start_from_a_torchvision_file(tmp_path: Path) -> None:
    theirs = torchvision_file(tmp_path / "resnet18.pth")
    net = ReId18(ReId18Config(4, 16))
    stem = net.trunk.conv1.weight.clone()
    start_from(net, tmp_path / "resnet18.pth")
    key = "layer1.0.conv1.weight"
    assert torch.equal(net.trunk.state_dict()[key], theirs[key])
    assert torch.equal(net.trunk.conv1.weight, stem)


def test_start_from_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights at"):
        start_from(reid(), tmp_path / "nothing.pth")
    torchvision_file(tmp_path / "resnet18.pth")
    words = r"bn1.bias \(64,\) for \(8,\)"
    with pytest.raises(InputError, match=words):
        start_from(reid(), tmp_path / "resnet18.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "resnet18.pth").read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as a file of tensors"):
        start_from(reid(), tmp_path / "half.pth")
    (tmp_path / "program.pth").write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(InputError, match="cannot be read as a file of tensors"):
        start_from(reid(), tmp_path / "program.pth")


def test_wrong_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(b, 4, h, w\); got \(1, 3, 14, 14\)"):
        reid()(noise(1, 3, 14, 14))
