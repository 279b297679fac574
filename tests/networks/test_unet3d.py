"""The pixel-space video UNet: what it costs, what switches do, which inputs belong together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks import counting, zoo
from echoflow.networks.published import line
from echoflow.networks.rows import CASCADES
from echoflow.networks.unet3d import UNet3D, UNet3DConfig
from echoflow.networks.unet3d_layers import AlongTime, Conv, Distance
from echoflow.process import EDM
from echoflow.types import InputError

BASE = UNet3DConfig(1, 8, 3, 8, (1, 2), (1, 1), (False, True), heads=2, head=8, groups=4)
FORMS = {
    "base": BASE,
    "no-middle": replace(BASE, middle_attention=False),
    "upsampler": replace(BASE, lowres=True, memory_saving=True),
    "sharpener": replace(BASE, lowres=True, middle_attention=False, cross=(False, False)),
}
# parameters, and 1e9 multiply-adds of one forward with and without the layers along time
COUNTS = {
    "1SCM-1": (18_152_824, 488.4, 329.2),
    "2SCM-1": (18_448_384, 133.1, 93.3),
    "2SCM-2": (27_403_450, 1067.1, 724.6),
    "4SCM-1": (18_448_384, 133.1, 93.3),
    "4SCM-2": (27_403_450, 110.3, 73.0),
    "4SCM-3": (27_403_450, 236.6, 151.0),
    "4SCM-4": (19_803_409, 2086.8, 1304.6),
}


def built(config: UNet3DConfig) -> UNet3D:
    """With every weight random, none zero."""
    torch.manual_seed(0)
    net = UNet3D(config)
    for p in net.parameters():
        nn.init.normal_(p, std=0.3)
    return net


def inputs(config: UNet3DConfig, *ef: float) -> tuple[Tensor, Tensor, Condition]:
    rng = torch.Generator().manual_seed(1)
    b, k = len(ef), config
    x, lowres = torch.randn(2, b, k.channels, k.frames, k.size, k.size, generator=rng)
    frame = torch.rand(b, k.channels, k.size, k.size, generator=rng) * 2 - 1
    cond = Condition(ef=torch.tensor(ef), frame=frame)
    if k.lowres:
        cond = replace(cond, lowres=lowres, lowres_noise=torch.linspace(0.2, 1, b))
    return x, torch.linspace(-1, 1, b), cond


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.slow
def test_counts_with_and_without_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, with_time, without = COUNTS[name]
    found = counting.cost(name)
    assert found.parameters == parameters
    assert found.macs / 1e9 == pytest.approx(with_time, rel=1e-3)
    forward = UNet3D.forward
    monkeypatch.setattr(UNet3D, "forward", lambda *args: forward(*args, in_time=False))
    assert counting.cost(name).macs / 1e9 == pytest.approx(without, rel=1e-3)


@pytest.mark.slow
def test_parameters_of_the_cascades() -> None:
    def total(configs: list[UNet3DConfig]) -> int:
        with torch.device("meta"):
            return sum(counting.parameters(UNet3D(config)) for config in configs)

    sums = {name: total(list(stages)) for name, stages in CASCADES.items()}
    assert sums == {"1SCM": 18_152_824, "2SCM": 45_851_834, "4SCM": 93_058_693}
    *first, last = CASCADES["4SCM"]
    every = [replace(config, cross=(True, True, True)) for config in first]
    assert total([*every, last]) == 94_962_949  # what is printed as 95 M


@pytest.mark.slow
def test_the_printed_sum_stands_beside_the_last_stage() -> None:
    assert line("4SCM-4").remark == "4SCM in all: 93.1 M; table 3 prints 95 M"
    assert line("2SCM-2").remark == "2SCM in all: 45.9 M"
    assert line("4SCM-3").remark == line("1SCM-1").remark == ""


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_without_time_the_order_of_frames_is_free(form: str) -> None:
    net, (x, t, cond) = built(FORMS[form]), inputs(FORMS[form], 30.0, 60.0)
    order = [2, 0, 1]
    lowres = None if cond.lowres is None else cond.lowres[:, :, order]
    moved = replace(cond, lowres=lowres)
    for in_time in (False, True):
        call = partial(net, in_time=in_time)
        moved_after, moved_before = call(x, t, cond)[:, :, order], call(x[:, :, order], t, moved)
        assert torch.allclose(moved_after, moved_before, rtol=1e-3, atol=1e-2) != in_time


@torch.no_grad()
def test_nothing_looks_ahead() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 5, 2, 2)
    later = x.clone()
    later[:, :, 3:] = 7.0
    layers = (AlongTime(8, 2, 4), Conv(8, 8))
    nn.init.normal_(layers[0].attn.norm_out.gain)
    nn.init.normal_(layers[1].time.weight)
    for layer in layers:
        a, b = layer(x, True), layer(later, True)
        assert torch.equal(a[:, :, :3], b[:, :, :3])
        assert not torch.allclose(a[:, :, 3:], b[:, :, 3:])


def test_the_bias_depends_on_the_distance_alone() -> None:
    bias = Distance(8, 2)(5)
    assert torch.equal(bias[:, 2, :2], bias[:, 4, 2:4])
    assert (bias[:, 1, 2:] == -torch.inf).all()


@torch.no_grad()
def test_a_new_network_says_nothing_and_its_convolutions_keep_time() -> None:
    net = UNet3D(BASE)
    assert not net(*inputs(BASE, 50.0)).any()
    x, conv = torch.randn(1, 8, 4, 6, 6), Conv(8, 8)
    torch.testing.assert_close(conv(x, True), conv(x, False))


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_a_sample_does_not_see_the_others(form: str) -> None:
    net, (x, t, cond) = built(FORMS[form]), inputs(FORMS[form], 30.0, float("nan"), 0.0)
    together = net(x, t, cond)
    for i in range(3):
        alone = net(x[[i]], t[[i]], cond.select([i]))
        torch.testing.assert_close(alone, together[[i]], atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_an_ef_of_zero_is_a_value() -> None:
    x, t, cond = inputs(BASE, 0.0)
    net = built(BASE)
    zero, small, none = (
        net(x, t, replace(cond, ef=torch.tensor([ef]))) for ef in (0.0, 1e-3, float("nan"))
    )
    torch.testing.assert_close(zero, small, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(zero, none, atol=1e-2)
    assert torch.equal(none, net(x, t, replace(cond, ef=None)))
    released = built(replace(BASE, zero_ef_is_null=True))
    assert not torch.allclose(released(x, t, cond), zero, atol=1e-2)
    assert not torch.allclose(released(x, t, cond), none, atol=1e-2)  # the vector still knows
    fifty = replace(cond, ef=torch.tensor([50.0]))
    assert torch.equal(released(x, t, fifty), net(x, t, fifty))


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_learns(form: str) -> None:
    net, (x, t, cond) = built(FORMS[form]), inputs(FORMS[form], 30.0, float("nan"))
    net(x, t, cond).square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None]
    assert idle == ["middle.everywhere.attn.null_bias"] * FORMS[form].middle_attention


@torch.no_grad()
def test_edm_asks_it() -> None:
    net, (x, _, cond) = built(BASE), inputs(BASE, 30.0, 60.0)
    velocity = EDM(sigma_data=0.25).field(net, cond)(x, torch.tensor([0.5, 3.0]))
    assert velocity.shape == x.shape
    assert velocity.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cross": (True,)}, "one entry of cross for each of its levels; got 1 for 2 levels"),
        ({"multiples": ()}, "one entry of blocks"),
        ({"width": 6}, "multiples of 4 and of its 4 norm groups; got 6"),
        ({"size": 9}, "multiples of 2; got 3 frames of 9 pixels"),
        ({"size": 10, "memory_saving": True}, "multiples of 4; got 3 frames of 10 pixels"),
        ({"frames": 0}, "frames must be a whole number of at least 1; got 0"),
        ({"multiples": (2, 4)}, "multiples begin with 1; got 2"),
    ],
)
def test_impossible_forms(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(BASE, **change)


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("base", {"frame": None}, r"give cond.frame \(1, 1, h, w\), got None"),
        ("base", {"frame": torch.zeros(1, 3, 8, 8)}, r"got \(1, 3, 8, 8\)"),
        ("base", {"lowres": torch.zeros(1, 1, 3, 8, 8)}, "first stage, which takes no low-res"),
        ("upsampler", {"lowres": None}, "needs a low-resolution video .* got None"),
        ("upsampler", {"lowres": torch.zeros(1, 1, 2, 8, 8)}, r"got \(1, 1, 2, 8, 8\)"),
        ("upsampler", {"lowres_noise": None}, r"noise level \(1,\); .* and None"),
    ],
)
def test_inputs_that_do_not_belong(form: str, change: dict, message: str) -> None:
    net, (x, t, cond) = UNet3D(FORMS[form]), inputs(FORMS[form], 50.0)
    with pytest.raises(InputError, match=message):
        net(x, t, replace(cond, **change))


def test_videos_of_another_shape() -> None:
    _, t, cond = inputs(BASE, 50.0)
    for shape in ((1, 3, 3, 8, 8), (1, 1, 8, 8), (1, 1, 3, 8, 7)):
        with pytest.raises(InputError, match=r"takes videos .* multiples of 2; got"):
            UNet3D(BASE)(torch.zeros(shape), t, cond)


def test_the_zoo_knows_it() -> None:
    assert zoo.config_of("2SCM-2") == UNet3DConfig(
        size=112, frames=64, lowres=True, memory_saving=True
    )
