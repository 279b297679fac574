"""Every metric beside an independent implementation of it, on seeded features and pictures.

`ORACLES` is a table: the tests assert each row, `benchmarks/agreement.py` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from echoflow.metrics import clinical, image, kernels
from echoflow.metrics.frechet import Statistics, frechet
from echoflow.metrics.inception import inception_score, probabilities
from echoflow.metrics.kernels import kid, mmd2
from echoflow.metrics.manifold import manifold

Numbers = float | Sequence[float] | NDArray[np.float64]
Pairs = Iterator[tuple[Numbers, Numbers]]
"""(ours, theirs), some for every oracle."""

SETS = ((200, 150, 0.0), (150, 200, 0.4), (30, 25, 1.0))  # sizes and shift; the last is singular
DIMS = 32


@dataclass(frozen=True)
class Oracle:
    """One metric of ours against one library; `tolerance`, absolute and relative, is what the
    library's precision explains."""

    metric: str
    library: str
    pairs: Callable[[], Pairs]
    tolerance: float = 1e-9

    @property
    def name(self) -> str:
        return f"{self.metric} - {self.library}"


def features() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Pairs of correlated feature sets (n, d), representable in float32."""
    rng = np.random.default_rng(0)
    for n, m, shift in SETS:
        mix = rng.normal(0, 1 / np.sqrt(DIMS), (DIMS, DIMS))
        a, b = rng.normal(size=(n, DIMS)) @ mix, shift + rng.normal(size=(m, DIMS)) @ mix
        yield a.astype(np.float32).astype(np.float64), b.astype(np.float32).astype(np.float64)


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Smooth pictures (4, 48, 40) and noisy copies."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:48, :40]
    waves = [128 + 90 * np.sin(x / (3 + i) + i) * np.cos(y / (4 + i)) for i in range(4)]
    clean = np.stack(waves)
    noisy = clean + rng.normal(0, 12, clean.shape)
    return clean.astype(np.uint8), np.clip(noisy, 0, 255).astype(np.uint8)


def efs() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(2)
    asked = rng.uniform(15, 75, 100)
    return asked, 0.8 * asked + 9 + rng.normal(0, 4, 100)


def logits() -> NDArray[np.float64]:
    return np.random.default_rng(3).normal(0, 2, (97, 12))


class Tiny(nn.Module):
    """uint8 pictures (n, 3, h, w) -> features (n, 24): the network given to the libraries."""

    num_features = 24

    def __init__(self) -> None:
        super().__init__()
        weight = np.random.default_rng(4).normal(0, 0.1, (24, 48))
        self.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(x.double(), 4).flatten(1)
        return torch.tanh(pooled / 64.0 - 2.0) @ self.weight.T


def colour(seed: int, n: int = 40) -> Tensor:
    """uint8 noise of changing brightness (n, 3, 16, 16)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(rng.uniform(60, 190, (n, 3, 1, 1)), 30, (n, 3, 16, 16))
    return torch.from_numpy(np.clip(noise, 0, 255).astype(np.uint8))


# ---- Frechet ------------------------------------------------------------------------------------


def _frechet(a: ArrayLike, b: ArrayLike) -> float:
    return frechet(Statistics.of(a), Statistics.of(b)).value


def frechet_torch_fidelity() -> Pairs:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    for a, b in features():
        ours, theirs = (fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b))
        found = fid_statistics_to_metric(ours, theirs, False)
        yield _frechet(a, b), found["frechet_inception_distance"]


def frechet_torchmetrics() -> Pairs:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(Tiny()).set_dtype(torch.float64)
    real, fake, net = colour(5), colour(6), Tiny()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    yield _frechet(net(real), net(fake)), float(metric.compute())


def frechet_pot() -> Pairs:
    from ot.gaussian import bures_wasserstein_distance

    for a, b in list(features())[:2]:
        means, covs = zip(*((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)), strict=True)
        distance: Any = bures_wasserstein_distance(*means, *covs)
        yield _frechet(a, b), distance**2


# ---- kernels ------------------------------------------------------------------------------------


def mmd_sklearn() -> Pairs:
    from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

    def theirs(gram: Callable[..., Any], a: ArrayLike, b: ArrayLike, **how: float) -> float:
        n, m = len(np.asarray(a)), len(np.asarray(b))
        aa, bb, ab = gram(a, a, **how), gram(b, b, **how), gram(a, b, **how)
        within = (aa.sum() - np.trace(aa)) / n / (n - 1) + (bb.sum() - np.trace(bb)) / m / (m - 1)
        return float(within - 2 * ab.mean())

    for a, b in features():
        yield mmd2(a, b), theirs(polynomial_kernel, a, b, degree=3, coef0=1)
        yield mmd2(a, b, kernels.gaussian(2.0)), theirs(rbf_kernel, a, b, gamma=1 / 8)


def kid_torch_fidelity() -> Pairs:
    from torch_fidelity.metric_kid import kid_features_to_metric

    how = {"kid_subsets": 1, "verbose": False, "rng_seed": 0}
    for a, b in features():
        n = min(len(a), len(b))
        a, b = a[:n], b[:n]
        sets = (torch.from_numpy(a), torch.from_numpy(b))
        found = kid_features_to_metric(*sets, kid_subset_size=n, **how)
        yield kid(a, b, 1, n).mean, found["kernel_inception_distance_mean"]


