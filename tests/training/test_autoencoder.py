"""The A-VAE's losses: players take turns as the recipe says, and each option is what it claims."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_fit import Noise, avae_task, recipe, same_weights
from torch import Tensor, nn

from echoflow.condition import Condition
from echoflow.networks.avae import AVAEConfig, PatchDiscriminator, build_avae
from echoflow.training.autoencoder import AutoencoderTask
from echoflow.training.draws import Draws
from echoflow.training.equivariance import SMALLEST, moved, plan
from echoflow.training.fit import fit
from echoflow.training.options import AutoencoderOptions
from echoflow.types import Batch, InputError


def task(**options: Any) -> AutoencoderTask:
    torch.manual_seed(0)
    frames = torch.rand(8, 1, 32, 32) * 2 - 1
    avae = build_avae(AVAEConfig(2, (8, 8), 1, 4, False, 1))
    return AutoencoderTask(avae, AutoencoderOptions(adversary_width=8, **options), frames)


class Faint(nn.Module):
    """A critic whose verdict hardly depends on what it sees."""

    def forward(self, x: Tensor) -> Tensor:
        return 1e-6 * x


def batch(one: AutoencoderTask, rows: slice = slice(None)) -> Batch:
    x = one.held_out[rows]
    return Batch(x, Condition(), tuple(map(str, range(len(x)))))


def test_the_critic_learns_alone_first() -> None:
    made = task(adversary_from=2, adversary_lead=3, adversary_rate=0.25)
    learns = [step for step in range(8) if "critic" in made.players(step)]
    draws = Draws(0, 0, range(8), 8)
    losses = [made.loss("avae", batch(made), step, draws) for step in range(8)]
    listens = [step for step, loss in enumerate(losses) if "fool" in loss.logs]
    assert learns == [2, 3, 4, 5, 6, 7]
    assert listens == [5, 6, 7]
    assert made.rates == {"critic": 0.25}


def test_no_layer_of_the_critic_stretches_what_it_sees() -> None:
    """However large the weights get: every layer is divided by its largest singular value."""
    torch.manual_seed(0)
    critic = PatchDiscriminator(1, 8).train()
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(50)
        for _ in range(100):  # one step of the power iteration each
            verdict = critic(torch.randn(2, 1, 32, 32))
    assert verdict.shape == (2, 1, 2, 2)
    convs = [layer for layer in critic.layers if isinstance(layer, nn.Conv2d)]
    assert len(convs) == 5
    for conv in convs:
        largest = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1.0, abs=0.02)


def test_a_critic_with_next_to_no_gradient_is_not_made_loud() -> None:
    for most in (0.5, 2.0):
        made = task(adversary=0.1, adversary_from=0, adversary_most=most)
        made.nets["critic"] = Faint()
        logs = made.loss("avae", batch(made), 0, Draws(0, 0, range(8), 8)).logs
        assert logs["weight"] == pytest.approx(0.1 * most)


# ---- equivariance -------------------------------------------------------------------------------


def test_images_and_latents_move_alike() -> None:
    """Shrinking and turning commutes with averaging cells, up to the filter's edge."""
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(moved(x, [0, 0], [32, 32]), x)
    torch.testing.assert_close(moved(x, [1, 2], [32, 32])[1], x[1].flip(1, 2))
    corner = torch.zeros(1, 1, 16, 16)
    corner[..., :8, :8] = 1
    small = moved(corner, [1], [8, 8])
    assert small[0, 0, 4:, :4].mean() > 0.85
    assert small[0, 0, :4].max() < 0.5


