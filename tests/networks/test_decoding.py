"""The decoder for inference computes what the A-VAE does, with fewer products."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from echoflow.networks.avae import AVAEConfig, build_avae
from echoflow.networks.decoding import FastDecoder, FoldedUpsample


def test_folding_is_exact() -> None:
    """In float64 the two readings differ by rounding alone, also at the borders."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    plain = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(FoldedUpsample(conv)(x), plain, atol=1e-12, rtol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)], ids=["fp32", "bf16"]
)
def test_decoder_agrees_with_the_autoencoder(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    avae = build_avae(AVAEConfig(4, (16, 24, 32), 1, 8)).eval()
    before = {key: value.clone() for key, value in avae.state_dict().items()}
    fast = FastDecoder(avae, dtype)
    assert sum(isinstance(layer, FoldedUpsample) for layer in fast.modules()) == 2
    z = torch.randn(3, 4, 7, 7)
    wanted, found = avae.decode(z).sample, fast(z)  # type: ignore[union-attr]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0.0)
    assert all(torch.equal(before[key], value) for key, value in avae.state_dict().items())
