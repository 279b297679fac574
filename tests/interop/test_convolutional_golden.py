"""UNet, STUNet, re-identification and A-VAE against stored values of the published layouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from closed_forms import golden
from golden_cases import cases, formula_weights, manifest, norm_weights, stored_weights
from torch import Tensor, nn

from echoflow.interop.convolutional import FOREIGN
from echoflow.interop.keymap import Foreign, Rules, to_ours, to_theirs
from echoflow.networks import zoo
from echoflow.networks.trunks import ReId18
from echoflow.networks.unet import STUNet, UNet
from echoflow.types import InputError

Outputs = dict[str, Tensor]
CLASS = {"image_unet": "SegUnet2DModel", "video_unet": "UNetSTIC", "reid": "ResNet18"}
NETWORKS: dict[str, Callable[[Any], nn.Module]] = {
    "image_unet": UNet,
    "video_unet": STUNet,
    "reid": ReId18,
}


def unet(net: Any, at: Mapping[str, Tensor]) -> Outputs:
    arguments = (at[k] for k in ("sample", "timestep", "class_labels", "segmentation"))
    return {"sample": net.velocity(*arguments)}


def stunet(net: Any, at: Mapping[str, Tensor]) -> Outputs:
    arguments = (at[k] for k in ("x", "timestep", "encoder_hidden_states", "cond_image"))
    return {"sample": net.velocity(*arguments)}


def reid(net: Any, at: Mapping[str, Tensor]) -> Outputs:
    return {"features": net.logits(at["x"]), "sigmoid": net(at["x"])}


def avae(net: Any, at: Mapping[str, Tensor]) -> Outputs:
    if "latent" in at:
        return {"sample": net.decode(at["latent"]).sample}
    posterior = net.encode(at["image"]).latent_dist
    return {"mean": posterior.mean, "logvar": posterior.logvar, "std": posterior.std}


CALLS: dict[str, Callable[[Any, Any], Outputs]] = {
    "image_unet": unet,
    "video_unet": stunet,
    "reid": reid,
    "avae": avae,
}
SLOW = ("image_unet.full", "avae.full")
FILES = [
    pytest.param(f"{name}.{kind}", marks=[pytest.mark.slow] if f"{name}.{kind}" in SLOW else [])
    for name in CALLS
    for kind in ("tiny", "full")
]


def foreign(name: str) -> Foreign:
    return next(one for one in FOREIGN if one.name == CLASS[name])


def built(name: str, config: Mapping[str, Any]) -> tuple[nn.Module, Rules]:
    """The network of a golden file without values, and the key map of its class."""
    with torch.device("meta"):
        if name == "avae":
            from diffusers import AutoencoderKL

            return AutoencoderKL.from_config(dict(config)), ()  # type: ignore[return-value]
        one = foreign(name)
        return NETWORKS[name](one.read(config)), one.rules


def theirs_of(rules: Rules, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return to_theirs(rules, tensors) if rules else dict(tensors)


def loaded(file: str) -> tuple[nn.Module, Rules, dict[str, Tensor]]:
    """The network of a golden file with its weights, strictly loaded, and these weights."""
    data, about = golden(file)
    name, kind = file.split(".")
    net, rules = built(name, about["config"])
    if kind == "tiny":
        weights = stored_weights(data)
    else:
        like = theirs_of(rules, net.state_dict())
        like = {k: v if v.is_floating_point() else torch.zeros(()).long() for k, v in like.items()}
        norms = theirs_of(rules, {key: torch.zeros(1) for key in norm_weights(net)})
        weights = formula_weights(like, set(norms), about)
    assert len(weights) == about["num_state_dict_tensors"]
    net.load_state_dict(to_ours(rules, weights) if rules else weights, assign=True)
    return net.eval(), rules, weights


@pytest.mark.parametrize("file", FILES)
@torch.no_grad()
def test_golden_outputs_and_export(file: str) -> None:
    net, rules, weights = loaded(file)
    tolerance = golden(file)[1]["tolerance"]
    for _, inputs, wanted in cases(file):
        found = CALLS[file.split(".")[0]](net, inputs)
        torch.testing.assert_close(found, wanted, **tolerance)
    exported = theirs_of(rules, net.state_dict())
    assert set(exported) == set(weights)
    for key, value in weights.items():
        assert exported[key].dtype == value.dtype
        assert torch.equal(exported[key], value), key


@pytest.mark.parametrize("name", CALLS)
def test_golden_manifest(name: str) -> None:
    """Every variant at real size: names, shapes and number of parameters."""
    for variant, about in manifest(name).items():
        net, rules = built(name, about["config"])
        theirs = theirs_of(rules, net.state_dict())
        shapes = {key: list(value.shape) for key, value in theirs.items()}
        assert shapes == about["state_dict"], variant
        assert sum(p.numel() for p in net.parameters()) == about["num_parameters"], variant


@pytest.mark.parametrize("name", CLASS)
def test_golden_configs_come_back(name: str) -> None:
    """A published config survives the way through ours, and what it leaves out is filled in."""
    one = foreign(name)
    for about in manifest(name).values():
        ours = one.read(about["config"])
        theirs = json.loads(json.dumps(one.write(ours)))
        assert about["config"].items() <= theirs.items()
        assert one.read(theirs) == ours


def test_zoo_rows_are_the_published_configs() -> None:
    """Our rows of the zoo describe the networks whose size the paper prints."""
    for name in ("image_unet", "video_unet"):
        for variant, about in manifest(name).items():
            if variant in zoo.ROWS:
                assert zoo.ROWS[variant] == foreign(name).read(about["config"])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("image_unet", {"in_channels": 3}, "got 3 and 4"),
        ("image_unet", {"time_embedding_type": "fourier"}, "must be 'positional'; got 'fourier'"),
        ("image_unet", {"class_embed_type": "timestep"}, "class_embed_type"),
        ("image_unet", {"num_class_embeds": 0}, "above 0 or null, not 0"),
        ("image_unet", {"block_out_chanels": [1]}, "Did you mean block_out_channels"),
        ("video_unet", {"in_channels": 9}, "got 9 and 4"),
        ("video_unet", {"num_frames": "many"}, "num_frames of UNetSTIC must be int"),
        ("reid", {"out_channels": None}, "out_channels"),
    ],
)
def test_configs_that_do_not_fit_are_refused(
    name: str, change: Mapping[str, Any], words: str
) -> None:
    config = next(iter(manifest(name).values()))["config"]
    if name == "image_unet":
        config = {**config, "in_channels": 5, "out_channels": 4}
    if name == "video_unet":
        config = {**config, "in_channels": 8, "out_channels": 4}
    with pytest.raises(InputError, match=words):
        foreign(name).read({**config, **change})


@pytest.mark.parametrize("name", CLASS)
def test_shaping_fields_must_be_there(name: str) -> None:
    with pytest.raises(InputError, match="in_channels, out_channels"):
        foreign(name).read({})
