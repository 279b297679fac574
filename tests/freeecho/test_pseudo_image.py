"""Pseudo-images: stored values of the published chain, and the laws of the transport in it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from closed_forms import golden

from echoflow.data.labels import in_free_echo
from echoflow.freeecho.pseudo import COLOURS, WORKING, coloured, painted, pseudo_video, scaled
from echoflow.freeecho.transfer import PHANTOM, Sinkhorn, Transfer, matched
from echoflow.types import InputError

CASES = ("camus_like", "lv_only")
METHODS: dict[str, Transfer] = {
    "sinkhorn_continuous": Transfer(),
    "sinkhorn_nearest": Transfer("nearest"),
    "quantile_samples": Transfer("quantile"),
    "quantile_full": Transfer("quantile", samples=None),
}


@cache
def stored(name: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
    """Five-label map, reference frame, wanted outputs and tolerance of a case."""
    data, about = golden("freeecho/pseudo_image.tiny")
    case = next(case for case in about["cases"] if case["name"] == name)
    at = {k: None if key is None else data[key].numpy() for k, key in case["inputs"].items()}
    wanted = {k: data[where["key"]].numpy() for k, where in case["outputs"].items()}
    labels, cone = at["label_map"], at["cone_mask"]
    assert labels is not None
    assert at["reference_frame"] is not None
    if cone is not None:
        labels = in_free_echo(labels, "cavity", sector(cone, labels.shape), wall=10)
    return labels, at["reference_frame"], wanted, about["tolerance"]


def sector(cone: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A cone picture as the released code resizes it: the pixel at the upper left of each."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, cone.shape, strict=True))
    return cone[rows[:, None], columns] > 128


@pytest.mark.parametrize("name", CASES)
def test_golden_labels_and_their_picture(name: str) -> None:
    labels, _, wanted, tolerance = stored(name)
    assert np.array_equal(labels, wanted["labels_final"])
    np.testing.assert_allclose(painted(labels, 128), wanted["pseudo"], **tolerance)


@pytest.mark.parametrize("name", CASES)
def test_golden_samples_potential_and_means(name: str) -> None:
    labels, frame, wanted, _ = stored(name)
    source = scaled(painted(labels, 128) / 255, WORKING)
    x, y = Transfer().drawn(source, scaled(frame / 255, WORKING))
    np.testing.assert_allclose(x, wanted["source_samples"], atol=1e-6)
    np.testing.assert_allclose(y, wanted["target_samples"], atol=1e-6)
    for reg, key in ((0.1, "barycentric_of_source_samples"), (1e-3, "barycentric_reg_1e_3")):
        np.testing.assert_allclose(Sinkhorn.of(x, y, reg).entropic(x), wanted[key], atol=1e-4)
    plan = Sinkhorn.of(x, y, 0.1)
    index, count = np.searchsorted(plan.y, y), np.unique(y, return_counts=True)[1]
    found = (plan.potential - np.log(count))[
        index
    ]  # of one sample, where ours is of all equal ones
    shift = (found - wanted["log_v"]).mean()  # potentials are known up to a constant
    np.testing.assert_allclose(found - shift, wanted["log_v"], atol=2e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_golden_transfer(name: str, method: str) -> None:
    labels, frame, wanted, tolerance = stored(name)
    (found,) = pseudo_video(labels[None], 128, METHODS[method], frame)
    if method == "quantile_full":  # ranks part greys that differ by the rounding of a resize only;
        tolerance = {**tolerance, "atol": 0.1}  # the stored values allow 1 level for that
    np.testing.assert_allclose(found, wanted[method], **tolerance)
    counts = np.histogram(found, 32, (0, 256))[0]
    if f"hist32_{method}" in wanted:  # a grey at the border of two bins may fall into either
        assert np.abs(counts - wanted[f"hist32_{method}"]).sum() <= 4


@pytest.mark.parametrize("name", CASES)
def test_golden_exact_transport(name: str) -> None:
    _, _, wanted, _ = stored(name)
    carry = matched(wanted["source_samples"].astype(float), wanted["target_samples"].astype(float))
    np.testing.assert_allclose(carry(wanted["qs_x"]), wanted["qs_y"], atol=1e-6)


@pytest.mark.parametrize("reg", [0.1, 1e-2])
def test_entropic_transport_is_that_of_pot(reg: float) -> None:
    """The library that the released code calls, with repeated greys and both of its maps."""
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 12, 80) / 11, rng.beta(1, 3, 90).round(2)
    cost = 3 * (x[:, None] - y) ** 2
    plan = ot.bregman.sinkhorn_log([], [], cost, reg, numItermax=20_000, stopThr=1e-12)
    np.testing.assert_allclose(
        Sinkhorn.of(x, y, reg).entropic(x), plan @ y / plan.sum(1), atol=2e-5
    )


def test_without_entropy_it_is_exact_transport() -> None:
    """As `reg` falls, the entropic map becomes the sorted one, and never turns greys around."""
    rng = np.random.default_rng(1)
    x, y = rng.random(60), rng.beta(1, 3, 60)
    exact = matched(x, y)(x)
    errors = [np.abs(Sinkhorn.of(x, y, reg).entropic(x) - exact).max() for reg in (0.1, 1e-2, 1e-4)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01
    assert (np.diff(Sinkhorn.of(x, y, 0.1).entropic(np.sort(x))) >= 0).all()


def test_the_greys_of_a_picture_carry_over_to_themselves() -> None:
    picture = np.random.default_rng(2).random((16, 16)).astype(np.float32)
    carry = Transfer("quantile", samples=None).between(picture, picture)
    np.testing.assert_allclose(carry(picture), picture, atol=1e-6)


def test_frames_share_one_map_and_greys_come_from_the_reference() -> None:
    labels = in_free_echo(np.pad(np.ones((20, 10)), ((20, 24), (27, 27))).astype(int))
    moving = np.stack([labels, np.roll(labels, 3, axis=0), labels])
    made = pseudo_video(moving, 32, Transfer("quantile"))
    assert made.shape == (3, 32, 32)
    assert np.array_equal(made[0], made[2])
    assert not np.array_equal(made[0], made[1])
    assert made.min() >= 0
    assert made.max() <= PHANTOM.max()
    dark = pseudo_video(labels[None], 32, Transfer("quantile"), np.full((5, 5), 40.0))
    np.testing.assert_allclose(dark, 40, atol=1e-3)


def test_the_colours_of_the_sdedit_baseline() -> None:
    labels = np.repeat(np.arange(5), 8)[None].repeat(40, 0)
    made = coloured(labels, 40)
    assert made.shape == (3, 40, 40)
    assert made[:, 20, 4::8].T.round().tolist() == [list(c) for c in COLOURS.values()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "sinkhorn"}, "unknown intensity transfer 'sinkhorn'; choose one of entropic"),
        ({"reg": 0.0}, r"reg must be a positive number; got 0.0. .* transfer quantile"),
        ({"reg": float("nan")}, "reg must be a positive number"),
        ({"samples": 1}, "at least 2 pixels; got 1"),
    ],
)
def test_transfers_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Transfer(**arguments)


def test_a_transport_that_does_not_settle_is_told() -> None:
    """Black and white, and more white wanted: without entropy nothing moves in any time."""
    x, y = np.repeat([0.0, 1.0], [60, 40]), np.repeat([0.0, 1.0], [40, 60])
    for reg in (1e-4, 1e-6):
        with pytest.raises(InputError, match="does not settle; take a larger reg, or the transfer"):
            Sinkhorn.of(x, y, reg)
    assert np.isfinite(Sinkhorn.of(x, y, 0.1).means).all()
