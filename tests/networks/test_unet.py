"""UNet and STUNet: conditions, nulls, padding, samples that do not mix, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from echoflow.condition import Condition
from echoflow.networks.unet import STUNet, STUNetConfig, UNet, UNetConfig, padded
from echoflow.types import InputError

TINY = UNetConfig(
    channels=4,
    size=6,
    widths=(8, 16),
    layers=1,
    groups=4,
    down_block_types=("AttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "AttnUpBlock2D"),
)
TINY_VIDEO = STUNetConfig(
    channels=4,
    size=6,
    frames=3,
    widths=(32, 64),
    heads=(2, 4),
    layers=1,
    down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
    up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
)


def unet(config: UNetConfig = TINY) -> UNet:
    torch.manual_seed(0)
    return UNet(config).eval()


def stunet(config: STUNetConfig = TINY_VIDEO) -> STUNet:
    torch.manual_seed(0)
    return STUNet(config).eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def times(*values: float) -> Tensor:
    return torch.tensor(values)


@torch.no_grad()
def test_image_conditions_and_their_nulls() -> None:
    """Absent fields are their nulls: no mask is an empty one, no view is the last row."""
    net, x, t = unet(), noise(1, 4, 6, 6), times(0.3)
    empty, none = torch.zeros(1, 1, 6, 6), torch.tensor([-1])
    bare = net(x, t, Condition())
    torch.testing.assert_close(net(x, t, Condition(view=none, mask=empty)), bare)
    torch.testing.assert_close(net.velocity(x, t, torch.tensor([3]), empty), bare)
    for asked in (Condition(view=torch.tensor([1])), Condition(mask=empty + 1)):
        assert (net(x, t, asked) - bare).abs().max() > 1e-3


@torch.no_grad()
def test_video_conditions_and_their_nulls() -> None:
    """The EF token is a fraction, -1 where no EF is asked for; no frame is a frame of zeros."""
    net, x, t = stunet(), noise(1, 4, 3, 6, 6), times(0.3)
    frame = noise(1, 4, 6, 6, seed=2)
    cond = Condition(ef=torch.tensor([55.0]), frame=frame)
    token, frames = torch.full((1, 1, 1), 0.55), frame[:, :, None].expand(-1, -1, 3, -1, -1)
    torch.testing.assert_close(net(x, t, cond), net.velocity(x, t, token, frames))
    null = net.velocity(x, t, -torch.ones(1, 1, 1), torch.zeros_like(x))
    torch.testing.assert_close(net(x, t, cond.without("ef", "frame")), null)
    torch.testing.assert_close(net(x, t, Condition()), null)


@torch.no_grad()
def test_a_sample_does_not_see_the_others() -> None:
    """Also not their EF, whose order some diffusers releases confuse."""
    x, t = noise(3, 4, 2, 6, 6), times(0.1, 0.5, 0.9)
    cond = Condition(ef=torch.tensor([20.0, 50.0, 80.0]), frame=noise(3, 4, 6, 6, seed=2))
    net = stunet()
    together = net(x, t, cond)
    alone = [net(x[i : i + 1], t[i : i + 1], cond.select([i])) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)

    image, flat = unet(), x[:, :, 0]
    views = Condition(view=torch.tensor([0, 2, -1]))
    together = image(flat, t, views)
    alone = [image(flat[i : i + 1], t[i : i + 1], views.select([i])) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_one_token_is_the_full_cross_attention() -> None:
    """Evaluation takes the constant that attention to one token is; training the full form."""
    net = stunet()
    x, t = noise(2, 4, 3, 6, 6), times(0.2, 0.7)
    cond = Condition(ef=torch.tensor([30.0, 60.0]))
    with torch.no_grad():
        short = net(x, t, cond)
    full = net.train()(x, t, cond)
    torch.testing.assert_close(short, full, atol=1e-5, rtol=1e-5)
    full.square().mean().backward()
    left_out = [name for name, p in net.named_parameters() if p.grad is None]
    assert not left_out, "a parameter without a gradient stops distributed training"


@torch.no_grad()
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 6, 6), (5, 8, 6), (2, 4, 14)])
def test_frames_and_sizes_are_free(frames: int, height: int, width: int) -> None:
    x = noise(1, 4, frames, height, width)
    assert stunet()(x, times(0.5), Condition(ef=torch.tensor([50.0]))).shape == x.shape
    assert unet()(x[:, :, 0], times(0.5), Condition()).shape == x[:, :, 0].shape


def test_padding_is_circular_and_comes_off() -> None:
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    wide, inside = padded(x, 3)
    assert wide.shape == (1, 1, 8, 8)
    assert torch.equal(wide, x[..., [5, *range(6), 0], :][..., [5, *range(6), 0]])
    assert torch.equal(inside(wide), x)
    assert padded(noise(1, 1, 16, 16), 4)[0].shape[-2:] == (16, 16)


@torch.no_grad()
def test_a_table_without_a_null_row_needs_a_view() -> None:
    net, x, t = unet(replace(TINY, null_view=False)), noise(1, 4, 6, 6), times(0.5)
    assert net.unet.class_embedding is not None
    assert net(x, t, Condition(view=torch.tensor([2]))).shape == x.shape
    for cond in (Condition(), Condition(view=torch.tensor([-1]))):
        with pytest.raises(InputError, match="3 rows for 3 views and none for no view"):
            net(x, t, cond)


@torch.no_grad()
def test_a_model_without_views_takes_none() -> None:
    net = unet(replace(TINY, views=0, null_view=False))
    x, t = noise(1, 4, 6, 6), times(0.5)
    assert net(x, t, Condition(view=torch.tensor([-1]))).shape == x.shape
    with pytest.raises(InputError, match="view index 0 is out of range: this model knows 0"):
        net(x, t, Condition(view=torch.tensor([0])))


@pytest.mark.parametrize(
    ("x", "cond", "words"),
    [
        (noise(1, 5, 6, 6), Condition(), r"\(b, 4, h, w\); got \(1, 5, 6, 6\)"),
        (noise(1, 4, 2, 6, 6), Condition(), r"got \(1, 4, 2, 6, 6\)"),
        (noise(1, 4, 7, 6), Condition(), r"even sides of more than 1 cells; got \(7, 6\)"),
        (noise(1, 4, 6, 6), Condition(view=torch.tensor([3])), "view index 3 .* knows 3 views"),
        (noise(2, 4, 6, 6), Condition(view=torch.tensor([0])), r"\(2,\); got \(1,\)"),
        (
            noise(1, 4, 6, 6),
            Condition(mask=torch.zeros(1, 1, 24, 24)),
            r"mask must have shape \(1, 1, 6, 6\); got \(1, 1, 24, 24\)",
        ),
    ],
)
def test_image_refusals(x: Tensor, cond: Condition, words: str) -> None:
    with pytest.raises(InputError, match=words):
        unet()(x, torch.full((len(x),), 0.5), cond)


@pytest.mark.parametrize(
    ("x", "cond", "words"),
    [
        (noise(1, 8, 2, 6, 6), Condition(), r"\(b, 4, t, h, w\); got \(1, 8, 2, 6, 6\)"),
        (noise(1, 4, 2, 7, 7), Condition(), r"got \(7, 7\)"),
        (noise(2, 4, 2, 6, 6), Condition(ef=torch.tensor([50.0])), r"ef .* \(2,\); got \(1,\)"),
        (
            noise(1, 4, 2, 6, 6),
            Condition(frame=torch.zeros(1, 3, 6, 6)),
            r"frame must have shape \(1, 4, 6, 6\); got \(1, 3, 6, 6\)",
        ),
    ],
)
def test_video_refusals(x: Tensor, cond: Condition, words: str) -> None:
    with pytest.raises(InputError, match=words):
        stunet()(x, torch.full((len(x),), 0.5), cond)


def test_configs_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(InputError, match="UNet config cannot be built"):
        UNet(replace(TINY, widths=(8, 18)))
    with pytest.raises(InputError, match="STUNet config cannot be built"):
        STUNet(replace(TINY_VIDEO, heads=(2, 4, 8)))
    with pytest.raises(InputError, match="tokens of 2"):
        stunet(replace(TINY_VIDEO, token=2))(noise(1, 4, 2, 6, 6), times(0.5), Condition())
