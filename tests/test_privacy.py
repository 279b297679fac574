"""The privacy filter: its algebra, its thresholds, and verdicts that depend on one sample only."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echoflow.privacy import (
    TAU_MAX,
    Gallery,
    PrivacyFilter,
    best_matches,
    calibrate,
    correlations,
    paper_threshold,
    rejection_rate,
    symmetric_threshold,
)
from echoflow.types import InputError

GOLDEN = Path(__file__).parent / "golden" / "reid_filter.safetensors"


def features(n: int, seed: int, d: int = 16) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def uids(n: int) -> tuple[str, ...]:
    return tuple(f"0X{i:016X}" for i in range(n))


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(4, 8, 3, stride=2), torch.nn.SiLU(), torch.nn.Conv2d(8, 16, 3)]
    pool = [torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(64, 24)]
    return torch.nn.Sequential(*layers, *pool).eval()


@pytest.fixture(scope="module")
def anatomies() -> torch.Tensor:
    return torch.randn(40, 4, 14, 14, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def privacy(net: torch.nn.Module, anatomies: torch.Tensor) -> PrivacyFilter:
    return PrivacyFilter(net, Gallery.of(net, anatomies[:20], uids(20)), 0.9)


def test_correlations_equal_corrcoef() -> None:
    a, b = features(7, 0), features(9, 1)
    stacked = torch.corrcoef(torch.cat([a, b]).double())
    torch.testing.assert_close(correlations(a, b), stacked[:7, 7:], atol=1e-12, rtol=0)


def test_correlations_keep_digits_near_one() -> None:
    base = features(1, 0).double()
    near = base + 1e-5 * features(1, 1).double()
    exact = torch.corrcoef(torch.cat([base, near]))[0, 1].item()
    assert correlations(base, near).item() == pytest.approx(exact, abs=1e-14)
    assert 0 < 1 - exact < 1e-9


def test_correlations_ignore_scale_and_offset_of_a_row() -> None:
    a, b = features(5, 0), features(6, 1)
    torch.testing.assert_close(correlations(3 * a + 2, b), correlations(a, b), atol=1e-6, rtol=0)


@pytest.mark.parametrize("bad", [torch.ones(2, 16), torch.full((2, 16), float("nan"))])
def test_meaningless_features_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(InputError, match="finite and not constant"):
        correlations(bad, features(2, 0))


def test_different_feature_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="16 and 8"):
        correlations(features(2, 0), features(2, 0, d=8))


def test_best_matches_do_not_depend_on_the_chunk() -> None:
    a, b = features(30, 0), features(20, 1)
    whole, chunked = best_matches(a, b), best_matches(a, b, chunk=7)
    torch.testing.assert_close(whole[0], chunked[0], atol=1e-12, rtol=0)
    assert torch.equal(whole[1], chunked[1])


def test_golden_filter() -> None:
    golden = load_file(str(GOLDEN))
    train, val, query = golden["train"], golden["val"], golden["query"]
    torch.testing.assert_close(
        correlations(train, val).float(), golden["train_val_corr"], atol=1e-5, rtol=1e-5
    )
    tau = paper_threshold(train, val)
    assert tau == pytest.approx(0.6874008178710938, abs=1e-5)
    verdicts = PrivacyFilter(lambda z: z[:, :, 0, 0], Gallery(train, uids(40)), tau).verdicts(
        query[:, :, None, None]
    )
    assert [v.accepted for v in verdicts] == [False, False, True, True, True, True]
    for verdict, similarity, index in zip(
        verdicts, golden["query_max"], golden["query_argmax"], strict=True
    ):
        assert verdict.similarity == pytest.approx(float(similarity), abs=1e-5)
        assert verdict.nearest == uids(40)[int(index)]


def test_paper_rule_rejects_too_many_new_patients_and_the_symmetric_rule_does_not() -> None:
    train, val, new = features(800, 0, 32), features(100, 1, 32), features(2000, 2, 32)
    best = best_matches(new, train)[0]
    paper = (best >= paper_threshold(train, val)).double().mean().item()
    symmetric = (best >= symmetric_threshold(train, val)).double().mean().item()
    assert 0.20 < paper < 0.55  # near 1 - (1 - 0.05 / n_val) ^ n_train = 0.33
    assert 0.01 < symmetric < 0.11


def test_exact_copies_are_always_rejected(privacy: PrivacyFilter, anatomies: torch.Tensor) -> None:
    for tau in (0.0, 0.9, 1.0, 2.0):
        verdicts = privacy.with_tau(tau).verdicts(anatomies[:20])
        assert rejection_rate(verdicts) == 100.0
        assert [v.nearest for v in verdicts] == list(uids(20))
    assert privacy.with_tau(2.0).taus().max().item() == TAU_MAX


def test_a_verdict_is_the_same_alone_and_in_any_batch(
    privacy: PrivacyFilter, anatomies: torch.Tensor
) -> None:
    batch = privacy.verdicts(anatomies)
    assert [privacy.verdicts(z[None])[0] for z in anatomies] == batch
    assert privacy.verdicts(anatomies.flip(0)) == batch[::-1]
    assert {v.accepted for v in batch} == {True, False}


def test_every_group_has_its_own_tau() -> None:
    lax, strict = features(300, 0, 8), features(300, 1, 64)
    lax = torch.cat([lax, torch.zeros(300, 56)], dim=1)
    train = Gallery(
        torch.cat([lax[:200], strict[:200]]), uids(400), ("A4C",) * 200 + ("PSAX",) * 200
    )
    val = Gallery(torch.cat([lax[200:], strict[200:]]), uids(200), ("A4C",) * 100 + ("PSAX",) * 100)
    tau = calibrate(train, val)
    assert tau["PSAX"] == pytest.approx(symmetric_threshold(strict[:200], strict[200:]))
    assert tau["A4C"] > tau["PSAX"] + 0.1
    privacy = PrivacyFilter.calibrated(lambda z: z[:, :, 0, 0], train, val)
    assert privacy.tau == tau
    near = 0.7 * strict[:1] + 0.7 * strict[200:201]  # between the two thresholds
    verdict = privacy.verdicts(near[:, :, None, None])[0]
    assert tau["PSAX"] < verdict.similarity < tau["A4C"]
    assert not verdict.accepted
    assert verdict.tau == tau["PSAX"]
    with pytest.raises(InputError, match="no tau for PSAX"):
        PrivacyFilter(lambda z: z, train, {"A4C": 0.9})


def test_calibration_refuses_unknown_rules_and_missing_groups() -> None:
    train = Gallery(features(4, 0), uids(4), ("A4C", "A4C", "PSAX", "PSAX"))
    val = Gallery(features(2, 1), uids(2), ("A4C", "A4C"))
    with pytest.raises(InputError, match="Did you mean symmetric"):
        calibrate(train, val, rule="symetric")
    with pytest.raises(InputError, match="no validation features for PSAX"):
        calibrate(train, val)


def test_filter_and_gallery_survive_the_disk(tmp_path: Path, privacy: PrivacyFilter) -> None:
    privacy = privacy.with_tau({"all": 0.8})
    privacy.save(tmp_path / "privacy.safetensors")
    again = PrivacyFilter.load(tmp_path / "privacy.safetensors", privacy.embed)
    assert again.gallery.uids == privacy.gallery.uids
    assert torch.equal(again.gallery.features, privacy.gallery.features)
    assert again.tau == {"all": 0.8}
    groups = Gallery(features(3, 0), uids(3), ("A4C", "PSAX", "PLAX"))
    groups.save(tmp_path / "gallery.safetensors")
    assert Gallery.load(tmp_path / "gallery.safetensors").groups == groups.groups
    with pytest.raises(InputError, match="without a tau"):
        PrivacyFilter.load(tmp_path / "gallery.safetensors", privacy.embed)


def test_missing_truncated_and_foreign_galleries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gallery.safetensors"
    with pytest.raises(InputError, match="no gallery at"):
        Gallery.load(path)
    Gallery(features(3, 0), uids(3)).save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged"):
        Gallery.load(path)
    save_file({"weights": torch.zeros(3)}, str(path))
    with pytest.raises(InputError, match="not a gallery file"):
        Gallery.load(path)


def test_shapes_are_refused(privacy: PrivacyFilter) -> None:
    with pytest.raises(InputError, match=r"\(b, c, h, w\)"):
        privacy.verdicts(torch.zeros(4, 14, 14))
    with pytest.raises(InputError, match="3 uids"):
        Gallery(features(4, 0), uids(3))
    with pytest.raises(InputError, match="percentile"):
        symmetric_threshold(features(4, 0), features(4, 1), percentile=0)
