"""Averages of any length afterwards are those that tracking them would have given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_fit import Noise, Pulled, flow_task, recipe, same_weights, unplug
from torch import nn

from echoflow.training.averages import (
    FOLDER,
    LENGTHS,
    PowerAverage,
    combination,
    exponent,
    keep,
    mismatch,
    overlap,
    posthoc,
    snapshots,
)
from echoflow.training.fit import fit
from echoflow.types import InputError


def profile(t: int, gamma: float, steps: int) -> np.ndarray:
    """Weight of every update in a power average after t of them, by telescoping its recursion."""
    k = np.minimum(np.arange(steps + 1), t) / t
    return np.diff(k ** (gamma + 1))


class Walk(nn.Module):
    """Weights that wander, a buffer that stays and one that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((64,), 5.0))
        self.steady = nn.Parameter(torch.full((4,), 3.0))
        self.register_buffer("table", torch.full((3,), 1 / 3))
        self.register_buffer("count", torch.tensor(0))

    def walk(self, rng: torch.Generator) -> None:
        with torch.no_grad():
            self.w += 0.1 * torch.randn(64, generator=rng) - 0.005 * self.w
            self.get_buffer("count").add_(1)


def walked(run: Path, steps: int, every: int, others: tuple[float, ...]) -> dict[float, nn.Module]:
    """Snapshots of a walk in `run`, and averages of other lengths tracked along it."""
    net, rng = Walk(), torch.Generator().manual_seed(0)
    kept = [PowerAverage(net, sigma) for sigma in LENGTHS]
    direct = {sigma: PowerAverage(net, sigma) for sigma in others}
    for step in range(steps):
        net.walk(rng)
        for average in [*kept, *direct.values()]:
            average.update(net, step)
        if (step + 1) % every == 0:
            keep(run, "net", step + 1, kept)
    return {sigma: average.net for sigma, average in direct.items()}


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.25])
def test_exponent_inverts_the_width_of_a_profile(sigma: float) -> None:
    gamma = exponent(sigma)
    assert (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5) == pytest.approx(sigma)
    weights, k = profile(20_000, gamma, 20_000), (np.arange(20_000) + 0.5) / 20_000
    mean = weights @ k
    assert (weights @ (k - mean) ** 2) ** 0.5 == pytest.approx(sigma, rel=1e-4)


def test_the_tracked_average_has_its_profile() -> None:
    net, rng = Walk(), torch.Generator().manual_seed(1)
    average, seen = PowerAverage(net, 0.1), []
    for step in range(50):
        net.walk(rng)
        average.update(net, step)
        seen.append(net.w.detach().clone())
    expected = torch.from_numpy(profile(50, average.gamma, 50)).float() @ torch.stack(seen)
    torch.testing.assert_close(average.net.get_parameter("w"), expected, atol=2e-6, rtol=0)
    assert int(average.net.get_buffer("count")) == 50


def test_overlaps_are_integrals_of_products() -> None:
    steps = 40_000
    for ta, ga, tb, gb in ((30_000, 3.0, 40_000, 7.0), (40_000, 2.0, 20_000, 5.0)):
        exact = float(overlap(ta, ga, tb, gb))
        assert exact == pytest.approx(profile(ta, ga, steps) @ profile(tb, gb, steps), rel=1e-3)


def test_a_tracked_length_is_its_own_last_snapshot() -> None:
    times = np.repeat(np.arange(100, 1001, 100), 2).tolist()
    gammas = [exponent(sigma) for sigma in LENGTHS] * 10
    for place, gamma in ((-2, gammas[0]), (-1, gammas[1])):
        weights = combination(times, gammas, gamma)
        assert weights[place] == pytest.approx(1, abs=1e-9)
        assert np.delete(weights, place) == pytest.approx(0, abs=1e-9)
        assert mismatch(times, gammas, gamma, weights) < 1e-6


