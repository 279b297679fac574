"""Networks to folders and back, and every way in which a folder can be wrong."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.types import InputError

TINY = {
    "avae": AVAEConfig(2, (8, 16), 1, 8, False, 1),
    "fmit": FMiTConfig(2, 8, 4, 16, 1, 2),
    "fmvt": FMvTConfig(2, 8, 4, (2, 4, 4), 16, 1, 2),
    "reid": ReIdConfig(2, 8, 1),
    "ef": EFRegressorConfig((8, 16), 16, 8),
    "lv": LVSegmenterConfig((8, 16)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    zoo.save(zoo.build(TINY["fmit"]), tmp_path / "net")
    return tmp_path / "net"


@pytest.mark.parametrize("kind", TINY)
def test_save_and_load_are_inverse(kind: str, tmp_path: Path) -> None:
    net = zoo.build(TINY[kind])
    zoo.save(net, tmp_path)
    back = zoo.load(tmp_path)
    for (name, a), b in zip(net.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not any(p.requires_grad for p in back.parameters())


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(InputError, match="FMvT-S/2-4f4"):
        zoo.build("FMvT-S2-4f4")


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
        ({"colour": 3}, "unknown field colour"),
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
