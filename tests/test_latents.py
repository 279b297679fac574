"""Normalisation and its inverse; encoding and decoding one sample at a time."""

import pytest
import torch

from echoflow.latents import LatentSpace, LatentStats, Moments
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.types import InputError


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    torch.manual_seed(0)
    avae = zoo.build(AVAEConfig(2, (8, 16, 16), 1, 8, False, 1)).eval()
    return LatentSpace(avae, LatentStats(torch.tensor([1.0, -9.0]), torch.tensor([6.0, 12.0])))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 2, 5, 5), (3, 2, 4, 5, 5)])
def test_restore_inverts_normalise(space: LatentSpace, shape: tuple[int, ...]) -> None:
    z = torch.randn(shape)
    assert torch.allclose(space.stats.restore(space.stats.normalise(z)), z, atol=1e-6)


def test_normalise_is_per_channel(space: LatentSpace) -> None:
    z = torch.tensor([1.0, -9.0])[None, :, None, None].expand(1, 2, 3, 3)
    assert space.stats.normalise(z).abs().max() == 0


def test_draw_is_the_mean_without_noise(space: LatentSpace) -> None:
    moments = Moments(torch.randn(1, 2, 3, 3), torch.rand(1, 2, 3, 3))
    assert torch.equal(moments.draw(), moments.mean)
    noise = torch.randn(1, 2, 3, 3)
    assert torch.equal(moments.draw(noise), moments.mean + moments.std * noise)


def test_a_sample_has_the_same_bits_alone_and_in_a_batch(space: LatentSpace) -> None:
    z = torch.randn(8, 2, 3, 28, 28)
    together = space.decode(z)
    assert together.shape == (8, 3, 112, 112)
    assert torch.equal(together[5:6], space.decode(z[5:6]))
    images = space.decode(z[:, :, 0])
    assert torch.equal(images[2:3], space.decode(z[2:3, :, 0]))


def test_encode_gives_moments(space: LatentSpace) -> None:
    moments = space.encode(torch.zeros(2, 112, 112))
    assert moments.mean.shape == moments.std.shape == (2, 2, 28, 28)
    assert (moments.std > 0).all()


def test_refusals(space: LatentSpace) -> None:
    with pytest.raises(InputError, match=r"decode takes \(b, 2, h, w\)"):
        space.decode(torch.zeros(1, 3, 28, 28))
    with pytest.raises(InputError, match="encode takes grey frames"):
        space.encode(torch.zeros(2, 3, 112, 112))
    with pytest.raises(InputError, match="finite with positive std"):
        LatentStats(torch.zeros(2), torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match=r"mean \(c,\) and std \(c,\)"):
        LatentStats(torch.zeros(2), torch.ones(3))
