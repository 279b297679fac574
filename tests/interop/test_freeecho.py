"""Free-Echo's network: stored values, costs, its checkpoint in, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from closed_forms import golden
from einops import rearrange, repeat
from golden_cases import cases, formula_weights, manifest, norm_weights, stored_weights
from torch import Tensor

from echoflow.condition import Condition
from echoflow.interop import freeecho
from echoflow.interop.freeecho import PREFIX, RULES, read, write
from echoflow.interop.keymap import to_ours, to_theirs
from echoflow.networks.counting import cost
from echoflow.networks.unet3d_labels import LabelUNet3D, LabelUNet3DConfig
from echoflow.types import InputError

TINY = LabelUNet3DConfig(3, 8, 2, 8, (1, 2), heads=2, head=8)


def loaded(kind: str) -> tuple[LabelUNet3D, dict[str, Tensor]]:
    """The network of a golden file with its weights, strictly loaded, and these weights."""
    data, about = golden(f"freeecho/unet3d.{kind}")
    net = LabelUNet3D(read(about["config"]))
    if kind == "tiny":
        tensors = stored_weights(data)
    else:
        like = to_theirs(RULES, net.state_dict())
        norms = to_theirs(RULES, {key: torch.zeros(1) for key in norm_weights(net)})
        tensors = formula_weights(like, {*norms, *(k for k in like if "gamma" in k)}, about)
    assert len(tensors) == about["num_state_dict_tensors"]
    net.load_state_dict(to_ours(RULES, tensors))
    return net.eval(), tensors


def planes(labels: Tensor) -> Tensor:
    """Labels (b, ..., h, w) as a plane for each of 5 (b, 5, ..., h, w)."""
    return rearrange(F.one_hot(labels.long(), 5), "b ... k -> b k ...").float()


@pytest.mark.parametrize("kind", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
@torch.no_grad()
def test_golden_outputs_and_export(kind: str) -> None:
    """By planes of every frame, and by a condition where the labels do not move."""
    net, tensors = loaded(kind)
    tolerance = golden(f"freeecho/unet3d.{kind}")[1]["tolerance"]
    for name, at, wanted in cases(f"freeecho/unet3d.{kind}"):
        x, time, labels = at["x"], at["time"], at["cond"]
        assert x is not None
        assert time is not None
        assert labels is not None
        moving = planes(labels)
        if labels.ndim == 3:
            found = net(x, time, Condition(mask=moving[:, 1:]))
            torch.testing.assert_close(found, wanted["out"], **tolerance, msg=name)
            moving = repeat(moving, "b k h w -> b k t h w", t=x.shape[2])
        found = net.output(x, time, moving)
        torch.testing.assert_close(found, wanted["out"], **tolerance, msg=name)
        if name == "labels_zero":  # no mask, its null and all background are the same
            empty = Condition(mask=torch.zeros_like(moving[:, 1:, 0]))
            for none in (Condition(), empty):
                torch.testing.assert_close(net(x, time, none), wanted["out"], **tolerance)
    exported = to_theirs(RULES, net.state_dict())
    assert set(exported) == set(tensors)
    assert all(torch.equal(exported[key], value) for key, value in tensors.items())


def test_golden_manifest() -> None:
    """Names and shapes at real size. The rotary rates are one tensor under eight of its names."""
    about = manifest("freeecho/unet3d")["freeecho"]
    with torch.device("meta"):
        net = LabelUNet3D(read(about["config"]))
    theirs = to_theirs(RULES, net.state_dict())
    assert {key: list(value.shape) for key, value in theirs.items()} == about["state_dict"]
    assert sum(value.numel() for value in theirs.values()) - 7 * 16 == about["num_parameters"]
    assert net.config == LabelUNet3DConfig()
    assert about["config"].items() <= write(net.config).items()


@pytest.mark.slow
def test_costs() -> None:
    """1e9 multiply-adds at 16 frames, the released code's, and at 24, the paper's."""
    assert cost(LabelUNet3DConfig(frames=16)).macs / 1e9 == pytest.approx(167.9, rel=1e-3)
    assert cost("Free-Echo").macs / 1e9 == pytest.approx(257.7, rel=1e-3)
    assert cost("Free-Echo").parameters == 3_171_747


def checkpoint(path: Path) -> LabelUNet3D:
    torch.manual_seed(0)
    net = LabelUNet3D(TINY)
    theirs = {f"{PREFIX}{key}": v.clone() for key, v in to_theirs(RULES, net.state_dict()).items()}
    raw = {key: value + 1 for key, value in theirs.items()}
    torch.save({"step": 7, "model": raw, "ema": theirs, "scaler": {"scale": 2.0}}, path)
    return net


@pytest.mark.parametrize(("kind", "shift"), [("averaged", 0), ("raw", 1)])
def test_a_checkpoint_loads_as_it_was_saved(kind: Any, shift: int, tmp_path: Path) -> None:
    wanted = checkpoint(tmp_path / "model.pt")
    net = freeecho.load(tmp_path / "model.pt", TINY, kind)
    for key, value in wanted.state_dict().items():
        assert torch.equal(net.state_dict()[key], value + shift), key
    with pytest.raises(InputError, match=r"has shape|another model"):
        freeecho.load(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"step": 7}, "must hold a dict with the tensors of ema"),
        ({"ema": {f"{PREFIX}init_conv.weight": torch.ones(1)}}, "it holds the weights of another"),
        (
            {"ema": {"init_conv.weight": torch.ones(1)}},
            r"init_conv\.weight in ema, where every name begins with",
        ),
        ({"ema": print}, "wants more than tensors"),
    ],
)
def test_other_files_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        freeecho.load(tmp_path / "model.pt", TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 12}, "8 norm groups; got 12"),
        ({"dim": "32"}, "dim of Unet3D must be int"),
        ({"dim_mults": []}, "got none"),
        ({"num_semantic_map_channels": 1}, "at least 2 labels"),
        ({"init_kernel_size": 4}, "odd kernel; got 5, 32 and 4"),
        ({"dims": 3}, "Did you mean dim"),
    ],
)
def test_configs_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read({**write(LabelUNet3DConfig()), **change})


def test_inputs_that_do_not_fit_are_refused() -> None:
    net, x, t = LabelUNet3D(TINY), torch.zeros(1, 3, 2, 8, 8), torch.zeros(1)
    for shape in ((1, 1, 2, 8, 8), (1, 3, 8, 8), (1, 3, 2, 8, 7)):
        with pytest.raises(InputError, match=r"takes videos \(b, 3, t, h, w\) with sides"):
            net(torch.zeros(shape), t, Condition())
    with pytest.raises(InputError, match=r"shape \(1, 4, 8, 8\), .* got \(1, 1, 8, 8\)"):
        net(x, t, Condition(mask=torch.zeros(1, 1, 8, 8)))
    with pytest.raises(InputError, match="4 planes of a mask overlap"):
        net(x, t, Condition(mask=torch.ones(1, 4, 8, 8)))
    with pytest.raises(InputError, match="2 frames of 9 pixels"):
        LabelUNet3DConfig(size=9, frames=2)