def test_the_plan_belongs_to_rows_of_the_global_batch() -> None:
    z = torch.zeros(16, 2, 8, 8)
    rows, turns, cells = plan(z, 0.5, Draws(0, 3, range(16), 16))
    assert len(rows) == 8
    found: dict[int, int] = {}
    for first in range(2):
        own = range(first, 16, 2)
        some, theirs, size = plan(z[::2], 0.5, Draws(0, 3, own, 16))
        assert size == cells
        found |= {own[row]: turn for row, turn in zip(some.tolist(), theirs, strict=True)}
    assert found == dict(zip(rows.tolist(), turns, strict=True))
    sizes = [plan(z, 0.5, Draws(0, step, range(16), 16))[2][0] for step in range(60)]
    assert (min(sizes), max(sizes)) == (8 * SMALLEST, 8)
    wide = [plan(z[:, :, :4], 1.0, Draws(0, step, range(16), 16))[1] for step in range(5)]
    assert {turn for turns in wide for turn in turns} == {0, 2}


class Same:
    """An autoencoder that does nothing: as equivariant as one can be."""

    def decode(self, z: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=z)


def test_an_equivariant_autoencoder_pays_nothing() -> None:
    made = task(eq=1.0)
    x, draws = made.held_out, Draws(0, 0, range(8), 8)
    assert float(made._unevenness(Same(), x, x, draws)) == 0
    assert float(made._unevenness(Same(), x.flip(3), x, draws)) > 0.01


def test_parts_of_a_batch_add_up_to_its_equivariance() -> None:
    made = task(eq=1.0, eq_share=0.5)
    avae: Any = made.nets["avae"]
    with torch.no_grad():
        z, x = avae.encode(made.held_out).latent_dist.mean, made.held_out
        whole = made._unevenness(avae, z, x, Draws(0, 0, range(8), 8))
        parts = [
            made._unevenness(avae, z[first::4], x[first::4], Draws(0, 0, range(first, 8, 4), 8))
            for first in range(4)
        ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_the_weight_of_equivariance_enters_the_loss() -> None:
    draws = [Draws(0, 0, range(8), 8) for _ in range(2)]
    off, on = task(adversary=0.0), task(adversary=0.0, eq=0.25)
    plain, more = (t.loss("avae", batch(t), 0, d) for t, d in zip((off, on), draws, strict=True))
    assert "eq" not in plain.logs
    assert (more.value - plain.value).item() == pytest.approx(0.25 * more.logs["eq"], abs=1e-5)
    assert set(on.validate(on.nets)) == {"val/psnr", "val/eq"}


# ---- LPIPS --------------------------------------------------------------------------------------


def test_lpips_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is fetched: the file is named, and the option that does without it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    with pytest.raises(InputError, match=r"get vgg16-.*Or set avae.lpips=0"):
        task(lpips=1.0)
    assert not list(tmp_path.iterdir())


class Distance(nn.Module):
    """Has the call of `lpips.LPIPS`."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        assert a.shape[1:] == b.shape[1:] == (3, 32, 32)
        return self.scale * (a - b).square().mean((1, 2, 3), keepdim=True)


def test_lpips_enters_the_loss_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = SimpleNamespace(net=Distance())
    monkeypatch.setattr("echoflow.training.perceptual.Lpips", lambda trunk: opened)
    made = task(adversary=0.0, kl=0.0, lpips=0.5)
    loss = made.loss("avae", batch(made), 0, Draws(0, 0, range(8), 8))
    assert loss.logs["lpips"] == pytest.approx(2 * loss.logs["pixel"], rel=1e-5)
    assert loss.value.item() == pytest.approx(2 * loss.logs["pixel"], rel=1e-5)
    assert set(made.nets) == {"avae", "critic"}
    assert not any("scale" in name for net in made.nets.values() for name in net.state_dict())


# ---- recomputation ------------------------------------------------------------------------------


def test_recomputing_blocks_changes_no_bit_of_a_run(tmp_path: Path) -> None:
    """With the adversary, whose weight asks for gradients of its own."""
    plain = recipe("avae", 5)
    fit(avae_task(), Noise((1, 32, 32)), plain, tmp_path / "plain")
    again = plain.changed(["engine.recompute=true"])
    fit(avae_task(), Noise((1, 32, 32)), again, tmp_path / "again")
    same_weights(tmp_path / "plain" / "avae", tmp_path / "again" / "avae")
