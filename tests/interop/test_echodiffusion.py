"""EchoDiffusion: networks against stored values, published files in, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cascade_folder import FORMS, TREE, cascade
from closed_forms import golden
from golden_cases import cases, formula_weights, manifest, norm_weights, stored_weights
from torch import Tensor

from echoflow.condition import Condition
from echoflow.interop import echodiffusion
from echoflow.interop.keymap import to_ours, to_theirs
from echoflow.interop.unet3d import FOREIGN, RULES, read, write
from echoflow.networks import zoo
from echoflow.networks.unet3d import UNet3D, UNet3DConfig, check_order
from echoflow.process import EDM
from echoflow.sampling import Churn
from echoflow.types import InputError

KINDS = ("base", "base_nomid", "up", "sr")
VARIANTS = (
    *(
        f"{cascade}.stage{i}"
        for cascade in ("1SCM", "2SCM", "4SCM")
        for i in range(1, int(cascade[0]) + 1)
    ),
    *(f"4SCM.stage{i}.all_levels_cross_attention" for i in (1, 2)),
)


def loaded(file: str) -> tuple[UNet3D, dict[str, Tensor]]:
    """The network of a golden file with its weights, strictly loaded, and these weights."""
    data, about = golden(file)
    net = UNet3D(read(about["config"]))
    if file.endswith("tiny"):
        tensors = stored_weights(data)
    else:
        like = to_theirs(RULES, net.state_dict())
        norms = to_theirs(RULES, {key: torch.zeros(1) for key in norm_weights(net)})
        gains = [key for key in like if key.endswith(".g")]
        tensors = formula_weights(like, {*norms, *gains}, about)
    assert len(tensors) == about["num_state_dict_tensors"]
    assert sum(p.numel() for p in net.parameters()) == about["num_parameters"]
    net.load_state_dict(to_ours(RULES, tensors))
    return net.eval(), tensors


def arguments(file: str) -> list[Mapping[str, Any]]:
    return [case["arguments"] for case in golden(file)[1]["cases"]]


def fraction(at: Mapping[str, Tensor | None], drop: float) -> Tensor | None:
    """The EF of a case, nan where it is dropped."""
    ef = at["text_embeds"]
    return (
        None if ef is None else ef[:, 0, 0] if not drop else torch.full_like(ef[:, 0, 0], torch.nan)
    )


FILES = [
    *(f"echodiffusion/unet3d_{kind}.tiny" for kind in KINDS),
    *(pytest.param(f"echodiffusion/unet3d_{kind}.full", marks=pytest.mark.slow) for kind in KINDS),
]


@pytest.mark.parametrize("file", FILES)
@torch.no_grad()
def test_golden_outputs_and_export(file: str) -> None:
    net, tensors = loaded(file)
    tolerance = golden(file)[1]["tolerance"]
    for (name, at, wanted), given in zip(cases(file), arguments(file), strict=True):
        ef = fraction(at, given["cond_drop_prob"])
        mask = at["text_mask"]
        absent = None if mask is None else mask[:, 0] == 0
        x, time, frame = (at[key] for key in ("x", "time", "cond_images"))
        assert x is not None
        assert time is not None
        assert frame is not None
        told = net.condition(time, ef, absent, at.get("lowres_noise_times"))
        found = net.output(x, told, frame, at.get("lowres_cond_img"), not given["ignore_time"])
        torch.testing.assert_close(found, wanted["out"], **tolerance, msg=name)
    exported = to_theirs(RULES, net.state_dict())
    assert set(exported) == set(tensors)
    assert all(torch.equal(exported[key], value) for key, value in tensors.items())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_golden_outputs_by_a_condition(kind: str) -> None:
    """The same through `Condition`, in our units: percent, frames in [-1, 1], nan for no EF."""
    file = f"echodiffusion/unet3d_{kind}.tiny"
    net, _ = loaded(file)
    quirk = UNet3D(replace(net.config, zero_ef_is_null=True)).eval()
    quirk.load_state_dict(net.state_dict())
    tolerance = golden(file)[1]["tolerance"]
    for (name, at, wanted), given in zip(cases(file), arguments(file), strict=True):
        ef = fraction(at, given["cond_drop_prob"])
        if ef is None:
            continue  # says nothing of an EF, which a condition cannot
        x, time, frame = (at[key] for key in ("x", "time", "cond_images"))
        assert x is not None
        assert time is not None
        assert frame is not None
        level = at.get("lowres_noise_times")
        cond = Condition(100 * ef, None, 2 * frame - 1, None, at.get("lowres_cond_img"), level)
        asked = quirk if name == "ef_zero_masked" else net
        found = asked(x, time, cond, in_time=not given["ignore_time"])
        torch.testing.assert_close(found, wanted["out"], **tolerance, msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_manifest(variant: str) -> None:
    """At real size: names, shapes and number of parameters."""
    about = manifest("echodiffusion/unet3d")[variant]
    with torch.device("meta"):
        net = UNet3D(read(about["config"]))
    theirs = to_theirs(RULES, net.state_dict())
    assert {key: list(value.shape) for key, value in theirs.items()} == about["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == about["num_parameters"]


def test_golden_configs_come_back_and_are_rows_of_the_zoo() -> None:
    known = manifest("echodiffusion/unet3d")
    assert set(known) == set(VARIANTS)
    for variant, about in known.items():
        ours = read(about["config"])
        assert about["config"].items() <= write(ours).items()
        assert read(write(ours)) == ours
        row = zoo.ROWS.get(variant.replace(".stage", "-"))
        if isinstance(row, UNet3DConfig):
            assert replace(row, size=ours.size, frames=ours.frames) == ours
    assert FOREIGN.read is read


def changed(path: str, value: Any) -> dict[str, Any]:
    """TREE with another value at `path`; None takes the entry out."""
    tree = yaml.safe_load(yaml.safe_dump(TREE))
    *above, name = path.split(".")
    place = tree
    for part in above:
        place = place[part]
    place[name] = value
    if value is None:
        del place[name]
    return tree


@pytest.mark.parametrize(("kind", "shift"), [("averaged", 0), ("raw", 1)])
def test_a_cascade_loads_as_it_was_saved(kind: Any, shift: int, tmp_path: Path) -> None:
    nets = cascade(tmp_path)
    found = echodiffusion.load(tmp_path, kind=kind, zero_ef_is_null=bool(shift))
    assert [net.config for net in found] == [
        replace(form, zero_ef_is_null=bool(shift)) for form in FORMS
    ]
    for net, wanted in zip(found, nets, strict=True):
        for key, value in wanted.state_dict().items():
            assert torch.equal(net.state_dict()[key], value + shift), key
        assert not any(p.requires_grad for p in net.parameters())


def test_what_the_config_says_of_sampling(tmp_path: Path) -> None:
    cascade(tmp_path)
    first, second = echodiffusion.read_stages(tmp_path / "config.yaml")
    process = EDM(sigma_data=0.25)
    assert first == echodiffusion.Stage(FORMS[0], 8.0, process, 32, Churn(80.0), "trilinear", None)
    assert second == echodiffusion.Stage(FORMS[1], 32.0, process, 64, Churn(160.0), "trilinear", 8)


def test_one_stage_has_values_of_its_own(tmp_path: Path) -> None:
    tree = yaml.safe_load(yaml.safe_dump(TREE))
    del tree["unets"]["unet2"], tree["imagen"]["resize_mode"], tree["imagen"]["random_crop_sizes"]
    single = {"image_sizes": [8], "num_sample_steps": 64, "S_churn": 160}
    tree["imagen"] |= {**single, "temporal_downsample_factor": [4]}
    cascade(tmp_path, tree, FORMS[:1])
    (stage,) = echodiffusion.read_stages(tmp_path / "config.yaml")
    assert (stage.steps, stage.resize, stage.crop) == (64, "nearest", None)
    assert stage.churn == Churn(160.0, 0.05, 50.0, 1.003)
    assert len(echodiffusion.load(tmp_path)) == 1


def test_the_tensors_say_which_levels_cross_attend(tmp_path: Path) -> None:
    forms = [replace(form, cross=(True, True)) for form in FORMS]
    cascade(tmp_path, TREE, forms)
    assert [net.config.cross for net in echodiffusion.load(tmp_path)] == [(True, True)] * 2


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("unets", None, "unets is missing"),
        ("unets.unet1", None, "unets must be unet1, unet2, ...; got unet2"),
        ("unets", {1: {}, 2: {}}, "unets must be unet1, unet2, ...; got 1, 2"),
        ("unets.unet1.dim", None, "lacks dim"),
        ("unets.unet1.attn_heads", -1, "heads must be a whole number of at least 1; got -1"),
        ("unets.unet1.resnet_groups", -8, "groups must be a whole number of at least 1; got -8"),
        ("unets.unet1.dim_mults", [2, 4], "so that multiples begin with 1; got 2"),
        ("imagen.image_sizes", [8.0, 16.0], "size must be a whole number of at least 1; got 8.0"),
        ("imagen.image_sizes", [0, 16], "size must be a whole number of at least 1; got 0"),
        ("imagen.num_sample_steps", 2.7, "num_sample_steps must be a whole number .* got 2.7"),
        ("imagen.sigma_max", math.inf, "sigma_max must be a positive number; got inf"),
        ("imagen.P_mean", math.nan, "p_mean must be a number; got nan"),
        ("imagen.S_noise", math.inf, "inflation > 0; got"),
        ("dataset.duration", math.inf, "is not the config of a cascade"),
        ("unets.unet1.dim", "many", "dim of Unet3D must be int, not 'many'"),
        ("unets.unet1.dim", 12, "8 norm groups; got 12"),
        ("unets.unet1.layer_attns", True, "layer_attns of Unet3D is off in all releases"),
        ("unets.unet1.layer_cross_attns", [True], "one for each of 2 levels"),
        ("unets.unet1.num_resnet_blocks", "two", "must be int, or one for each"),
        ("unets.unet1.self_cond", True, "self_cond of Unet3D is False in all releases; got True"),
        ("unets.unet1.memory_eficient", True, "Did you mean memory_efficient"),
        ("unets.unet1.cond_images_channels", 1, "its own 3 channels; .* is 1"),
        ("imagen.image_sizes", [16, 8], "stage 1 makes 2 frames of 16 pixels and stage 2 8 of 8"),
        ("imagen.image_sizes", [8], "image_sizes has 1 values for 2 stages"),
        ("imagen.image_sizes", [9, 16], "multiples of 2; got 2 frames of 9 pixels"),
        ("imagen.temporal_downsample_factor", [1, 4], "in order of growing size"),
        ("imagen.temporal_downsample_factor", [0, 1], "not the config of a cascade"),
        ("imagen.text_embed_dim", 768, "text_embed_dim of Unet3D is 1 in all releases; got 768"),
        ("imagen.lowres_sample_noise_level", 0.5, "level is 0.2 in all releases; got 0.5"),
        ("imagen.dynamic_thresholding", [True, False], "is True in all releases; got False"),
        ("imagen.resize_mode", "bicubic", "resize_mode 'bicubic'"),
        ("imagen.sigma_data", None, "not the config of a cascade"),
        ("imagen.sigma_data", -1, "sigma_data must be a positive number; got -1"),
        ("dataset.fps", None, "not the config of a cascade"),
    ],
)
def test_configs_that_do_not_fit_are_refused(
    path: str, value: Any, message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(InputError, match=message):
        echodiffusion.read_stages(tmp_path / "config.yaml")


def edited(folder: Path, edit: Any) -> None:
    content = torch.load(folder / "merged.pt")
    edit(content)
    torch.save(content, folder / "merged.pt")


KEY = "1.ema_model.mid_attn.fn.fn.to_q.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["ema"].pop(KEY), r"lacks mid_attn\.fn\.fn\.to_q\.weight"),
        (lambda c: c["ema"].update({f"{KEY}s": torch.ones(1)}), "has unknown mid_attn"),
        (lambda c: c["ema"].update({KEY: torch.ones(2, 2)}), r"has shape \(2, 2\), the model"),
        (lambda c: c["ema"][KEY].fill_(torch.nan), "not finite"),
        (lambda c: c["ema"].update({KEY: c["ema"][KEY].int()}), "holds int32, the model needs"),
        (lambda c: c["ema"].update({KEY: c["ema"][KEY] + 0j}), "holds complex64, the model needs"),
        (lambda c: c["ema"].update({KEY: c["ema"][KEY].to_sparse()}), "is a sparse tensor"),
        (lambda c: c.update(ema={}), "describes 2 stages and merged.pt holds weights of 0"),
        (lambda c: c.pop("ema"), "must hold a dict with ema"),
        (
            lambda c: c.update(ema={k: v for k, v in c["ema"].items() if k[0] == "1"}),
            r"averaged weights of stages \[1\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(edit: Any, message: str, tmp_path: Path) -> None:
    cascade(tmp_path)
    edited(tmp_path, edit)
    with pytest.raises(InputError, match=message):
        echodiffusion.load(tmp_path)


def test_stages_of_another_order_are_refused(tmp_path: Path) -> None:
    cascade(tmp_path, TREE, FORMS[::-1])
    with pytest.raises(InputError, match="it holds the weights of another model"):
        echodiffusion.load(tmp_path)
    with pytest.raises(InputError, match="stage 2 of a cascade needs a low-resolution input"):
        check_order([FORMS[0], replace(FORMS[0], size=16)])
    with pytest.raises(InputError, match="stage 1 of a cascade takes no low-resolution"):
        check_order(FORMS[1:])
    with pytest.raises(InputError, match="stage 1 makes 3 colour channels and stage 2 1;"):
        check_order([FORMS[0], replace(FORMS[1], channels=1)])


def test_programs_and_ruins_are_not_opened(tmp_path: Path) -> None:
    cascade(tmp_path)
    torch.save({"ema": print}, tmp_path / "merged.pt")
    with pytest.raises(InputError, match="wants more than tensors"):
        echodiffusion.load(tmp_path)
    (tmp_path / "merged.pt").unlink()
    with pytest.raises(InputError, match=r"no file .*merged\.pt"):
        echodiffusion.load(tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(InputError, match=r"config\.yaml is missing"):
        echodiffusion.load(tmp_path)
