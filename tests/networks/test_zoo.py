"""Networks to folders and back, and every way in which a folder can be wrong."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1Config
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.networks.trunks import DeepLabConfig, R2Plus1DConfig, ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.networks.unet3d_labels import LabelUNet3DConfig
from echoflow.types import InputError

TINY: dict[str, zoo.Config] = {
    "AutoencoderKL": AVAEConfig(2, (8, 16), 1, 8, False, 1),
    "FMiT": FMiTConfig(2, 8, 4, 16, 1, 2),
    "FMvT": FMvTConfig(2, 8, 4, (2, 4, 4), 16, 1, 2),
    "FMiTv1": FMiTv1Config(2, 8, 4, 16, 1, 2),
    "FMvTv1": FMvTv1Config(2, (8, 12), 4, (2, 4, 4), 16, 1, 2),
    "UNet": UNetConfig(2, 8, (8, 8, 8, 8), head=4, groups=4),
    "STUNet": STUNetConfig(2, (8, 8), 3, (32, 32, 32, 32), (2, 2, 4, 4)),
    "UNet3D": UNet3DConfig(1, 8, 2, 8, (1, 2), (1, 1), (False, True), lowres=True, groups=4),
    "LabelUNet3D": LabelUNet3DConfig(1, 8, 2, 8, (1, 2), 3, 2, 8, 4, 3),
    "ReId": ReIdConfig(2, 8, 1),
    "ReId18": ReId18Config(2, 8, 8),
    "EFRegressor": EFRegressorConfig((8, 16), 16, 8),
    "LVSegmenter": LVSegmenterConfig((8, 8)),
}
LARGE: dict[str, zoo.Config] = {"R2Plus1D": R2Plus1DConfig(), "DeepLab": DeepLabConfig()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    zoo.save(zoo.build(TINY["FMiT"]), tmp_path / "net")
    return tmp_path / "net"


@pytest.mark.parametrize("kind", [*TINY, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)])
def test_save_and_load_are_inverse(kind: str, tmp_path: Path) -> None:
    net = zoo.build((TINY | LARGE)[kind])
    assert type(net).__name__ == kind
    zoo.save(net, tmp_path)
    back = zoo.load(tmp_path)
    zoo.save(back, tmp_path / "again")
    for file in ("config.json", zoo.WEIGHTS):
        assert (tmp_path / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    for (name, a), b in zip(net.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not any(p.requires_grad for p in back.parameters())


def test_every_class_is_covered() -> None:
    assert {*TINY, *LARGE} == {*zoo.CLASSES, "AutoencoderKL"}


def test_names() -> None:
    """The paper's models, both styles of the transformers, and the embedded bundle's."""
    ends = [f"{size}{end}" for size in "SBL" for end in ("/2-16f8", "/4-4f4", "/2-4f4")]
    transformers = [f"{family}-{end}" for family in ("FMiT", "FMvT") for end in ends]
    unets = [f"UNet-{size}-{space}" for size in "SBL" for space in ("16f8", "4f4")]
    others = ["A-VAE-4f8", "A-VAE-4f4", "A-VAE-16f8", "STUNet-S-16f8", "STUNet-S-4f4"]
    judges = ["ReId-4f8", "ReId-4f4", "ReId-16f8", "EF-R2+1D", "LV-DeepLabV3"]
    nano = [f"{family}-nano" for family in ("A-VAE", "FMiT", "FMvT", "ReId", "EF", "LV")]
    cascades = ["1SCM-1", "2SCM-1", "2SCM-2", "4SCM-1", "4SCM-2", "4SCM-3", "4SCM-4", "Free-Echo"]
    styles = [*transformers, *(f"{name}-v2" for name in transformers)]
    assert {*styles, *unets, *others, *judges, *cascades, *nano} <= set(zoo.ROWS)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("FMiT-S/4-4f4", FMiTv1Config(4, 28, 4, 384, 12, 6)),
        ("FMvT-L/2-16f8", FMvTv1Config(16, (14, 14), 64, (1, 2, 2), 1024, 24, 16)),
        ("FMvT-B/2-4f4-v2", FMvTConfig(4, 28, 64, (1, 2, 2), 768, 12, 12)),
        ("UNet-B-4f4", UNetConfig(4, 28, (160, 320, 480, 640))),
        ("STUNet-S-16f8", STUNetConfig(16, 14, 64, (64, 128, 192, 256))),
    ],
)
def test_what_a_name_means(name: str, config: zoo.Config) -> None:
    assert zoo.config_of(name) == config


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(InputError, match="FMvT-S/2-4f4"):
        zoo.build("FMvT-S2-4f4")


def test_patterns() -> None:
    assert zoo.matching(["UNet-L-*f8", "FMvT-nano"]) == ["UNet-L-4f8", "UNet-L-16f8", "FMvT-nano"]
    with pytest.raises(InputError, match="unknown model 'FMxT-"):
        zoo.matching(["FMiT-*", "FMxT-*"])


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def test_missing_weights(folder: Path) -> None:
    (folder / zoo.WEIGHTS).unlink()
    with pytest.raises(InputError, match="no weights at"):
        zoo.load(folder)


def test_truncated_weights(folder: Path) -> None:
    path = folder / zoo.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        zoo.load(folder)


def test_foreign_weights(folder: Path) -> None:
    save_file({"foreign.weight": torch.zeros(3)}, str(folder / zoo.WEIGHTS))
    with pytest.raises(InputError, match=r"lacks .* and .* more"):
        zoo.load(folder)


def test_weights_with_something_extra(folder: Path) -> None:
    path = folder / zoo.WEIGHTS
    save_file({**load_file(str(path)), "surplus": torch.zeros(3)}, str(path))
    with pytest.raises(InputError, match="has unknown surplus"):
        zoo.load(folder)


def test_misshapen_weights(folder: Path) -> None:
    edit_config(folder, width=32)
    with pytest.raises(InputError, match="has shape"):
        zoo.load(folder)


def test_weights_that_are_not_finite(folder: Path) -> None:
    path = folder / zoo.WEIGHTS
    tensors = load_file(str(path))
    tensors["embed.bias"][0] = torch.nan
    save_file(tensors, str(path))
    with pytest.raises(InputError, match=r"embed\.bias holds values that are not finite"):
        zoo.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 3}, "unknown field in .*: 'colour'"),
        ({"widht": 3}, "Did you mean width"),
        ({"width": "wide"}, "this FMiT cannot be built"),
        ({"width": None}, "needs the field width"),
        ({"_class_name": "FMiTT"}, "Did you mean FMiT"),
        ({"_class_name": None}, "names no _class_name"),
    ],
)
def test_wrong_configs(folder: Path, changes: dict[str, object], message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(InputError, match=message):
        zoo.load(folder)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        zoo.load(tmp_path)
