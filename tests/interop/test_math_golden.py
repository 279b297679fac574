"""Our process, latents, pixels and privacy filter against the published formulas."""

from __future__ import annotations

import pytest
import torch
from closed_forms import golden
from torch import Tensor

from echoflow.condition import Condition
from echoflow.data.pixels import to_uint8
from echoflow.interop.conventions import offset_pair
from echoflow.latents import LatentStats
from echoflow.privacy import Gallery, PrivacyFilter, best_matches, correlations, paper_threshold
from echoflow.process import RectifiedFlow, corrupt


@pytest.fixture
def data() -> dict[str, Tensor]:
    return golden("math.tiny")[0]


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, **golden("math.tiny")[1]["tolerance"])


def test_golden_interpolation_and_velocity(data: dict[str, Tensor]) -> None:
    process, (x0, noise, t) = RectifiedFlow(), (data[k] for k in ("z0", "z1", "t"))
    close(corrupt(process, x0, noise, t), data["zt_linear"])

    def perfect(x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        close(x, data["zt_linear"])
        return data["v_linear"]

    close(process.loss(perfect, x0, noise, t, Condition()), torch.zeros(len(x0)))


def test_golden_interpolation_with_offset(data: dict[str, Tensor]) -> None:
    x_t, v = offset_pair(data["z0"], data["z1"], data["t"])
    close(x_t, data["zt_offset"])
    close(v, data["v_offset"])


def test_golden_latent_normalisation(data: dict[str, Tensor]) -> None:
    stats = LatentStats(data["mean"], data["std"])
    close(stats.normalise(data["latent_raw"]), data["latent_norm"])
    close(stats.restore(data["latent_norm"]), data["latent_raw"])


def test_golden_pixels(data: dict[str, Tensor]) -> None:
    assert torch.equal(to_uint8(data["decoded"]), data["pixels_uint8_128"])


def test_golden_reidentification_filter(data: dict[str, Tensor]) -> None:
    about = golden("math.tiny")[1]["reid"]
    train, val, query = (data[f"reid_{name}"] for name in ("train", "val", "query"))
    close(correlations(train, val).float(), data["reid_train_val_corr"])
    close(correlations(query, train).float(), data["reid_query_corr"])
    highest, nearest = best_matches(query, train)
    close(highest.float(), data["reid_query_max"])
    assert torch.equal(nearest, data["reid_query_argmax"])
    tau = paper_threshold(train, val, about["tau_percentile"])
    assert tau == pytest.approx(about["tau"], abs=1e-5)

    gallery = Gallery(train, tuple(str(i) for i in range(len(train))))
    judge = PrivacyFilter(lambda z: z.flatten(1), gallery, tau)
    verdicts = judge.verdicts(query[:, :, None, None])
    assert [not verdict.accepted for verdict in verdicts] == about["rejected"]
    assert [int(verdict.nearest) for verdict in verdicts] == nearest.tolist()