def kid_torchmetrics() -> Pairs:
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake, net = colour(5), colour(6), Tiny()
    metric = KernelInceptionDistance(Tiny(), subsets=1, subset_size=40)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    yield kid(net(real), net(fake), 1, 40).mean, float(metric.compute()[0])


# ---- manifolds, probabilities -------------------------------------------------------------------


def manifold_torch_fidelity() -> Pairs:
    from torch_fidelity.metric_prc import prc_features_to_metric

    how = {"prc_neighborhood": 3, "prc_batch_size": 100, "verbose": False}
    for a, b in features():
        sets = (torch.from_numpy(b), torch.from_numpy(a))  # generated first
        found = prc_features_to_metric(*sets, save_cpu_ram=False, **how)
        ours = manifold(a, b, k=3)
        yield (ours.precision, ours.recall), (found["precision"], found["recall"])


def manifold_sklearn() -> Pairs:
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    for a, b in features():
        radii = NearestNeighbors(n_neighbors=5).fit(a).kneighbors()[0][:, -1]
        inside = pairwise_distances(a, b) <= radii[:, None]
        ours = manifold(a, b)
        density = inside.sum(axis=0).mean() / 5
        yield (ours.density, ours.coverage), (density, inside.any(axis=1).mean())


def inception_torch_fidelity() -> Pairs:
    from torch_fidelity.metric_isc import isc_features_to_metric

    ours = inception_score(probabilities(logits()), 10)
    theirs = isc_features_to_metric(torch.from_numpy(logits()), 10, shuffle=False)
    yield (ours.mean, ours.std), tuple(theirs.values())


def inception_torchmetrics() -> Pairs:
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(Tiny(), splits=1)
    metric.update(colour(5))
    ours = inception_score(probabilities(Tiny()(colour(5))), 1)
    yield ours.mean, float(metric.compute()[0])


# ---- pictures, regression -----------------------------------------------------------------------


def ssim_skimage() -> Pairs:
    from skimage.metrics import structural_similarity

    theirs: list[Any] = [
        structural_similarity(
            a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in _each(pictures())
    ]
    yield image.ssim(*pictures()), theirs


def ssim_torchmetrics() -> Pairs:
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = (torch.from_numpy(x)[:, None].double() / 255 for x in pictures())
    found = structural_similarity_index_measure(a, b, data_range=1.0, return_full_image=True)
    interior = np.asarray(found[1])[:, 0, 5:-5, 5:-5]  # its own mean counts reflected borders
    yield image.ssim(*pictures()), interior.mean(axis=(1, 2))


def psnr_skimage() -> Pairs:
    from skimage.metrics import peak_signal_noise_ratio

    yield image.psnr(*pictures()), [peak_signal_noise_ratio(a, b) for a, b in _each(pictures())]


def mse_skimage() -> Pairs:
    from skimage.metrics import mean_squared_error

    theirs = [mean_squared_error(a / 255.0, b / 255.0) for a, b in _each(pictures())]
    yield image.mse(*pictures()), theirs


def regression_sklearn() -> Pairs:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    ours = clinical.regression(*efs(), resamples=2)
    theirs = [score(*efs()) for score in (r2_score, mean_absolute_error, root_mean_squared_error)]
    yield (ours.r2, ours.mae, ours.rmse), theirs


def dice_sklearn() -> Pairs:
    from sklearn.metrics import f1_score

    a, b = (picture > 120 for picture in pictures())
    yield clinical.dice(a, b), [f1_score(x.ravel(), y.ravel()) for x, y in _each((a, b))]


def _each(two: tuple[NDArray, NDArray]) -> Iterator[tuple[NDArray, NDArray]]:
    return zip(*two, strict=True)


ORACLES = (
    Oracle("Frechet distance", "torch_fidelity", frechet_torch_fidelity, 1e-7),
    Oracle("FID, network injected", "torchmetrics", frechet_torchmetrics),
    Oracle("Frechet distance", "ot", frechet_pot),
    Oracle("MMD, two kernels", "sklearn", mmd_sklearn),
    Oracle("KID", "torch_fidelity", kid_torch_fidelity),
    Oracle("KID, network injected", "torchmetrics", kid_torchmetrics),
    Oracle("precision, recall", "torch_fidelity", manifold_torch_fidelity, 1e-7),
    Oracle("density, coverage", "sklearn", manifold_sklearn),
    Oracle("Inception score", "torch_fidelity", inception_torch_fidelity),
    Oracle("IS, network injected", "torchmetrics", inception_torchmetrics),
    Oracle("SSIM", "skimage", ssim_skimage),
    Oracle("SSIM, interior", "torchmetrics", ssim_torchmetrics),
    Oracle("PSNR", "skimage", psnr_skimage),
    Oracle("MSE", "skimage", mse_skimage),
    Oracle("R2, MAE, RMSE", "sklearn", regression_sklearn),
    Oracle("Dice", "sklearn", dice_sklearn),
)