@pytest.mark.parametrize("sigma", [0.03, 0.075, 0.15, 0.25])
def test_the_combined_profile_is_close_and_sums_to_one(sigma: float) -> None:
    times, steps = np.repeat(np.arange(50, 1001, 50), 2).tolist(), 1000
    gammas = [exponent(length) for length in LENGTHS] * 20
    weights = combination(times, gammas, exponent(sigma))
    aim = profile(steps, exponent(sigma), steps)
    made = weights @ np.stack([profile(t, g, steps) for t, g in zip(times, gammas, strict=True)])
    error = float(np.linalg.norm(made - aim) / np.linalg.norm(aim))
    assert error == pytest.approx(mismatch(times, gammas, exponent(sigma), weights), abs=2e-3)
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert error < (0.03 if 0.05 <= sigma <= 0.2 else 0.08)


def test_an_average_made_afterwards_equals_one_that_was_tracked(tmp_path: Path) -> None:
    others = (0.03, 0.075, 0.15, 0.2)
    direct = walked(tmp_path, 400, 20, others)
    spread = max(float((a.w - b.w).abs().max()) for a in direct.values() for b in direct.values())  # type: ignore[operator, union-attr]
    for sigma in others:
        made, tracked = posthoc(tmp_path, "net", sigma), direct[sigma]
        error = (made["w"] - tracked.get_parameter("w")).abs().max()
        assert float(error) < 0.05 * spread
        torch.testing.assert_close(made["steady"], tracked.get_parameter("steady"))
        assert torch.equal(made["table"], tracked.get_buffer("table"))
        assert int(made["count"]) == 400
        assert made["w"].dtype == torch.float32
        Walk().load_state_dict(made)


def test_an_earlier_step_knows_nothing_of_later_ones(tmp_path: Path) -> None:
    walked(tmp_path / "short", 200, 20, ())
    walked(tmp_path / "long", 400, 20, ())
    short, part = (posthoc(tmp_path / r, "net", 0.15, 200) for r in ("short", "long"))
    assert torch.equal(short["w"], part["w"])
    assert [s.step for s in snapshots(tmp_path / "short", "net")][::2] == list(range(20, 201, 20))


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no snapshots; train with engine\.snapshot_every"):
        posthoc(tmp_path, "net", 0.1)
    walked(tmp_path, 40, 10, ())
    with pytest.raises(InputError, match=r"between 0 and 0\.2887"):
        posthoc(tmp_path, "net", 0.3)
    with pytest.raises(InputError, match="no snapshot of step 25; the nearest are 10, 20, 30"):
        posthoc(tmp_path, "net", 0.1, 25)
    with pytest.raises(InputError, match=r"4 snapshots .* step 40 do not give sigma_rel 0\.01"):
        posthoc(tmp_path, "net", 0.01)
    path = tmp_path / FOLDER / "net-0000040-0.050.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="is damaged"):
        posthoc(tmp_path, "net", 0.1)


def test_a_resumed_run_keeps_the_same_snapshots(tmp_path: Path) -> None:
    shape, changed = (2, 4, 8, 8), recipe("lvfm").changed(["engine.snapshot_every=2"])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    fit(flow_task(), Noise(shape), changed, whole)
    with pytest.raises(Pulled):
        fit(flow_task(), Noise(shape), changed, cut, progress=unplug(5))
    fit(flow_task(), Noise(shape), changed, cut, resume=True)
    same_weights(whole / "net", cut / "net")
    both = [snapshots(run, "net") for run in (whole, cut)]
    assert [(s.step, s.sigma_rel) for s in both[0]] == [(n, s) for n in (2, 4, 6) for s in LENGTHS]
    for ours, theirs in zip(*both, strict=True):
        assert ours.path.read_bytes() == theirs.path.read_bytes()
    tracked = load_file(str(both[0][-1].path))
    for name, value in posthoc(whole, "net", LENGTHS[-1]).items():
        torch.testing.assert_close(value, tracked[name].float(), atol=1e-6, rtol=0)
