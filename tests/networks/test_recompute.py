"""Blocks that compute twice give the same gradients from fewer tensors kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.heads import ReIdConfig
from echoflow.networks.recompute import recompute
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.networks.unet3d_labels import LabelUNet3DConfig
from echoflow.types import InputError

ST, DOWN = "SpatioTemporal", "DownBlock"
IMAGE: dict[str, Any] = {
    "FMiT": FMiTConfig(2, 8, 4, 32, 3, 2),
    "FMiTv1": FMiTv1Config(2, 8, 4, 32, 3, 2),
    "UNet": UNetConfig(
        2,
        8,
        (8, 16),
        1,
        groups=4,
        down_block_types=("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D"),
    ),
}
VIDEO: dict[str, Any] = {
    "FMvT": FMvTConfig(2, 8, 4, (2, 4, 4), 32, 3, 2),
    "FMvTv1": FMvTv1Config(2, (8, 8), 4, (1, 4, 4), 32, 3, 2),
    "STUNet": STUNetConfig(
        2,
        8,
        4,
        (32, 64),
        (2, 4),
        1,
        down_block_types=(f"CrossAttn{DOWN}{ST}", f"{DOWN}{ST}"),
        up_block_types=(f"UpBlock{ST}", f"CrossAttnUpBlock{ST}"),
    ),
    "LabelUNet3D": LabelUNet3DConfig(2, 8, 4, 8, (1, 2), 2, 2, 8, 4, 3),
    "UNet3D": UNet3DConfig(2, 8, 4, 8, (1, 2), (1, 1), (False, True), heads=2, head=8, groups=4),
}
CONFIGS = {**IMAGE, **VIDEO, "A-VAE": AVAEConfig(2, (8, 16), 1, 4, True, 1)}


def awake(net: nn.Module) -> nn.Module:
    """The network in training, its zero-initialised layers random, so that all gradients flow."""
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)
    return net.train()


def asked(name: str, net: Any) -> Callable[[], Tensor]:
    """A forward pass of the network, the same every time."""
    rng = torch.Generator().manual_seed(2)
    if name == "A-VAE":
        x = torch.randn(2, 1, 16, 16, generator=rng)
        return lambda: net.decode(net.encode(x).latent_dist.mean).sample
    x = torch.randn(2, 2, *((4,) if name in VIDEO else ()), 8, 8, generator=rng)
    t, ef, view = torch.tensor([0.2, 0.8]), torch.tensor([30.0, 60.0]), torch.tensor([0, 2])
    mask = (torch.rand(2, 1, 8, 8, generator=rng) > 0.5).float()
    frame = torch.randn(2, 2, 8, 8, generator=rng)
    image, video = Condition(view=view, mask=mask), Condition(ef=ef, frame=frame)
    if name == "LabelUNet3D":
        return lambda: net(x, t, Condition(mask=mask))
    return lambda: net(x, t, video if name in VIDEO else image)


def backward(make: Callable[[], Tensor]) -> int:
    """One backward pass; returns how many numbers the graph kept for it."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = make()
        size = sum(kept.values())
    out.square().mean().backward()
    return size


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_equal_and_less_is_kept(name: str) -> None:
    torch.manual_seed(0)
    net = awake(zoo.build(CONFIGS[name]))
    make = asked(name, net)
    much = backward(make)
    plain = {key: p.grad for key, p in net.named_parameters()}
    names = list(net.state_dict())
    net.zero_grad()
    assert recompute(net)
    little = backward(make)
    assert little < 0.6 * much
    assert list(net.state_dict()) == names
    assert sum(p.grad is not None for p in net.parameters()) > 10
    for key, p in net.named_parameters():
        torch.testing.assert_close(p.grad, plain[key], atol=0, rtol=0)


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="ReId has no blocks to compute again"):
        recompute(zoo.build(ReIdConfig(4, 16, 2)))
