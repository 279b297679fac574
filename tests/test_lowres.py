"""What a stage is told of the one before: stored values, limits, and what is refused."""

from __future__ import annotations

import pytest
import torch
from closed_forms import golden
from golden_cases import cases

from echoflow.condition import Condition
from echoflow.lowres import LOWRES, LowRes, log_snr, noised, resized
from echoflow.types import InputError

FILE = "echodiffusion/lowres_augmentation.tiny"


def test_golden_schedule() -> None:
    data, about = golden(FILE)
    ratio, one = log_snr(data["table.t"]), torch.ones(21, 1)
    found = {
        "log_snr": ratio,
        "alpha": noised(one, 0 * one, ratio)[:, 0],
        "sigma": noised(0 * one, one, ratio)[:, 0],
    }
    wanted = {name: data[f"table.{name}"] for name in found}
    torch.testing.assert_close(found, wanted, **about["tolerance"])


def test_golden_resizing_and_noise() -> None:
    _, about = golden(FILE)
    given = [case["arguments"] for case in about["cases"]]
    for (name, at, wanted), how in zip(cases(FILE), given, strict=True):
        video = at.get("video01", at.get("frame"))
        assert video is not None
        t, h = video.shape[2:4]
        side = how.get("low_size", h)
        small = resized(video, (how.get("low_frames", t), side, side), how["mode"])
        found = {"low": small}
        if "back_up" in wanted:
            found["back_up"] = resized(small, video.shape[2:], how["mode"])
            noise = at["noise"]
            assert noise is not None
            ratio = log_snr(torch.full((len(video),), how["t"]))
            found["noisy"] = noised(2 * found["back_up"] - 1, noise, ratio)
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value, **about["tolerance"], msg=name)


@pytest.mark.parametrize(("name", "told"), [("published", 0.2), ("consistent", 0.70933)])
def test_both_ways_to_tell_the_same_noise(name: str, told: float) -> None:
    cond, video = Condition(ef=torch.tensor([50.0])), torch.ones(1, 1, 2, 4, 4)
    noise = torch.full((1, 1, 4, 8, 8), 2.0)
    asked = LOWRES[name].given(cond, video, (4, 8, 8), noise)
    assert asked.lowres_noise is not None
    assert asked.lowres is not None
    assert asked.lowres_noise.item() == pytest.approx(told, abs=1e-5)
    alpha, sigma = 0.8186898, 0.5742360
    torch.testing.assert_close(asked.lowres, torch.full((1, 1, 4, 8, 8), alpha + 2 * sigma))
    assert asked.ef is cond.ef


def test_noise_keeps_the_variance_of_what_has_variance_one() -> None:
    ratio = log_snr(torch.linspace(0, 1, 11))
    x, noise = torch.ones(11, 1), torch.ones(11, 1)
    squares = noised(x, 0 * noise, ratio) ** 2 + noised(0 * x, noise, ratio) ** 2
    torch.testing.assert_close(squares, torch.ones(11, 1))


@pytest.mark.parametrize("mode", ["nearest", "trilinear"])
def test_a_still_grey_video_stays_what_it_is(mode) -> None:
    video = torch.full((1, 1, 4, 6, 6), 0.3)
    torch.testing.assert_close(resized(resized(video, (2, 3, 3), mode), (4, 6, 6), mode), video)
    assert resized(video, (4, 6, 6), mode) is video


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": 20.0}, r"in \[0, 1\]; got 20"),
        ({"resize": "bicubic"}, "resize mode 'bicubic'"),
        ({"told": "t"}, "way to tell a noise level 't'"),
    ],
)
def test_settings_that_do_not_exist(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LowRes(**values)
