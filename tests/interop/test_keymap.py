"""Laws of the key maps: exact inverses, and no name is ever dropped, invented or guessed."""

import pytest
import torch
from torch import Tensor

from echoflow.interop.keymap import Fuse, Rename, Rules, completed, to_ours, to_theirs
from echoflow.types import InputError

RULES: Rules = (
    Rename("stem.{p}", "embed.{p}"),
    Rename("layers.{i}.to_out.0.{p}", "blocks.{i}.proj.{p}"),
    Fuse(tuple(f"layers.{{i}}.to_{n}.{{p}}" for n in "qkv"), "blocks.{i}.qkv.{p}"),
    Rename("trunk.{rest...}", "net.{rest...}"),
)


def theirs() -> dict[str, Tensor]:
    torch.manual_seed(0)
    shapes = {"weight": (3, 2), "bias": (3,)}
    names = ["stem", "trunk.a.0", *(f"layers.{i}.to_{n}" for i in (0, 11) for n in ("q", "k", "v"))]
    names += ["layers.0.to_out.0"]
    tensors = {f"{n}.{p}": torch.randn(shape) for n in names for p, shape in shapes.items()}
    return tensors | {"trunk.count": torch.tensor(7), "layers.0.to_out.0.scale": torch.tensor(-0.0)}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    bits = lambda x: x.contiguous().view(-1).view(torch.uint8)  # noqa: E731
    return set(a) == set(b) and all(
        a[k].shape == b[k].shape and torch.equal(bits(a[k]), bits(b[k])) for k in a
    )


def test_directions_are_exact_inverses() -> None:
    ours = to_ours(RULES, theirs())
    assert same(to_theirs(RULES, ours), theirs())
    assert same(to_ours(RULES, to_theirs(RULES, ours)), ours)


def test_the_order_of_names_does_not_matter() -> None:
    backwards = dict(reversed(theirs().items()))
    assert same(to_ours(RULES, backwards), to_ours(RULES, theirs()))


def test_fused_parts_stand_in_the_order_of_the_rule() -> None:
    given, ours = theirs(), to_ours(RULES, theirs())
    wanted = torch.cat([given[f"layers.11.to_{n}.weight"] for n in "qkv"])
    assert torch.equal(ours["blocks.11.qkv.weight"], wanted)
    assert torch.equal(ours["net.a.0.bias"], given["trunk.a.0.bias"])


def test_parts_own_their_memory() -> None:
    """A file format that refuses shared memory can write them."""
    parts = to_theirs(RULES, to_ours(RULES, theirs()))
    assert len({t.untyped_storage().data_ptr() for t in parts.values()}) == len(parts)


@pytest.mark.parametrize("convert", [to_ours, to_theirs])
def test_unmapped_names_stop_with_the_first_three(convert) -> None:
    tensors = {f"extra.{n}.x": torch.zeros(1) for n in "abcde"}
    with pytest.raises(InputError, match=r"extra.a.x, extra.b.x, extra.c.x and 2 more have no"):
        convert(RULES, tensors)


def test_a_placeholder_is_one_part_of_a_name() -> None:
    with pytest.raises(InputError, match=r"stem.a.weight have no place"):
        to_ours(RULES, {"stem.a.weight": torch.zeros(1)})


def test_missing_parts_of_a_fused_tensor_are_named() -> None:
    tensors = {k: v for k, v in theirs().items() if ".to_k." not in k}
    with pytest.raises(InputError, match=r"layers.0.to_k.weight, .* and 1 more are missing"):
        to_ours(RULES, tensors)


def test_doubly_mapped_names_are_refused() -> None:
    loose: Rules = (*RULES, Rename("{a}.{p}", "{a}.{p}"))
    with pytest.raises(InputError, match=r"stem.weight, stem.bias, trunk.count fit more than one"):
        to_ours(loose, theirs())
    two: Rules = (Rename("a.{p}", "c.{p}"), Rename("b.{p}", "c.{p}"))
    with pytest.raises(InputError, match=r"a.w and b.w are both c.w"):
        to_ours(two, {"a.w": torch.zeros(1), "b.w": torch.zeros(1)})


def test_parts_that_do_not_fit_are_refused_with_their_shapes() -> None:
    tensors = theirs() | {"layers.0.to_k.bias": torch.zeros(4)}
    with pytest.raises(InputError, match=r"blocks.0.qkv.bias .* \(3,\) float32 and \(4,\)"):
        to_ours(RULES, tensors)
    with pytest.raises(InputError, match=r"blocks.0.qkv.bias of shape \(4,\) is not 3 equal"):
        to_theirs(RULES, {"blocks.0.qkv.bias": torch.zeros(4)})


def test_a_rule_with_different_placeholders_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="same placeholders"):
        Rename("a.{i}.{p}", "b.{p}")


def test_config_defaults_are_filled_in_and_mistakes_named() -> None:
    defaults = {"width": 8, "ratio": 4.0, "patch": (1, 2), "biased": True, "out": None}
    assert completed("Net", {"width": 16, "out": 3}, defaults)["ratio"] == 4.0
    assert completed("Net", {"ratio": 2, "patch": [1, 4]}, defaults)["patch"] == [1, 4]
    with pytest.raises(InputError, match=r"Net has no config field 'widht'. Did you mean width?"):
        completed("Net", {"widht": 16}, defaults)
    with pytest.raises(InputError, match="config of Net lacks width, out"):
        completed("Net", {"ratio": 1.0}, defaults, needed=("width", "out"))
    with pytest.raises(InputError, match="width of Net must be int, not '16'"):
        completed("Net", {"width": "16"}, defaults)
    with pytest.raises(InputError, match="width of Net must be int, not True"):
        completed("Net", {"width": True}, defaults)
