"""Training a stage: stored losses of three kinds, clips and crops, and the smallest cascade."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closed_forms import golden
from golden_cases import cases, stored_weights
from small_datasets import brightening
from torch import Tensor

from echoflow.cascade_files import find
from echoflow.condition import Condition
from echoflow.data.prepare import Window
from echoflow.data.sources import open_source
from echoflow.interop.keymap import to_ours
from echoflow.interop.unet3d import RULES, read
from echoflow.lowres import log_snr
from echoflow.networks import zoo
from echoflow.networks.rows import CASCADES, ROWS
from echoflow.networks.unet3d import UNet3D, UNet3DConfig
from echoflow.process import corrupt
from echoflow.training.cascaded import PixelClips, StageTask, cropped
from echoflow.training.draws import Draws
from echoflow.training.options import CascadeOptions
from echoflow.training.provenance import _values
from echoflow.training.recipes import Recipe, parse
from echoflow.training.stages import train
from echoflow.training.table import named, preset
from echoflow.types import Batch, InputError

FILE = "echodiffusion/training.tiny"
CASES = ["base", "base_ignore_time", "up_trilinear", "up_ignore_time", "sr_nearest"]


@dataclass
class Stored:
    """Stored noise and levels where a training step would draw."""

    t: Tensor | None
    noise: Tensor | None

    def shared(self) -> float:
        assert self.t is not None
        return self.t.item()

    def normal(self, like: Tensor) -> Tensor:
        assert self.noise is not None
        return self.noise


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_golden_training(name: str) -> None:
    """Resizing, low-resolution twin, corruption, network and loss, with stored noise."""
    _, at, wanted = next(case for case in cases(FILE) if case[0] == name)
    about = golden(FILE)[1]
    how = next(case["arguments"] for case in about["cases"] if case["name"] == name)
    task, inputs = StageTask(*of(how, at)), dict[str, Any](at)
    keep, ef = inputs["ef_keep"], inputs["text_embeds"][:, 0, 0]
    frame = 2 * inputs["cond_images"] - 1
    cond = Condition(ef=torch.where(keep > 0, 100 * ef, torch.nan), frame=frame)
    clips = Batch(2 * inputs["video01"] - 1, cond, ("a", "b", "c"))
    rng: Any = Stored(at.get("lowres_t"), at.get("noise.lowres"))
    in_time = not how["ignore_time"]
    x0, cond = task.seen(clips, rng, in_time)
    process, noise = task.process, inputs["noise.video"]
    sigma = torch.exp(process.p_mean + process.p_std * inputs["noise.sigma_normal"])
    net = partial(task.nets["net"], in_time=in_time)
    x = corrupt(process, x0, noise, sigma)
    found = {"sigma": sigma, "noised": x, "D": process.denoised(net, x, sigma, cond)}
    found["loss_per_sample"] = process.loss(net, x0, noise, sigma, cond)
    found["loss"] = found["loss_per_sample"].mean()
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, **about["tolerance"], msg=key)


def of(how: dict[str, Any], at: dict[str, Any]) -> tuple[UNet3D, CascadeOptions, list[Batch]]:
    """The network of a stored case, and the options that say what it sees."""
    i, frames = int(how["stage_net"] != "unet3d_base"), at["video01"].shape[2]
    made = [frames // n for n in how["temporal_downsample_factor"]]
    data, about = golden(f"echodiffusion/{how['stage_net']}.tiny")
    net = UNet3D(replace(read(about["config"]), size=how["image_sizes"][i], frames=made[i]))
    net.load_state_dict(to_ours(RULES, stored_weights(data)))
    before = (made[0], how["image_sizes"][0]) if i else None
    size, mode = how["image_sizes"][-1], how["resize_mode"]
    return net, CascadeOptions(frames=frames, size=size, before=before, resize=mode), []


# ---- crops --------------------------------------------------------------------------------------


def numbered(b: int = 3, t: int = 4, side: int = 16) -> tuple[Tensor, Condition]:
    """Clips whose every pixel says where it is; the twin and the frame are the same picture."""
    picture = torch.arange(side * side, dtype=torch.float32).reshape(side, side)
    x = picture.expand(b, 1, t, side, side)
    return x, Condition(frame=x[:, :, 0], lowres=x, lowres_noise=torch.zeros(b))


def test_one_crop_of_a_clip_its_twin_and_its_frame() -> None:
    x, cond = numbered()
    cut, after = cropped(x, cond, 8, "clip", Draws(0, 0, range(3), 3))
    assert cut.shape == (3, 1, 4, 8, 8)
    assert after.frame is not None
    assert after.lowres is not None
    assert torch.equal(cut, after.lowres)
    assert torch.equal(cut, after.frame[:, :, None].expand_as(cut))
    assert len(cut[:, 0, 0, 0, 0].unique()) > 1
    torch.testing.assert_close(cut[0, 0, 0].diff(), torch.ones(8, 7))


def test_the_published_crop_shakes_frames_and_twin_alike() -> None:
    x, cond = numbered()
    cut, after = cropped(x, cond, 8, "frame", Draws(0, 0, range(3), 3))
    assert cut.shape == (3, 1, 4, 8, 8)
    assert after.lowres is not None
    assert after.frame is not None
    assert torch.equal(cut, after.lowres)
    assert len(cut[0, 0, :, 0, 0].unique()) > 1
    assert after.frame.shape == (3, 1, 8, 8)


# ---- clips --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightening(tmp_path_factory.mktemp("videos"))


def clips(folder: Path, frame: Any, frames: int = 4) -> PixelClips:
    manifest = open_source(folder)
    window = Window(frames, 8.0, 16, short="black", time="zoom")
    return PixelClips(manifest, manifest.records, window, frame, 3)


def test_clips_come_with_ef_and_frame(videos: Path) -> None:
    source = clips(videos, "video")
    batch = source.batch(np.array([0, 1]), np.random.default_rng(0))
    assert batch.x.shape == (2, 3, 4, 16, 16)
    assert batch.x.min() >= -1
    assert batch.cond.frame is not None
    assert batch.cond.frame.shape == (2, 3, 16, 16)
    assert batch.cond.ef is not None
    assert batch.cond.ef.tolist() == pytest.approx([r.ef for r in source.records[:2]])
    again = source.batch(np.array([0, 1]), np.random.default_rng(0))
    assert torch.equal(batch.x, again.x)


def test_where_the_frame_is_from(videos: Path) -> None:
    whole = clips(videos, "first", 8).batch(np.array([0]), np.random.default_rng(0))
    assert whole.cond.frame is not None
    follows = (whole.cond.frame - whole.x[:, :, 0]).abs().mean()
    assert 0 < follows < (whole.cond.frame - whole.x[:, :, 4]).abs().mean()
    for seed in range(5):
        one = clips(videos, "clip").batch(np.array([0]), np.random.default_rng(seed))
        assert one.cond.frame is not None
        assert (one.x == one.cond.frame[:, :, None]).all(dim=(0, 1, 3, 4)).any()


def test_a_short_video_ends_in_black(videos: Path) -> None:
    batch = clips(videos, "clip", 12).batch(np.array([0]), np.random.default_rng(0))
    assert (batch.x[:, :, 9:] == -1).all()
    assert not (batch.x[:, :, :9] == -1).all()


# ---- recipes ------------------------------------------------------------------------------------

TINY = UNet3DConfig(1, 8, 4, 8, (1, 2), (1, 1), (False, True), heads=2, head=8, groups=4)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    second = replace(TINY, size=16, frames=8, lowres=True, memory_saving=True)
    for name, config in {"tiny-1": TINY, "tiny-2": second}.items():
        monkeypatch.setitem(ROWS, name, config)


SMALL = ["cascade.frames=8", "cascade.fps=8", "cascade.size=16", "engine.batch=2"]
SMALL += ["engine.steps=2", "engine.validate_every=2", "engine.picture_every=2"]
SMALL += ["cascade.crop=null"]


def recipe(i: int, data: Path, *settings: str) -> Recipe:
    own = [f"model=tiny-{i}", f"data={data}", f"cascade.before={'[4, 8]' if i == 2 else 'null'}"]
    return named(f"phantom-2SCM-{i}").changed([*SMALL, *own, *settings])


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("i", [1, 2])
def test_a_stage_trains(i: int, videos: Path, tmp_path: Path) -> None:
    crop = ["cascade.crop=8", "cascade.still=0.5"] if i == 2 else []
    run = train(recipe(i, videos, "cascade.frame=video", *crop), tmp_path / "run")
    assert (run / "net" / "config.json").is_file()
    assert (run / "pictures" / "step-0000002.png").is_file()
    last = (run / "metrics.jsonl").read_text().splitlines()[-1]
    assert '"val/loss"' in last
    assert '"val/ef"' in last


@pytest.mark.usefixtures("rows")
def test_noise_is_drawn_as_the_recipe_says(videos: Path) -> None:
    k = recipe(
        2, videos, "cascade.p_mean=0.5", "cascade.p_std=2", "cascade.lowres_most=0.4"
    ).cascade
    task = StageTask(zoo.build("tiny-2"), k, [])
    quantiles = torch.tensor([0.5, 0.8413447])  # of the mean, and of one deviation more
    torch.testing.assert_close(task.process.times(quantiles), torch.tensor([0.5, 2.5]).exp())
    x = torch.zeros(1, 1, 8, 16, 16)
    rng: Any = Stored(torch.tensor(0.75), x)
    _, cond = task.seen(Batch(x, Condition(frame=x[:, :, 0]), ("a",)), rng)
    assert cond.lowres_noise is not None
    torch.testing.assert_close(cond.lowres_noise, log_snr(torch.tensor([0.3])))


@pytest.mark.usefixtures("rows")
def test_every_video_needs_an_ef(videos: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(videos, bare)
    table = bare / "FileList.csv"
    head, first, *rest = table.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index("EF")] = ""
    table.write_text("\n".join([head, ",".join(cells), *rest]) + "\n")
    with pytest.raises(InputError, match="a cascade needs the EF of every video; 1 have none"):
        train(recipe(1, bare), tmp_path / "run")


@pytest.mark.parametrize(
    ("i", "setting", "message"),
    [
        (1, "cascade.before=[4, 8]", "is a first one and has no size of the stage before"),
        (2, "cascade.before=null", "needs cascade.before"),
        (2, "cascade.before=[4, 32]", "4 frames of 32 pixels and this one 8 of 16"),
        (2, "cascade.size=8", "8 frames of 16 pixels out of clips of 8 frames of 8; raise"),
        (2, "cascade.crop=10", "crop=10 must be at most 16, a multiple of 4"),
        (1, "cascade.crop=8", "of a stage that makes the 16 pixels of the clips"),
    ],
)
@pytest.mark.usefixtures("rows")
def test_stages_that_do_not_fit(
    i: int, setting: str, message: str, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        train(recipe(i, videos, setting), tmp_path / "run")


@pytest.mark.parametrize("settings", [[], ["cascade.lowres_most=0.1", "cascade.before=null"]])
def test_a_level_of_noise_that_training_shows(settings: list[str]) -> None:
    """Up to `lowres_most`; a first stage has no low-resolution input, so any."""
    changed = named("2SCM-2").changed(["cascade.lowres_most=0.2", *settings])
    assert changed.cascade.lowres_level == 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["cascade.lowres_most=0.1"], r"lowres_level: .* at most lowres_most=0\.1, .*\(got 0\.2\)"),
        (["cascade.lowres_most=0.5", "cascade.lowres_level=0.6"], r"lowres_most=0\.5, .*got 0\.6"),
        (["cascade.before=[0, 0]"], r"cascade\.before\.0: .* greater than 0 \(got 0\)"),
        (["cascade.before=[16, -56]"], r"cascade\.before\.1: .* greater than 0 \(got -56\)"),
    ],
)
def test_options_that_would_train_or_sample_wrongly(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        named("2SCM-2").changed(settings)


def test_a_level_that_is_left_out_is_checked_too() -> None:
    values = {"stage": "cascade", "model": "2SCM-2", "data": "x"}
    with pytest.raises(InputError, match=r"lowres_level: .* at most lowres_most=0\.1"):
        parse({**values, "cascade": {"before": [16, 56], "lowres_most": 0.1}})


@pytest.mark.parametrize("way", ["", "-code"])
def test_recipes_of_the_published_stages_follow_each_other(way: str) -> None:
    for name, configs in CASCADES.items():
        for i, config in enumerate(configs, start=1):
            options = named(f"{name}{way}-{i}").cascade
            StageTask(UNet3D(replace(config, width=8, groups=2)), options, [])
            assert (options.before is None) == (i == 1)
            assert options.size == configs[-1].size
            assert (options.crop == 56) == (name != "1SCM" and i == len(configs))


def test_as_the_paper_and_as_its_code_differ_in_frame_and_crops() -> None:
    for name, configs in CASCADES.items():
        for i in range(1, len(configs) + 1):
            paper, code = (dict(_values(named(one))) for one in (f"{name}-{i}", f"{name}-code-{i}"))
            differ = {key: (value, code[key]) for key, value in paper.items() if value != code[key]}
            crops = {"cascade.crops": ("clip", "frame")} if paper["cascade.crop"] else {}
            assert differ == {"cascade.frame": ("video", "clip"), **crops}


def test_who_says_how_a_published_stage_is_trained() -> None:
    paper, code = preset("2SCM-2").sources, preset("2SCM-code-2").sources
    for key in ("frame", "still", "frames", "fps", "size", "before", "steps", "churn"):
        assert paper[f"cascade.{key}"].startswith("paper, EchoDiffusion"), key
    assert paper["engine.steps"].startswith("ours")
    assert {key for key in code if code[key] != paper[key]} == {"cascade.frame", "cascade.crops"}
    assert code["cascade.frame"].startswith("released code, EchoDiffusion")
    assert code["cascade.crops"].startswith("released code, EchoDiffusion")


def test_runs_as_the_code_are_a_cascade_of_their_own(tmp_path: Path) -> None:
    for name in ("2SCM-1", "2SCM-2", "2SCM-code-1", "2SCM-code-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(named(name).to_yaml())
    for name in ("2SCM", "2SCM-code"):
        assert find(tmp_path, name).runs == (tmp_path / f"{name}-1", tmp_path / f"{name}-2")


def test_values_of_the_published_stages() -> None:
    assert named("1SCM-1").cascade.fps == 8
    assert named("4SCM-3").cascade.before == (32, 56)
    assert named("4SCM-3").engine.batch == 64
