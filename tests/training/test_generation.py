"""Options of the flow models' training, each against what it claims; their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_fit import Noise, flow_task, recipe, same_weights
from torch import Tensor

from echoflow.condition import Condition
from echoflow.latents import LatentStats
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMvTv1Config
from echoflow.networks.unet import STUNetConfig
from echoflow.training import pictures
from echoflow.training.draws import Draws
from echoflow.training.fit import fit
from echoflow.training.generation import (
    FlowTask,
    apart,
    coarse,
    due,
    grain,
    noisy_frame,
    with_offset,
)
from echoflow.training.options import FlowOptions
from echoflow.types import Batch, InputError

ST = "SpatioTemporal"
VIDEO: dict[str, Any] = {
    "FMvT": FMvTConfig(2, 8, 4, (2, 4, 4), 16, 1, 2),
    "FMvTv1": FMvTv1Config(2, (8, 8), 4, (1, 4, 4), 16, 1, 2),
    "STUNet": STUNetConfig(
        2,
        8,
        4,
        (32, 32),
        2,
        1,
        down_block_types=(f"CrossAttnDownBlock{ST}", f"DownBlock{ST}"),
        up_block_types=(f"UpBlock{ST}", f"CrossAttnUpBlock{ST}"),
    ),
}


def draws(n: int = 4) -> Draws:
    return Draws(0, 0, range(n), n)


def clips(n: int = 4, frames: int = 4) -> Batch:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, frames, 8, 8, generator=rng)
    ef = torch.linspace(20, 70, n)
    return Batch(x, Condition(ef=ef, frame=x[:, :, 0]), tuple(map(str, range(n))))


def anatomies(n: int = 4) -> Batch:
    batch = clips(n)
    mask = (batch.x[:, :1, 0] > 0).float()
    cond = Condition(view=torch.zeros(n, dtype=torch.long), mask=mask)
    return Batch(batch.x[:, :, 0], cond, batch.uid)


def video_task(name: str = "FMvT", **options: Any) -> FlowTask:
    torch.manual_seed(0)
    net = zoo.build(VIDEO[name])
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)  # otherwise the zeros at the end hide every condition
    return FlowTask(net, FlowOptions(frames=4, **options), [clips()])


# ---- noise --------------------------------------------------------------------------------------


def test_an_offset_is_one_number_for_each_channel_of_a_sample() -> None:
    noise = torch.randn(512, 3, 2, 4, 4)
    assert with_offset(noise, 0.0, draws(512)) is noise
    shift = with_offset(noise, 0.1, draws(512)) - noise
    assert float(shift.flatten(2).std(2).max()) < 1e-6
    assert float(shift[:, :, 0, 0, 0].std()) == pytest.approx(0.1, rel=0.06)
    torch.testing.assert_close(
        with_offset(noise[:, :, 0], 0.1, draws(512)), (noise + shift)[:, :, 0]
    )


def test_a_dropped_anatomy_stays_empty_under_its_noise() -> None:
    cond = clips(256).cond
    noisy = noisy_frame(cond, 0.05, draws(256))
    assert noisy.frame is not None
    assert cond.frame is not None
    assert float((noisy.frame - cond.frame).std()) == pytest.approx(0.05, rel=0.02)
    assert noisy_frame(cond, 0.0, draws(256)) is cond
    seen: list[Tensor] = []
    task = video_task(frame_noise=0.05, drop=0.5)
    task.nets["net"].register_forward_pre_hook(lambda net, args: seen.append(args[2].frame))
    task.loss("net", clips(64), 0, draws(64))
    empty = (seen[0] == 0).flatten(1).all(1)
    assert 10 < int(empty.sum()) < 54


def test_options_that_are_off_leave_the_random_numbers_alone() -> None:
    plain, offset = video_task(), video_task(noise_offset=1e-9)
    one, two = (t.loss("net", clips(), 0, draws()).value for t in (plain, offset))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{"noise_offset": 0.1, "frame_noise": 0.1}, {"stills": 0.99}])
def test_two_halves_of_a_batch_have_the_loss_of_the_whole(options: dict[str, Any]) -> None:
    task, batch = video_task(**options), clips()
    with torch.no_grad():
        whole = task.loss("net", batch, 5, draws()).value
        halves = []
        for first in range(2):
            rows = list(range(first, 4, 2))
            half = Batch(batch.x[rows], batch.cond.select(rows), batch.uid[first::2])
            halves.append(task.loss("net", half, 5, Draws(0, 0, rows, 4)).value)
    torch.testing.assert_close(torch.stack(halves).mean(), whole)


# ---- stills -------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.6])
def test_the_share_of_stills_is_exact_and_evenly_spread(share: float) -> None:
    steps = [step for step in range(1000) if due(step, share)]
    assert len(steps) == 1000 * share
    if share:
        assert max(np.diff(steps)) <= np.ceil(1 / share)


def test_clips_come_apart_with_their_conditions() -> None:
    batch, u = clips(3), torch.tensor([0.1, 0.4, 0.9])
    x, noise, times, cond = apart(batch.x, -batch.x, u, batch.cond, 2)
    assert x.shape == (6, 2, 2, 8, 8)
    assert torch.equal(x[3], batch.x[1, :, 2:])
    assert torch.equal(noise, -x)
    torch.testing.assert_close(times, torch.tensor([0.1, 0.6, 0.4, 0.9, 0.9, 0.4]))
    assert cond.ef is not None
    assert batch.cond.ef is not None
    assert torch.equal(cond.ef, batch.cond.ef.repeat_interleave(2))


@pytest.mark.parametrize("name", VIDEO)
def test_every_video_network_learns_from_stills(name: str) -> None:
    task = video_task(name, stills=0.5)
    net = task.nets["net"]
    seen: list[tuple[int, ...]] = []
    net.register_forward_pre_hook(lambda net, args: seen.append(tuple(args[0].shape)))
    logs = []
    for step in range(2):
        loss = task.loss("net", clips(), step, draws())
        loss.value.backward()
        logs.append(loss.logs["stills"])
    short = grain(net)
    assert logs == [0, 1]
    assert seen == [(4, 2, 4, 8, 8), (16 // short, 2, short, 8, 8)]
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def test_images_cannot_be_taken_apart() -> None:
    net = zoo.build(FMiTConfig(2, 8, 4, 16, 1, 2))
    with pytest.raises(InputError, match="this model makes images"):
        FlowTask(net, FlowOptions(stills=0.1), [anatomies()])


# ---- recomputation ------------------------------------------------------------------------------


def test_recomputing_blocks_changes_no_bit_of_a_run(tmp_path: Path) -> None:
    plain = recipe("lvfm", 4)
    fit(flow_task(), Noise((2, 4, 8, 8)), plain, tmp_path / "plain")
    again = plain.changed(["engine.recompute=true"])
    fit(flow_task(), Noise((2, 4, 8, 8)), again, tmp_path / "again")
    same_weights(tmp_path / "plain" / "net", tmp_path / "again" / "net")


# ---- pictures -----------------------------------------------------------------------------------


def test_a_sweep_shows_the_recorded_clip_above_one_row_for_each_ef() -> None:
    task = video_task()
    picture = task.picture(task.nets)
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.shape == (4 * 32, pictures.COLUMNS * 32)
    anatomy = picture.reshape(4, 32, pictures.COLUMNS, 32)[:, :, 0]
    assert (anatomy == anatomy[0]).all()
    assert (picture == task.picture(task.nets)).all()


def test_anatomies_stand_under_their_masks_and_decode(tmp_path: Path) -> None:
    zoo.save(zoo.build(AVAEConfig(2, (8, 8), 1, 4, False, 1)), tmp_path)
    stats = LatentStats(torch.zeros(2), torch.ones(2))
    net = zoo.build(FMiTConfig(2, 8, 4, 16, 1, 2))
    task = FlowTask(net, FlowOptions(), [anatomies()], pictures.space_of(tmp_path, stats))
    picture = task.picture(task.nets)
    assert picture is not None
    assert picture.shape == (3 * 16, 4 * 16)
    assert set(np.unique(picture[:16])) == {0, 160}


def test_a_decoder_of_another_space_is_refused(tmp_path: Path) -> None:
    zoo.save(zoo.build(AVAEConfig(2, (8, 8), 1, 4, False, 1)), tmp_path / "avae")
    with pytest.raises(InputError, match="makes latents of 2 channels, the data have 4"):
        pictures.space_of(tmp_path / "avae", LatentStats(torch.zeros(4), torch.ones(4)))
    zoo.save(zoo.build(FMiTConfig(2, 8, 4, 16, 1, 2)), tmp_path / "image")
    with pytest.raises(InputError, match="holds a FMiT; give an A-VAE"):
        pictures.space_of(tmp_path / "image", LatentStats(torch.zeros(2), torch.ones(2)))


def test_coarse_errors_are_those_that_neighbours_share() -> None:
    torch.manual_seed(0)
    noise = torch.randn(8, 4, 16, 28, 28)
    cells = (4, 4, 4)
    assert coarse(noise, cells).item() == pytest.approx(noise.square().mean().item(), rel=0.05)
    shared = torch.ones(1, 2, 8, 8, 8)
    assert coarse(shared, cells).item() == pytest.approx(64)
    assert coarse(shared[:, :, 0], cells).item() == pytest.approx(16)  # an image has one frame
