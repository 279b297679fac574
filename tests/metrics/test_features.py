"""Extractors: streaming, labels, and the EF regressor's features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from echoflow.data.pixels import to_float
from echoflow.judges import EFFeatures
from echoflow.metrics.features import RandomFeatures, extracted
from echoflow.metrics.frechet import Statistics
from echoflow.networks.heads import EFRegressor, EFRegressorConfig
from echoflow.types import InputError

RNG = np.random.default_rng(0)


def videos(n: int = 7, shape: tuple[int, ...] = (6, 24, 20)) -> np.ndarray:
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)


def test_batches_do_not_matter_and_settings_are_kept() -> None:
    x, told = videos(), []
    whole = extracted(RandomFeatures(), x, {"fps": 32.0, "split": "TEST"}, 100, told.append)
    pieces = extracted(RandomFeatures(), iter(x), batch=2)
    np.testing.assert_array_equal(pieces.values, whole.values)
    assert (len(whole), whole.videos, told) == (7, 7, [7])
    assert whole.settings == {"frames": 6, "size": [24, 20], "fps": 32.0, "split": "TEST"}
    assert "random network" in whole.extractor.caveat
    assert len(whole.extractor.sha256) == 64


def test_no_more_than_a_batch_is_held() -> None:
    alive = 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal alive
        for video in videos(9):
            alive += 1
            yield video

    class Watcher:
        identity = RandomFeatures().identity

        def __call__(self, videos: np.ndarray) -> np.ndarray:
            nonlocal alive
            assert alive <= 2
            alive -= len(videos)
            return RandomFeatures()(videos)

    assert extracted(Watcher(), stream(), batch=2).videos == 9


def test_random_features_see_anatomy_and_motion() -> None:
    still, moving = np.full((2, 1, 6, 16, 16), 90, np.uint8)
    moving[:, ::2] += 60
    wide = np.full((1, 6, 16, 16), 90, np.uint8)
    wide[..., :8] = 200
    seen = [RandomFeatures()(x)[0] for x in (still, moving, wide)]
    assert min(np.abs(seen[0] - seen[1]).max(), np.abs(seen[0] - seen[2]).max()) > 0.05
    np.testing.assert_array_equal(seen[0], RandomFeatures()(still)[0])
    assert RandomFeatures(1).identity.sha256 != RandomFeatures().identity.sha256


def test_ef_features_are_what_the_last_layers_read() -> None:
    torch.manual_seed(0)
    net = EFRegressor(EFRegressorConfig((8, 8), 16, 4)).eval()
    extractor, x = EFFeatures(net, "noise"), videos(3, (4, 20, 20))
    found = extractor(x)
    assert found.shape == (3, 40)
    answer = 55.0 + 15.0 * net.fc(torch.from_numpy(found))[:, 0]
    torch.testing.assert_close(answer, net(to_float(torch.from_numpy(x))), atol=1e-3, rtol=0)
    assert "trained on noise" in extractor.identity.caveat
    longer = extractor(np.concatenate([x, x], axis=1))  # windows at 0, 2 and 4; equal at the ends
    assert longer.shape == (3, 40)
    before = extractor.identity.sha256
    with torch.no_grad():
        next(net.parameters()).add_(1.0)
    assert EFFeatures(net, "noise").identity.sha256 != before
    with pytest.raises(InputError, match="clips of 4 frames; got 3"):
        extractor(x[:, :3])


def test_statistics_stream_from_an_extractor() -> None:
    x = videos(8)
    whole = Statistics.of(RandomFeatures()(x))
    parts = Statistics.streamed(RandomFeatures()(part) for part in np.split(x, 4))
    np.testing.assert_allclose(parts.scatter, whole.scatter, atol=1e-12)


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least one"):
        extracted(RandomFeatures(), [])
    with pytest.raises(
        InputError, match=r"video 1 is \(5, 24, 20\), those before it \(6, 24, 20\)"
    ):
        extracted(RandomFeatures(), [videos(1)[0], videos(1, (5, 24, 20))[0]])
    with pytest.raises(InputError, match="uint8"):
        extracted(RandomFeatures(), [np.zeros((6, 24, 20))])  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="at least 8 pixels"):
        RandomFeatures()(videos(1, (6, 4, 20)))
