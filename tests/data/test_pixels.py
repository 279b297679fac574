"""The one conversion between uint8 and floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow.data.pixels import signed, to_float, to_uint8, unsigned

GREYS = np.arange(256, dtype=np.uint8)
GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "math.tiny.safetensors"


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_round_trip_is_exact(make):
    x = to_float(make(GREYS))
    assert str(x.dtype).endswith("float32")
    assert float(x[0]) == -1.0
    assert float(x[128]) == 0.0
    assert float(x[255]) == 127 / 128
    back = to_uint8(x)
    assert str(back.dtype).endswith("uint8")
    assert (np.asarray(back) == GREYS).all()


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_clamped_and_truncated_not_wrapped(make):
    x = make(np.array([-9.0, -1.0, 0.0078, 0.9999, 9.0], np.float32))
    assert np.asarray(to_uint8(x)).tolist() == [0, 0, 128, 255, 255]


def test_signed_pixels_end_at_one_and_come_back():
    x = signed(torch.from_numpy(GREYS))
    assert (x[0].item(), x[255].item()) == (-1.0, 1.0)
    assert (unsigned(x).numpy() == GREYS).all()
    assert unsigned(torch.tensor([-2.0, 0.001, 2.0])).tolist() == [0, 128, 255]


def test_half_precision_is_widened_first():
    x = torch.tensor([-0.00390625, -0.5], dtype=torch.bfloat16)
    assert to_uint8(x).tolist() == [127, 64]  # 1 + x would round to 1 in bfloat16


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the golden data")
def test_as_the_released_models_do():
    from safetensors.torch import load_file

    golden = load_file(GOLDEN)
    decoded, pixels = golden["decoded"], golden["pixels_uint8_128"]
    assert torch.equal(to_uint8(decoded), pixels)
