"""What a GPU computes is what a CPU computes: `make test-gpu`, on a machine that has one.

With ECHOFLOW_TEST_DEVICE=cpu the same tests can be rehearsed without; CUDA graphs stay out then.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from echoflow.condition import Condition
from echoflow.latents import LatentSpace, LatentStats
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig, build_avae
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.inference import for_inference
from echoflow.networks.layers import attend
from echoflow.networks.replayed import Replayed
from echoflow.networks.trunks import R2Plus1DConfig, ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.process import RectifiedFlow
from echoflow.sampling import SamplingPlan, noise_like, sample

DEVICE = torch.device(os.environ.get("ECHOFLOW_TEST_DEVICE", "cuda"))
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="there is no GPU here"
    ),
]

B, C, T, S = 3, 4, 8, 16
NETWORKS: dict[str, Any] = {
    "FMiT": FMiTConfig(C, S, 4, 64, 2, 4),
    "FMvT": FMvTConfig(C, S, T, (2, 4, 4), 64, 2, 4, preconditioned=True),
    "FMiT v1": FMiTv1Config(C, S, 4, 64, 2, 4),
    "FMvT v1": FMvTv1Config(C, (S, S), T, (2, 4, 4), 64, 2, 4),
    "UNet": UNetConfig(
        C, S, widths=(32, 64), layers=1, groups=8,
        down_block_types=("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D"),
    ),
    "STUNet": STUNetConfig(
        C, S, T, widths=(32, 64), heads=(2, 4), layers=1,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    ),
    "UNet3D": UNet3DConfig(1, S, T, 16, (1, 2), (1, 1), (False, True), heads=2, head=8, groups=4),
}  # fmt: skip
TRANSFORMERS = [name for name in NETWORKS if name.startswith("FM")]
IMAGES = ("FMiT", "FMiT v1", "UNet")


@pytest.fixture(autouse=True)
def whole_products() -> Iterator[None]:
    """Float32 products without TensorFloat-32, which would hide what is looked for."""
    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [part.allow_tf32 for part in settings]
    for part in settings:
        part.allow_tf32 = False
    yield
    for part, value in zip(settings, before, strict=True):
        part.allow_tf32 = value


def built(name: str) -> Any:
    torch.manual_seed(0)
    net = zoo.build(NETWORKS[name])
    for p in net.parameters():
        nn.init.normal_(p, std=0.02 if p.ndim < 2 else p[0].numel() ** -0.5)
    return net.eval()


def asked(name: str) -> tuple[Tensor, Tensor, Condition]:
    """x_t, t and a full condition on the CPU."""
    channels = 1 if name == "UNet3D" else C
    g = torch.Generator().manual_seed(1)
    t = torch.tensor([0.1, 0.5, 0.9])
    if name in IMAGES:
        mask = torch.rand(B, 1, S, S, generator=g).round()
        cond = Condition(view=torch.tensor([0, 2, 1]), mask=mask)
        return torch.randn(B, channels, S, S, generator=g), t, cond
    frame = torch.randn(B, channels, S, S, generator=g)
    x = torch.randn(B, channels, T, S, S, generator=g)
    return x, t, Condition(ef=torch.tensor([20.0, 45.0, 70.0]), frame=frame)


def near(found: Tensor, wanted: Tensor, rms: float) -> None:
    """Equal up to a root mean square error of so many of the deviations of `wanted`."""
    error = (found.float().cpu() - wanted.float().cpu()).square().mean().sqrt()
    assert error < rms * wanted.float().std(), f"rms error {error:.2e}"


@torch.no_grad()
def ran(net: Any, name: str) -> Tensor:
    x, t, cond = asked(name)
    return net(x.to(DEVICE), t.to(DEVICE), cond.to(DEVICE))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_float32_equals_the_cpu(name: str) -> None:
    net, (x, t, cond) = built(name), asked(name)
    wanted = net(x, t, cond)
    near(ran(net.to(DEVICE), name), wanted, 1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_bf16_is_near(name: str) -> None:
    net = built(name).to(DEVICE)
    near(ran(for_inference(net, "bf16"), name), ran(net, name), 0.05)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_compiled_equals_bf16(name: str) -> None:
    net = built(name).to(DEVICE)
    wanted = ran(for_inference(copy.deepcopy(net), "bf16"), name)
    near(ran(for_inference(net, "compiled"), name), wanted, 0.02)


@pytest.mark.skipif(DEVICE.type != "cuda", reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_replayed_network_samples_the_same(name: str) -> None:
    """Two batches of one shape: the second one meets a recording made for the first."""
    net = built(name).to(DEVICE)
    fast = Replayed(net)
    x, _, cond = asked(name)
    for first in (0, 100):
        args = (RectifiedFlow(2.0), cond.to(DEVICE), x.shape[1:], range(first, first + B))
        plan = SamplingPlan(steps=4, scale=2.0)
        wanted = sample(net, *args, plan, device=DEVICE)
        near(sample(fast, *args, plan, device=DEVICE), wanted, 1e-4)
    assert len(fast.recordings) == 1


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_one_seed_gives_one_sample_on_both(name: str) -> None:
    net, (x, _, cond) = built(name), asked(name)
    plan, flow = SamplingPlan(steps=6, scale=2.0), RectifiedFlow(2.0)
    wanted = sample(net, flow, cond, x.shape[1:], range(B), plan)
    net = net.to(DEVICE)
    found = sample(net, flow, cond.to(DEVICE), x.shape[1:], range(B), plan, device=DEVICE)
    near(found, wanted, 5e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_has_the_same_gradients(name: str) -> None:
    x, t, cond = asked(name)
    noise = noise_like(x.shape[1:], range(B))

    def gradients(device: torch.device) -> list[Tensor]:
        net = built(name).to(device).requires_grad_(True)
        given = x.to(device), noise.to(device), t.to(device)
        RectifiedFlow(1.0).loss(net, *given, cond.to(device)).mean().backward()
        return [p.grad.cpu() for p in net.parameters() if p.grad is not None]

    on_cpu, there = gradients(torch.device("cpu")), gradients(DEVICE)
    assert len(on_cpu) == len(there)
    norm = torch.stack([g.norm() for g in on_cpu]).norm()
    apart = torch.stack([(a - b).norm() for a, b in zip(on_cpu, there, strict=True)]).norm()
    assert apart < 1e-3 * norm


@pytest.mark.parametrize("backend", ["MATH", "EFFICIENT_ATTENTION", "FLASH_ATTENTION"])
def test_attention_backends_agree(backend: str) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 49, 32).to(DEVICE, torch.bfloat16)
    with sdpa_kernel(SDPBackend.MATH):
        wanted = attend(q.float(), k.float(), v.float())
    with sdpa_kernel([getattr(SDPBackend, backend), SDPBackend.MATH]):
        near(attend(q, k, v), wanted, 0.02)


@torch.no_grad()
def test_autoencoder_both_ways() -> None:
    torch.manual_seed(0)
    avae: Any = build_avae(AVAEConfig(C, (32, 64, 64), 1, 8)).eval()
    stats = LatentStats(torch.zeros(C), torch.ones(C))
    frames = torch.rand(5, 64, 64) * 2 - 1
    here, there = (LatentSpace(copy.deepcopy(avae).to(device), stats) for device in ("cpu", DEVICE))
    wanted = here.encode(frames)
    found = there.encode(frames.to(DEVICE))
    near(found.mean, wanted.mean, 1e-3)
    near(found.std, wanted.std, 1e-3)
    z = torch.randn(2, C, 3, S, S)
    pictures = here.decode(z).float()
    assert (there.decode(z.to(DEVICE)).cpu().float() - pictures).abs().max() <= 1
    half = there.fast(torch.bfloat16).decode(z.to(DEVICE)).cpu().float()
    assert (half - pictures).abs().mean() <= 2


JUDGES: dict[str, tuple[Any, Callable[[], Tensor]]] = {
    "ReId": (ReId18Config(C), lambda: torch.randn(B, C, 28, 28)),
    "EF": (R2Plus1DConfig(), lambda: torch.rand(2, 16, 56, 56) * 2 - 1),
}


@pytest.mark.parametrize("name", JUDGES)
@torch.no_grad()
def test_judges_equal_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    config, inputs = JUDGES[name]
    net, x = zoo.build(config).eval(), inputs()
    wanted = net(x)
    near(net.to(DEVICE)(x.to(DEVICE)), wanted, 1e-3)
