"""Image metrics against scikit-image and closed forms."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from echoflow.metrics.image import flicker, frame_correlations, mae, mse, psnr, roughness, ssim
from echoflow.types import InputError


def pictures(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (3, 40, 48), dtype=np.uint8)
    noise = rng.integers(-20, 21, a.shape)
    return a, np.clip(a + noise, 0, 255).astype(np.uint8)


def test_psnr_and_ssim_agree_with_scikit_image() -> None:
    a, b = pictures()
    for i in range(3):
        assert psnr(a, b)[i] == pytest.approx(peak_signal_noise_ratio(a[i], b[i], data_range=255))
        expected = structural_similarity(
            a[i] / 255.0,
            b[i] / 255.0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(a, b)[i] == pytest.approx(expected, abs=1e-9)


def test_errors_of_a_constant_offset() -> None:
    a = np.full((2, 16, 16), 100, np.uint8)
    b = np.full((2, 16, 16), 151, np.uint8)
    np.testing.assert_allclose(mse(a, b), 0.04)
    np.testing.assert_allclose(mae(a, b), 0.2)
    assert np.isinf(psnr(a, a)).all()
    np.testing.assert_allclose(ssim(a, a), 1.0)


def test_pictures_of_different_shape_or_type_are_refused() -> None:
    a, _ = pictures()
    with pytest.raises(InputError, match="of one shape"):
        psnr(a, a[:2])
    with pytest.raises(InputError, match="float64"):
        ssim(a / 255.0, a)  # pyright: ignore[reportArgumentType]


def test_time_measures_tell_noise_motion_and_stillness_apart() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 32, 32), dtype=np.uint8)
    x = np.linspace(0, 6 * np.pi, 64)
    wave = np.stack([128 + 100 * np.sin(x[None] + 0.1 * t) * np.ones((64, 1)) for t in range(40)])
    steady = wave.astype(np.uint8)
    still = np.repeat(noise[:1], 40, axis=0)
    assert roughness(noise) == pytest.approx(3.0, rel=0.05)
    assert roughness(steady) < 0.1
    assert roughness(still) == flicker(still) == 0.0
    assert frame_correlations(noise).mean() == pytest.approx(0.0, abs=0.05)
    assert frame_correlations(steady).min() > 0.99
    np.testing.assert_allclose(frame_correlations(still, lag=3), 1.0)


def test_flicker_is_the_gain_change_in_grey_levels() -> None:
    video = np.full((30, 16, 16), 100, np.uint8)
    video[::2] = 102
    assert flicker(video) == pytest.approx(4.0)
    with pytest.raises(InputError, match="at least 3 frames"):
        flicker(video[:2])
