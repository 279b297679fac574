"""The released transformers against stored outputs: same keys, same numbers, same bits back."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from closed_forms import GOLDEN, golden
from torch import Tensor

from echoflow.condition import Condition
from echoflow.fields import guided_at_once
from echoflow.interop.keymap import Foreign, to_ours, to_theirs
from echoflow.interop.transformers import FOREIGN
from echoflow.networks.dit_v1 import FMiTv1, FMiTv1Config, FMvTv1, FMvTv1Config
from echoflow.process import RectifiedFlow
from echoflow.sampling import euler, integrate
from echoflow.types import InputError

IMAGE, VIDEO = FOREIGN
SLOW = pytest.mark.slow
CASES = ["image_transformer.tiny", "video_transformer.tiny"]
CASES += [
    pytest.param(name, marks=SLOW) for name in ("image_transformer.full", "video_transformer.full")
]


def foreign(about: dict) -> Foreign:
    return next(entry for entry in FOREIGN if entry.name == about["architecture"])


def built(config: FMiTv1Config | FMvTv1Config) -> FMiTv1 | FMvTv1:
    return FMiTv1(config) if isinstance(config, FMiTv1Config) else FMvTv1(config)


def restored(data: dict[str, Tensor], about: dict) -> tuple[FMiTv1 | FMvTv1, dict[str, Tensor]]:
    """The network of a golden file, and its weights under their names."""
    entry = foreign(about)
    net = built(entry.read(about["config"]))
    if about["weights"] == "formula":
        theirs = closed_form(to_theirs(entry.rules, net.state_dict()), about["salt"])
        for key, first in about["formula_check"].items():
            torch.testing.assert_close(theirs[key].flatten()[:3], torch.tensor(first))
    else:
        theirs = {k.removeprefix("weights."): v for k, v in data.items() if k[:8] == "weights."}
    net.load_state_dict(to_ours(entry.rules, theirs), strict=True)
    return net.eval().requires_grad_(False), theirs


def closed_form(tensors: dict[str, Tensor], salt: int) -> dict[str, Tensor]:
    """The weights of the `full` files: a hash of position, see `formula` there."""
    return {
        key: value if "pos_embed" in key and "proj" not in key else hashed(value, 1 + j + salt)
        for j, (key, value) in enumerate(sorted(tensors.items()))
    }


def hashed(like: Tensor, j: int) -> Tensor:
    mask = 0xFFFFFFFF
    x = (torch.arange(like.numel()) + j * 0x9E3779B9) & mask
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = ((x ^ (x >> shift)) * factor) & mask
    u = 2 * x.double() / 2**32 - 1
    scale = (3 / like[0].numel()) ** 0.5 if like.ndim >= 2 else 0.1
    return (u * scale).float().view(like.shape)


def answer(net: FMiTv1 | FMvTv1, inputs: dict[str, Tensor | None]) -> Tensor:
    """One case, through the parts of a call, as Condition has neither raw tokens nor videos."""
    t = inputs["timestep"]
    assert t is not None
    if isinstance(net, FMiTv1):
        x, label, mask = (inputs[k] for k in ("hidden_states", "class_labels", "segmentation"))
        assert x is not None
        assert label is not None
        view = torch.where(label == net.config.views, -1, label)
        return net(x, t.expand(len(x)), Condition(view=view, mask=mask))
    x, video, tokens = (inputs[k] for k in ("x", "cond_image", "encoder_hidden_states"))
    assert x is not None
    assert video is not None
    still = net.still_of(video, tokens)
    return net.velocity(x, net.modulation(t.reshape(-1), still), still)


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_stored_ones(name: str) -> None:
    data, about = golden(name)
    net, _ = restored(data, about)
    for case in about["cases"]:
        inputs = {k: None if key is None else data[key] for k, key in case["inputs"].items()}
        wanted = data[case["outputs"]["sample"]["key"]]
        torch.testing.assert_close(
            answer(net, inputs), wanted, **about["tolerance"], msg=lambda m, n=case["name"]: n + m
        )


@pytest.mark.parametrize("name", CASES[:2])
def test_export_gives_the_same_bits_and_config(name: str) -> None:
    data, about = golden(name)
    net, theirs = restored(data, about)
    entry = foreign(about)
    back = to_theirs(entry.rules, net.state_dict())
    assert set(back) == set(theirs)
    for key, value in theirs.items():
        assert torch.equal(back[key].view(torch.int32), value.view(torch.int32)), key
    written = entry.write(net.config)
    assert about["config"].items() <= written.items()
    assert entry.read(written) == net.config


def test_tables_are_the_released_ones() -> None:
    """A fresh network holds the sinusoids of the checkpoint; they differ by rounding alone."""
    data, about = golden("video_transformer.tiny")
    net = built(VIDEO.read(about["config"]))
    for ours, theirs in (("place", "pos_embed"), ("place_time", "pos_embed_temporal")):
        stored = data[f"weights.model.{theirs}"]
        torch.testing.assert_close(net.state_dict()[ours], stored, atol=1e-7, rtol=0)


VARIANTS = [
    (kind, name)
    for kind in ("image_transformer", "video_transformer")
    for path in [GOLDEN / f"{kind}.manifest.json"]
    for name in (json.loads(path.read_text()) if path.exists() else ())
]


@pytest.mark.parametrize(("kind", "name"), VARIANTS)
def test_every_variant_has_the_keys_and_shapes_of_the_release(kind: str, name: str) -> None:
    about = json.loads((GOLDEN / f"{kind}.manifest.json").read_text())[name]
    entry = next(entry for entry in FOREIGN if entry.name == about["_class_name"])
    with torch.device("meta"):
        net = built(entry.read(about["config"]))
    theirs = to_theirs(entry.rules, net.state_dict())
    assert {key: list(value.shape) for key, value in theirs.items()} == about["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == about["num_parameters"]


@pytest.mark.parametrize("dropped", ["both", "ef_only_dropped", "anatomy_only_dropped"])
def test_sampling_with_guidance_ends_where_the_release_does(dropped: str) -> None:
    data, about = golden("sampling.tiny")
    net, _ = restored(*golden(about["model"]))
    process, cond = RectifiedFlow(), condition(data)
    names = {"both": ("ef", "frame"), "ef_only_dropped": ("ef",)}.get(dropped, ("frame",))
    for case in about["cases"]:
        if case["unconditional_branch"] == dropped:
            field = guided_at_once(process, net, cond, cond.without(*names), case["scale"])
            end = integrate(field, data["noise"], process.grid(about["steps"]), euler)
            torch.testing.assert_close(end, data[case["key"]], **about["tolerance"])


def condition(data: dict[str, Tensor]) -> Condition:
    """The anatomy is one frame repeated, the token the EF as a fraction."""
    frame = data["anatomy"][:, :, 0]
    assert torch.equal(data["anatomy"], frame[:, :, None].expand_as(data["anatomy"]))
    return Condition(ef=100 * data["encoder_hidden_states"].flatten(), frame=frame)


@pytest.mark.parametrize(
    ("entry", "changed", "message"),
    [
        (IMAGE, {"sample_sise": 8}, "no config field 'sample_sise'. Did you mean sample_size"),
        (IMAGE, {"norm_type": "layer_norm"}, "norm_type ada_norm_zero in all releases; got layer"),
        (IMAGE, {"out_channels": 5}, "in_channels 5 needs out_channels 4; got 5"),
        (IMAGE, {"sample_size": 27}, "27 cells or frames has no whole patches of 2"),
        (VIDEO, {"in_channels": 4}, "out_channels 4 needs in_channels 8; got 4"),
        (VIDEO, {"input_size": [64, 28]}, r"must be frames, rows and columns; got \[64, 28\]"),
        (VIDEO, {"input_size": [64, 28, 27]}, "27 cells or frames has no whole patches of 2"),
        (VIDEO, {"hidden_size": 386}, "multiple of 4 and of 6 heads; got 386"),
        (VIDEO, {"hidden_size": "384"}, "hidden_size of DiffuserSTDiT must be int, not '384'"),
    ],
)
def test_bad_configs_are_refused_in_a_sentence(entry: Foreign, changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        entry.read(entry.write(entry.config()) | changed)


@pytest.mark.parametrize("entry", FOREIGN, ids=lambda entry: entry.name)
def test_missing_fields_are_named(entry: Foreign) -> None:
    with pytest.raises(InputError, match=f"config of {entry.name} lacks .*in_channels"):
        entry.read({})


def test_what_the_release_cannot_say_is_not_exported() -> None:
    with pytest.raises(InputError, match="1 mask channel; this model has 2"):
        IMAGE.write(FMiTv1Config(mask_channels=2))
    with pytest.raises(InputError, match="merges heads out of order"):
        VIDEO.write(dataclasses.replace(FMvTv1Config(), scrambled_heads=False))
