"""Free-Echo in pixels: stored values of its sampler, the baselines beside it, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from closed_forms import golden, network
from golden_cases import stored_weights
from torch import Tensor

from echoflow.condition import Condition, over
from echoflow.data.labels import in_free_echo, planes
from echoflow.freeecho.model import (
    FPS,
    GUIDED,
    PAPER,
    FreeEcho,
    begun,
    inserted,
    is_freeecho,
    load,
    planned,
    told_of,
)
from echoflow.freeecho.pseudo import pseudo_video
from echoflow.interop.freeecho import PREFIX, RULES, read
from echoflow.interop.keymap import to_ours, to_theirs
from echoflow.networks import zoo
from echoflow.networks.unet3d_labels import LabelUNet3D, LabelUNet3DConfig
from echoflow.process import EDM, Network
from echoflow.sampling import Churn, SamplingPlan, from_noise
from echoflow.training.recipes import Recipe, parse
from echoflow.types import InputError

TINY = LabelUNet3DConfig(1, 16, 3, 8, (1, 2), heads=2, head=8)
PLAN = SamplingPlan(steps=4, solver="heun", churn=Churn(), start_index=2)
STORED = ["gauss_released_64_15", "gauss_released_10_3", "gauss_released_10_noise_free"]
STORED += ["gauss_paper_64_15", "gauss_paper_10_3", "net_released_6_2", "net_released_6_noise_free"]
STORED += ["net_released_5_late", "net_paper_6_2"]


def model(told: Any = "sector", **changes: Any) -> FreeEcho:
    torch.manual_seed(0)
    net = LabelUNet3D(replace(TINY, **changes))
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return FreeEcho(net.eval(), told)


def heart(side: int = 16) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    return in_free_echo((((x - 0.55) / 0.15) ** 2 + ((y - 0.5) / 0.2) ** 2 < 1).astype(int))


class Asked:
    """A network that keeps what it was asked and the estimate of the data that it meant."""

    def __init__(self, net: Network, process: EDM) -> None:
        self.net, self.process = net, process
        self.x: list[Tensor] = []
        self.x0: list[Tensor] = []
        self.t: list[Tensor] = []

    def __call__(self, x: Tensor, c_noise: Tensor, cond: Condition) -> Tensor:
        f = self.net(x, c_noise, cond)
        t, d = (4 * c_noise).exp(), self.process.sigma_data
        scale = over((t**2 + d**2).sqrt(), x)
        self.x.append(x * scale)
        self.x0.append((d / scale) ** 2 * x * scale + over(t, x) * d / scale * f)
        self.t.append(t[0])
        return f


def gaussian(mean: Tensor, std: float) -> Network:
    mu = mean.reshape(1, 3, 1, 1, 1)
    return network(EDM(), lambda x, t: (x - mu) * over(t / (t**2 + std**2), x))


@pytest.mark.parametrize("name", STORED)
def test_golden_sampling(name: str) -> None:
    """Every call of the network and the video, both ways in which a pseudo-video enters."""
    data, about = golden("freeecho/sampling.tiny")
    case = next(case for case in about["cases"] if case["name"] == name)
    at = {k: None if key is None else data[key] for k, key in case["inputs"].items()}
    asked, start, stored = case["arguments"], at["pseudo01"], at["noise"]
    assert start is not None
    assert stored is not None
    cond = Condition()
    if asked["denoiser"] == "network":
        weights, config = golden("freeecho/unet3d.tiny")
        net = LabelUNet3D(read(config["config"])).eval()
        net.load_state_dict(to_ours(RULES, stored_weights(weights)))
        assert at["cond"] is not None
        cond = Condition(mask=planes(at["cond"].numpy()))
    else:
        net = gaussian(data["mu"], asked["s"])
    process, k = EDM(sigma_data=0.5), asked["start_step"]
    listening = Asked(net, process)
    plan = SamplingPlan(asked["steps"], "heun", churn=Churn(asked["S_churn"]), start_index=k)

    def noise(number: int) -> Tensor:
        if asked["variant"] == "paper":
            return stored[0] if number == 0 else stored[number - k]
        return torch.zeros_like(stored[0]) if number == 0 else stored[number]

    x = from_noise(listening, process, cond, noise, plan, 2 * start - 1)
    found = {
        "video": (x.clamp(-1, 1) + 1) / 2,
        "calls_x": torch.stack(listening.x),
        "calls_D": torch.stack(listening.x0),
        "calls_sigma": torch.stack(listening.t),
    }
    for key, where in case["outputs"].items():
        torch.testing.assert_close(found[key], data[where["key"]], **about["tolerance"], msg=key)


def test_golden_schedule_preconditioning_and_loss_weight() -> None:
    data, about = golden("freeecho/edm_math.tiny")
    process, churn, close = EDM(sigma_data=0.5), PAPER.churn, about["tolerance"]
    assert churn is not None
    sigma = process.grid(64)
    torch.testing.assert_close(sigma.float(), data["N64.sigma"], **close)
    gamma = [churn.gamma(t, 64) for t in sigma.tolist()[:-1]]
    raised = [process.raised(t, g) for t, g in zip(sigma.tolist(), gamma, strict=False)]
    torch.testing.assert_close(torch.tensor(gamma), data["N64.gamma"][: len(gamma)], **close)
    torch.testing.assert_close(torch.tensor(raised), data["N64.sigma_hat"][: len(raised)], **close)
    std = (
        churn.inflation * (torch.tensor(raised, dtype=torch.float64) ** 2 - sigma[:-1] ** 2).sqrt()
    )
    wanted = data["N64.insertion_std"][: len(std)]
    torch.testing.assert_close(std.float(), wanted, atol=1e-6, rtol=1e-4)
    free = [i for i, g in enumerate(gamma) if g == 0]
    assert free == about["schedules"]["64"]["noise_free_insertion_steps"]


def test_released_noise_leaves_the_beginning_alone() -> None:
    device = torch.device("cpu")
    paper, released = (inserted([3], (2, 2), device, how) for how in ("paper", "released"))
    assert not released(0).any()
    assert paper(0).any()
    assert torch.equal(paper(4), released(4))


def test_what_a_network_is_told() -> None:
    labels = heart()
    assert np.array_equal(told_of(labels, "labels"), labels)
    assert np.array_equal(told_of(labels, "sector"), labels > 0)
    assert not told_of(labels, "nothing").any()


def test_without_a_start_sampling_begins_at_the_first_step() -> None:
    """Noise of a later step alone is no sample of that step."""
    one, labels = model(), heart()
    whole = replace(PAPER, start_index=0)
    assert torch.equal(one.videos(labels, [5]), one.videos(labels, [5], whole))
    with pytest.raises(InputError, match="start_index 2 needs a start, the video to begin from"):
        one.videos(labels, [5], PLAN)


@pytest.mark.parametrize("insertion", ["paper", "released"])
def test_a_seed_decides_alone_and_the_start_is_seen(insertion: Any) -> None:
    one, labels = model(), heart()
    start = begun("free-echo", labels[None], 16)
    made = one.videos(labels, [5, 6], PLAN, start, insertion)
    assert made.shape == (2, 3, 16, 16)
    assert made.dtype == torch.uint8
    assert torch.equal(one.videos(labels, [6], PLAN, start, insertion)[0], made[1])
    assert not torch.equal(made[0], made[1])
    assert start is not None
    assert not torch.equal(one.videos(labels, [5], PLAN, 255 - start, insertion)[0], made[0])


def test_late_starts_keep_the_pseudo_video() -> None:
    """The later it enters, the nearer the video stays to it, whatever the network says."""
    one, labels = model(), heart()
    start = pseudo_video(labels[None], 16)
    away = []
    for k in (0, 4, 7):
        plan = SamplingPlan(8, "heun", start_index=k)
        away.append(float(np.abs(one.videos(labels, [1], plan, start).numpy() - start).mean()))
    assert away[0] > away[1] > away[2]
    assert away[2] < 3


@pytest.mark.parametrize("channels", [1, 3])
def test_the_baselines(channels: int) -> None:
    """SDEdit begins from colours, or from their mean; classifier-free from noise, with scale."""
    labels = heart()
    colours = begun("sdedit", labels[None], 16)
    assert colours is not None
    one = model(channels=channels)
    start = one.entering(colours, 1)
    assert start.shape == (1, channels, 3, 16, 16)
    wanted = colours if channels == 3 else colours.mean(0, keepdims=True)
    torch.testing.assert_close(start[0, :, 1], torch.from_numpy(wanted[:, 0] / 127.5 - 1))
    assert begun("labels", labels[None], 16) is None
    told = model("labels")
    plan = SamplingPlan(2, "heun", negative=("mask",), scale=7.0)
    guided, plain = (told.videos(labels, [0], p) for p in (plan, replace(plan, scale=1.0)))
    assert not torch.equal(guided, plain)


def test_weights_from_a_checkpoint_a_run_and_a_folder(tmp_path: Path) -> None:
    one = model()
    zoo.save(one.net, tmp_path / "run" / "net")
    assert load(tmp_path / "run" / "net", "labels").told == "labels"
    with pytest.raises(InputError, match="secter"):
        load(tmp_path / "run" / "net", cast(Any, "secter"))
    assert load(tmp_path / "run").fps == FPS
    options = {"told": "nothing", "fps": 12.0, "sigma_data": 0.3}
    recipe = {"stage": "freeecho", "model": "Free-Echo", "data": "x", "freeecho": options}
    (tmp_path / "run" / "recipe.yaml").write_text(parse(recipe).to_yaml())
    found = load(tmp_path / "run")
    assert (found.told, found.fps, found.process.sigma_data) == ("nothing", 12.0, 0.3)
    assert isinstance(parse(recipe), Recipe)
    with pytest.raises(InputError, match="was trained on 3 frames, as its recipe says; got 16"):
        load(tmp_path / "run", frames=16)
    with pytest.raises(InputError, match="was told of nothing in training; got labels"):
        load(tmp_path / "run", "labels")
    zoo.save(zoo.build("LV-nano"), tmp_path / "lv")
    with pytest.raises(InputError, match="holds a LVSegmenter; give a network of Free-Echo"):
        load(tmp_path / "lv")


def test_weights_without_a_recipe_make_as_many_frames_as_asked(tmp_path: Path) -> None:
    net = LabelUNet3D(LabelUNet3DConfig())
    theirs = {f"{PREFIX}{key}": v.clone() for key, v in to_theirs(RULES, net.state_dict()).items()}
    torch.save({"step": 7, "model": theirs, "ema": theirs, "scaler": {}}, tmp_path / "model.pt")
    zoo.save(model().net, tmp_path / "net")
    for place, usual in ((tmp_path / "model.pt", 24), (tmp_path / "net", 3)):
        assert load(place).shape[1] == usual
        assert load(place, frames=16).shape[1] == 16
        with pytest.raises(InputError, match="frames must be a whole number of at least 1; got 0"):
            load(place, frames=0)
    one = load(tmp_path / "net", frames=5)
    assert one.from_labels(heart(), 40.0, plan=PLAN).video.shape == (5, 16, 16)


def test_plans_keep_the_papers_share() -> None:
    assert planned() == PAPER
    assert planned(method="labels") == GUIDED
    assert (planned(32).start_index, planned(32, 3).start_index) == (8, 3)
    with pytest.raises(InputError, match="begins from noise, at step 0; got start 3"):
        planned(start=3, method="labels")


@pytest.mark.parametrize("method", ["free-echo", "sdedit", "labels"])
def test_a_video_from_labels_by_every_method(method: Any) -> None:
    one = model("labels")
    plan = planned(3, method=method)
    made = one.from_labels(heart(), 60.0, plan=plan, method=method)
    assert made.video.shape == made.labels.shape == made.pseudo.shape == (3, 16, 16)
    if method == "labels":
        with pytest.raises(InputError, match=r"was told of sector\. Choose the method free-echo"):
            model("sector").from_labels(heart(), plan=plan, method=method)


@pytest.mark.slow
def test_a_published_checkpoint_samples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = LabelUNet3D(LabelUNet3DConfig(frames=2))
    theirs = {f"{PREFIX}{key}": v.clone() for key, v in to_theirs(RULES, net.state_dict()).items()}
    torch.save({"step": 7, "model": theirs, "ema": theirs, "scaler": {}}, tmp_path / "model.pt")
    one = load(tmp_path / "model.pt")
    plan = SamplingPlan(2, "heun", start_index=1)
    made = one.videos(heart(128), [0], plan, begun("free-echo", heart(128)[None], 128))
    assert made.shape == (1, 24, 128, 128)


def test_maps_that_do_not_fit_are_refused() -> None:
    one = model()
    for maps in (heart(20), np.stack([heart()] * 2), heart()[:, :12]):
        with pytest.raises(InputError, match="needs 1 or 3 label maps of 16x16 pixels; got"):
            one.videos(maps, [0], PLAN)
    with pytest.raises(InputError, match="no left ventricle"):
        one.videos(np.ones((16, 16), int), [0], PLAN)
    with pytest.raises(InputError, match=r"start_index must be in \[0, 63\] for 64 steps; got 64"):
        replace(PAPER, start_index=64)
    with pytest.raises(InputError, match="unknown insertion 'late'"):
        one.videos(heart(), [0], PLAN, insertion="late")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown method 'gan'"):
        begun("gan", heart()[None], 16)  # type: ignore[arg-type]


def test_labels_that_nobody_knows_are_refused() -> None:
    """Not taken for the sector, nor for nothing."""
    one, odd = model(), np.where(heart() == 1, 9, heart())
    for ask in (
        lambda: one.from_labels(odd, 40.0, plan=PLAN),
        lambda: one.videos(odd, [0], PLAN, np.zeros((3, 16, 16))),
        lambda: one.videos(np.stack([heart(), odd, odd]), [0], PLAN, np.zeros((3, 16, 16))),
        lambda: pseudo_video(odd[None], 16),
        lambda: begun("sdedit", odd[None], 16),
    ):
        with pytest.raises(InputError, match="the label map holds 9; it may hold 0 outside"):
            ask()
    with pytest.raises(InputError, match="the label map holds -1"):
        pseudo_video(np.where(heart() == 1, -1, heart().astype(int))[None], 16)


def test_starts_and_requests_that_do_not_fit_are_refused() -> None:
    one = model()
    for start in (np.zeros((2, 16, 16)), np.zeros((3, 8, 8)), np.zeros((16, 16))):
        with pytest.raises(InputError, match=r"the start has shape .* must be greys \(3, 16, 16\)"):
            one.videos(heart(), [0], PLAN, start)
    with pytest.raises(InputError, match="nothing to sample"):
        one.videos(heart(), [], PLAN, np.zeros((3, 16, 16)))
    with pytest.raises(InputError, match="give one label map, at end-diastole; got 3"):
        one.from_labels(np.stack([heart()] * 3), 40.0, plan=PLAN)
    with pytest.raises(InputError, match="16x16 pixels; got 1 of 16"):
        one.videos(heart()[0], [0], PLAN)


def test_folders_that_are_not_whole_are_told(tmp_path: Path) -> None:
    zoo.save(model().net, tmp_path / "run" / "net")
    recipe = {"stage": "cascade", "model": "1SCM-1", "data": "x"}
    (tmp_path / "run" / "recipe.yaml").write_text(parse(recipe).to_yaml())
    with pytest.raises(InputError, match=r"recipe\.yaml trained stage cascade"):
        load(tmp_path / "run")
    (tmp_path / "run" / "net" / "config.json").write_bytes(b"\xff\xfe")
    assert not is_freeecho(tmp_path / "run")
