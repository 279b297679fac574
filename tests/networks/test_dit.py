"""Contracts of the flow transformers: shapes, nulls, what they depend on, what they refuse."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from echoflow.condition import Condition, over
from echoflow.networks import zoo
from echoflow.networks.dit import FMiT, FMiTConfig, FMvT, FMvTConfig, velocity
from echoflow.networks.inference import for_inference
from echoflow.networks.layers import attend, rotary_angles, rotate
from echoflow.process import bound
from echoflow.types import InputError

VIDEO = FMvTConfig(channels=2, size=8, frames=4, patch=(2, 4, 4), width=16, depth=2, heads=2)
IMAGE = FMiTConfig(channels=2, size=8, patch=4, width=16, depth=2, heads=2)


def awake(net: nn.Module) -> Any:
    """The network with its zero-initialised layers made random, so that inputs matter."""
    torch.manual_seed(0)
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net.eval()


def video_inputs(frames: int = 4) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    torch.manual_seed(1)
    x = torch.randn(3, 2, frames, 8, 8)
    ef = torch.tensor([20.0, 50.0, torch.nan])
    return x, torch.tensor([0.1, 0.5, 0.9]), Condition(ef=ef, frame=torch.randn(3, 2, 8, 8))


def test_new_networks_predict_zero() -> None:
    x, t, cond = video_inputs()
    assert FMvT(VIDEO)(x, t, cond).abs().max() == 0
    image = FMiT(IMAGE)(x[:, :, 0], t, Condition(view=torch.tensor([0, 1, -1])))
    assert image.shape == x[:, :, 0].shape
    assert image.abs().max() == 0


def test_preconditioning_gives_the_velocity_of_its_own_estimate() -> None:
    torch.manual_seed(0)
    x, out = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    t = torch.linspace(0.05, 1, 5, dtype=torch.float64)
    s = ((1 - t) ** 2 + t**2).sqrt()
    x0 = over((1 - t) / s**2, x) * x + over(t / s, x) * out
    assert torch.allclose(velocity(out, x, t), (x - x0) / over(t, x))


def test_preconditioned_output_has_unit_variance_for_unit_variance_data() -> None:
    rng = np.random.default_rng(0)
    x0, noise = torch.from_numpy(rng.standard_normal((2, 400_000)))
    for t in (0.0, 0.3, 0.7, 1.0):
        s = ((1 - t) ** 2 + t**2) ** 0.5
        target = ((2 * t - 1) / s**2 * ((1 - t) * x0 + t * noise) - (noise - x0)) * s
        assert abs(float(target.std()) - 1) < 0.01


def test_video_network_is_shaped_like_its_input_for_any_number_of_frames() -> None:
    net = awake(FMvT(VIDEO))
    for frames in (2, 4, 10):
        x, t, cond = video_inputs(frames)
        assert net(x, t, cond).shape == x.shape


def test_missing_conditions_equal_their_nulls() -> None:
    x, t, cond = video_inputs()
    net = awake(FMvT(VIDEO))
    assert torch.equal(net(x, t, cond.without("ef", "frame")), net(x, t, Condition()))
    image, z = awake(FMiT(IMAGE)), x[:, :, 0]
    nulls = Condition(view=torch.full((3,), -1), mask=torch.zeros(3, 1, 8, 8))
    assert torch.equal(image(z, t, nulls), image(z, t, Condition()))


@pytest.mark.parametrize("field", ["ef", "frame"])
def test_every_condition_matters_and_only_to_its_own_sample(field: str) -> None:
    x, t, cond = video_inputs()
    net = awake(FMvT(VIDEO))
    changed = torch.tensor([20.0, 51.0, torch.nan])
    assert cond.frame is not None
    frame = cond.frame.clone()
    frame[1] += 0.1
    other = Condition(
        ef=changed if field == "ef" else cond.ef, frame=frame if field == "frame" else cond.frame
    )
    moved = (net(x, t, other) - net(x, t, cond)).abs().flatten(1).amax(1)
    assert moved[1] > 1e-5
    assert moved[0] < 1e-6
    assert moved[2] < 1e-6


def test_time_and_mask_and_view_matter() -> None:
    x, t, _ = video_inputs()
    net, z = awake(FMiT(IMAGE)), x[:, :, 0]
    base = net(z, t, Condition())
    assert not torch.allclose(net(z, t + 0.01, Condition()), base)
    assert not torch.allclose(net(z, t, Condition(view=torch.tensor([0, 1, 2]))), base)
    assert not torch.allclose(net(z, t, Condition(mask=torch.ones(3, 1, 8, 8))), base)


def test_rotary_products_depend_on_distance_only() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 8).double()
    angles = rotary_angles(torch.arange(10), 8).double()
    dots = [
        float(rotate(q[None], angles[i : i + 1]) @ rotate(k[None], angles[i + 3 : i + 4]).T)
        for i in range(6)
    ]
    assert max(dots) - min(dots) < 1e-6


def test_both_attention_paths_agree() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 8, requires_grad=True) for _ in range(3))
    fused = attend(q.detach(), k.detach(), v.detach())
    assert torch.allclose(attend(q, k, v), fused, atol=1e-6)


def test_wrong_shapes_are_refused_with_both_numbers() -> None:
    x, t, cond = video_inputs()
    with pytest.raises(InputError, match="multiple of 2; got 3"):
        FMvT(VIDEO)(x[:, :, :3], t, cond)
    with pytest.raises(InputError, match=r"\(b, 2, 4, 8, 8\); got \(3, 2, 4, 6, 8\)"):
        FMvT(VIDEO)(x[..., :6, :], t, cond)
    with pytest.raises(InputError, match="condition must have shape"):
        FMvT(VIDEO)(x, t, Condition(frame=torch.zeros(3, 2, 4, 4)))


@pytest.mark.parametrize("name", [n for n in zoo.ROWS if n[:4] in ("FMiT", "FMvT")])
def test_every_name_builds(name: str) -> None:
    with torch.device("meta"):
        net = zoo.build(name)
    assert sum(p.numel() for p in net.parameters()) > 1e6


def image_inputs() -> tuple[torch.Tensor, torch.Tensor, Condition]:
    torch.manual_seed(1)
    x = torch.randn(3, 2, 8, 8)
    mask = torch.rand(3, 1, 8, 8).round()
    return x, torch.tensor([0.1, 0.5, 0.9]), Condition(view=torch.tensor([0, 2, -1]), mask=mask)


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("kind", ["video", "image"])
def test_prepared_networks_equal_plain_calls(kind: str, preconditioned: bool) -> None:
    """At prepared times, at others, with times that differ, and without any condition."""
    if kind == "video":
        net = awake(FMvT(replace(VIDEO, preconditioned=preconditioned)))
        x, mixed, cond = video_inputs()
    else:
        net = awake(FMiT(replace(IMAGE, preconditioned=preconditioned)))
        x, mixed, cond = image_inputs()
    field = net.prepare(cond, torch.linspace(1, 0, 6, dtype=torch.float64))
    free = net.prepare(Condition(), [0.5])
    assert len(field.steps) == 6
    with torch.no_grad():
        for t in (torch.full((3,), 0.8), torch.full((3,), 0.77), mixed):
            torch.testing.assert_close(field(x, t), net(x, t, cond), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(free(x, t), net(x, t, Condition()), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="2 samples need 2 conditions; got 3"):
        field(x[:2], mixed[:2])


@pytest.mark.parametrize("kind", ["video", "image"])
def test_prepared_networks_in_half_precision(kind: str) -> None:
    net = awake(FMvT(VIDEO) if kind == "video" else FMiT(IMAGE))
    x, _, cond = video_inputs() if kind == "video" else image_inputs()
    t, half = torch.full((3,), 0.5), for_inference(net, "bf16")
    with torch.no_grad():
        found = bound(half, cond, t[:1])(x, t)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, half(x, t, cond), atol=1e-2, rtol=1e-2)
        wanted = net(x, t, cond)
    assert (found - wanted).square().mean().sqrt() < 0.05 * wanted.std()
