"""The released transformers: shortcuts equal their long forms, conditions, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.dit_v1 import FMiTv1, FMiTv1Config, FMvTv1, FMvTv1Config
from echoflow.networks.inference import for_inference
from echoflow.networks.layers import attend
from echoflow.networks.layers_v1 import Attention, modulate
from echoflow.networks.packed import Packed, packed
from echoflow.types import InputError

IMAGE = FMiTv1Config(channels=2, size=8, patch=4, width=16, depth=2, heads=2)
VIDEO = FMvTv1Config(channels=2, size=(8, 4), frames=6, patch=(2, 2, 4), width=16, depth=2, heads=2)
TIMES = torch.tensor([0.1, 0.5, 0.9])


def awake(net: nn.Module) -> nn.Module:
    """The network with its zero-initialised layers made random, so that inputs matter."""
    torch.manual_seed(0)
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net.eval().requires_grad_(False)


def video() -> tuple[FMvTv1, Tensor, Condition]:
    net = awake(FMvTv1(VIDEO))
    torch.manual_seed(1)
    ef, frame = torch.tensor([20.0, 50.0, torch.nan]), torch.randn(3, 2, 8, 4)
    assert isinstance(net, FMvTv1)
    return net, torch.randn(3, 2, 6, 8, 4), Condition(ef=ef, frame=frame)


def image() -> tuple[FMiTv1, Tensor, Condition]:
    net = awake(FMiTv1(IMAGE))
    torch.manual_seed(1)
    mask = (torch.rand(3, 1, 8, 8) > 0.5).float()
    assert isinstance(net, FMiTv1)
    return net, torch.randn(3, 2, 8, 8), Condition(view=torch.tensor([2, 0, -1]), mask=mask)


BOTH = pytest.mark.parametrize("made", [image, video])


@BOTH
def test_new_networks_predict_zero(made) -> None:
    net, x, cond = made()
    assert type(net)(net.config)(x, TIMES, cond).abs().max() == 0


@BOTH
def test_missing_conditions_equal_their_nulls(made) -> None:
    net, x, cond = made()
    nulls = net(x, TIMES, cond.without(*cond.present()))
    torch.testing.assert_close(net(x, TIMES, Condition()), nulls)


@BOTH
def test_every_condition_matters_and_only_to_its_own_sample(made) -> None:
    net, x, cond = made()
    base = net(x, TIMES, cond)
    for name, value in cond.present().items():
        changed = value.clone()
        changed[1] = 1 if value.dtype == torch.long else 0.5 * value[1] + 0.2
        moved = (net(x, TIMES, replace(cond, **{name: changed})) - base).abs().flatten(1).amax(1)
        assert moved[1] > 1e-4, name
        assert max(moved[0], moved[2]) < 1e-5, name


@BOTH
def test_a_sample_does_not_depend_on_its_batch(made) -> None:
    net, x, cond = made()
    whole = net(x, TIMES, cond)
    for i in range(3):
        alone = net(x[i : i + 1], TIMES[i : i + 1], cond.select([i]))
        torch.testing.assert_close(alone, whole[i : i + 1], atol=1e-5, rtol=1e-5)


@BOTH
def test_prepared_equals_plain_calls(made) -> None:
    """At prepared times, at others, and with times that differ within the batch."""
    net, x, cond = made()
    prepared = net.prepare(cond, torch.linspace(1, 0, 6, dtype=torch.float64))
    assert len(prepared.steps) == 6
    for t in (torch.full((3,), 0.8), torch.full((3,), 0.77), TIMES):
        torch.testing.assert_close(prepared(x, t), net(x, t, cond), atol=5e-6, rtol=1e-5)
    assert 0.8 in {round(t, 6) for t in prepared.steps}


@BOTH
def test_packed_equals_plain_calls(made) -> None:
    net, x, cond = made()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    wanted = net(x, TIMES, cond)
    torch.testing.assert_close(packed(net)(x, TIMES, cond), wanted, atol=1e-5, rtol=1e-5)
    half = packed(net, torch.bfloat16)(x, TIMES, cond)
    assert half.dtype == torch.float32
    assert (half - wanted).square().mean().sqrt() < 0.03 * wanted.std()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@BOTH
def test_exact_inference_takes_packed_products(made) -> None:
    net, x, cond = made()
    exact = for_inference(net, "exact")
    assert any(isinstance(part, Packed) for part in exact.modules())
    torch.testing.assert_close(exact(x, TIMES, cond), net(x, TIMES, cond), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@BOTH
def test_compiled_around_its_products_it_is_still_the_network(made) -> None:
    net, x, cond = made()
    wanted = for_inference(net, "bf16")(x, TIMES, cond)
    with torch.no_grad():
        got = for_inference(net, "compiled")(x, TIMES, cond)
    assert got.dtype == torch.float32
    assert (got - wanted).square().mean().sqrt() < 0.02 * wanted.std()


def test_attention_to_a_single_token_is_a_constant() -> None:
    net, x, cond = video()
    still = net.still(cond)
    long = replace(still, constants=())
    ada = net.modulation(TIMES, still)
    torch.testing.assert_close(
        net.velocity(x, ada, still), net.velocity(x, ada, long), atol=1e-6, rtol=1e-6
    )
    block, y = net.blocks[0], torch.randn(3, 3, 4, 16)
    assert still.tokens is not None
    constant = block.cross.constant(still.tokens).expand_as(y)
    torch.testing.assert_close(constant, block.cross(y, still.tokens), atol=1e-6, rtol=1e-6)


def test_several_tokens_are_attended_in_full() -> None:
    net, x, _ = video()
    frame = torch.zeros(3, 2, 1, 8, 4)
    tokens = torch.rand(3, 1, 1)
    single, twice = (net.still_of(frame, tokens.repeat(1, n, 1)) for n in (1, 2))
    assert twice.constants == ()
    ada = net.modulation(TIMES, single)
    same = net.velocity(x, ada, twice)
    torch.testing.assert_close(net.velocity(x, ada, single), same, atol=1e-5, rtol=1e-5)
    other = net.still_of(frame, torch.cat([tokens, tokens + 0.5], 1))
    assert (net.velocity(x, ada, other) - same).abs().max() > 1e-4
    without = net.velocity(x, ada, net.still_of(frame, None))
    assert (without - same).abs().max() > 1e-4


def test_one_frame_stands_for_a_still_video() -> None:
    net, x, cond = video()
    assert cond.frame is not None
    frame, token = cond.frame[:, :, None], torch.rand(3, 1, 1)
    one, all_of_them = (net.still_of(frame.expand(-1, -1, n, -1, -1), token) for n in (1, 6))
    ada = net.modulation(TIMES, one)
    torch.testing.assert_close(
        net.velocity(x, ada, one), net.velocity(x, ada, all_of_them), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("scrambled", [False, True])
@pytest.mark.parametrize("axis", ["s", "t"])
def test_attention_reads_as_the_textbook(scrambled: bool, axis: str) -> None:
    torch.manual_seed(0)
    layer, x = Attention(12, 3, scrambled).double(), torch.randn(2, 5, 4, 12).double()
    rows = rearrange(x, "b t s d -> (b t) s d" if axis == "s" else "b t s d -> (b s) t d")
    qkv = layer.qkv(rows).reshape(*rows.shape[:2], 3, 3, 4).permute(2, 0, 3, 1, 4)
    out = (qkv[0] @ qkv[1].transpose(-1, -2) / 2).softmax(-1) @ qkv[2]
    out = out.reshape(rows.shape) if scrambled else out.transpose(1, 2).reshape(rows.shape)
    back = "(b t) s d -> b t s d" if axis == "s" else "(b s) t d -> b t s d"
    torch.testing.assert_close(layer(x, axis), rearrange(layer.proj(out), back, b=2))


@pytest.mark.parametrize("axis", ["s", "t"])
@pytest.mark.parametrize("scrambled", [False, True])
def test_packed_attention_in_pieces_is_attention(
    scrambled: bool, axis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, x = Attention(96, 3, scrambled), torch.randn(2, 5, 4, 96)
    before = layer.qkv.weight.clone()
    half = packed(layer, torch.bfloat16)
    whole = half(x, axis)
    monkeypatch.setattr("echoflow.networks.packed.SCORES", 100)  # two or three rows, one left over
    torch.testing.assert_close(half(x, axis), whole, atol=0.01, rtol=0.01)
    torch.testing.assert_close(whole.float(), layer(x, axis), atol=0.03, rtol=0.03)
    assert torch.equal(layer.qkv.weight, before)


def test_bfloat16_attention_is_that_of_float32() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 50, 16)
    half = attend(*(y.bfloat16() for y in (q, k, v))).float()
    torch.testing.assert_close(half, attend(q, k, v), atol=0.02, rtol=0.02)


def test_modulation_of_one_row_is_that_of_equal_rows() -> None:
    torch.manual_seed(0)
    x, (shift, scale) = torch.randn(3, 2, 4, 8), torch.randn(2, 1, 8)
    rows = modulate(x, shift.repeat(3, 1), scale.repeat(3, 1))
    torch.testing.assert_close(modulate(x, shift, scale), rows)


def test_gradients_reach_every_parameter_of_an_awake_network() -> None:
    for made in (image, video):
        net, x, cond = made()
        net.requires_grad_(True)
        net(x, TIMES, cond).square().sum().backward()
        silent = [k for k, p in net.named_parameters() if p.grad is None or not p.grad.any()]
        unread = ("cross.q.",) if made is video else ()
        assert all(any(part in k for part in unread) for k in silent), silent


def test_a_class_outside_the_table_is_refused() -> None:
    net, x, _ = image()
    with pytest.raises(InputError, match=r"from 0 to 2, the 3 classes .* got \[0, 3, -1\]"):
        net(x, TIMES, Condition(view=torch.tensor([0, 3, -1])))
    with pytest.raises(InputError, match=r"got \[0, 1, -2\]"):
        net(x, TIMES, Condition(view=torch.tensor([0, 1, -2])))


def test_wrong_shapes_are_refused_with_both_numbers() -> None:
    net, x, cond = video()
    with pytest.raises(InputError, match="videos of 6 frames; got 4"):
        net(x[:, :, :4], TIMES, cond)
    with pytest.raises(InputError, match=r"\(b, 2, 6, 8, 4\); got \(3, 1, 6, 8, 4\)"):
        net(x[:, :1], TIMES, cond)
    with pytest.raises(InputError, match=r"anatomy .* \(b, 2, 8, 4\); got \(3, 2, 4, 4\)"):
        net(x, TIMES, Condition(frame=torch.zeros(3, 2, 4, 4)))
    with pytest.raises(InputError, match="3 samples need 3 conditions; got 2"):
        net(x, TIMES, cond.select([0, 1]))
    with pytest.raises(InputError, match="15 cells or frames has no whole patches of 2"):
        replace(VIDEO, size=(8, 15), patch=(2, 2, 2))
    with pytest.raises(InputError, match="tokens of width 2; an EF has width 1"):
        FMvTv1(replace(VIDEO, token_width=2))(x, TIMES, cond)
    square, z, _ = image()
    with pytest.raises(InputError, match=r"mask .* \(b, 1, 8, 8\); got \(3, 2, 8, 8\)"):
        square(z, TIMES, Condition(mask=torch.zeros(3, 2, 8, 8)))
    with pytest.raises(InputError, match=r"\(b, 2, 8, 8\); got \(3, 2, 6, 8\)"):
        square(z[:, :, :6], TIMES, Condition())
