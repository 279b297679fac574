"""Guidance, thresholding and churn against stored values of the published samplers."""

from __future__ import annotations

import pytest
import torch
from closed_forms import Counted, golden

from echoflow.condition import over
from echoflow.fields import guided, thresholded
from echoflow.process import EDM, RectifiedFlow
from echoflow.sampling import Churn, begin, churned, euler, heun, integrate


def test_golden_guided_euler_step() -> None:
    """The branch velocities follow from scales 0 and 1; scale 2 must then follow from them."""
    data, about = golden("sampling.tiny")
    grid, noise = RectifiedFlow().grid(about["steps"]), data["noise"]
    torch.testing.assert_close(grid.float(), data["timesteps"])
    first = {s: data[f"first_step.both.scale{s}"] for s in (0, 1, 2)}
    negative, cond = ((first[s] - noise) / (grid[1] - grid[0]).item() for s in (0, 1))
    field = guided(lambda x, t: cond, lambda x, t: negative, 2.0)
    moved, _ = euler(field, noise, grid[0].item(), grid[1].item())
    torch.testing.assert_close(moved, first[2], **about["tolerance"])


def test_golden_dynamic_threshold() -> None:
    data, about = golden("echodiffusion/edm_math.tiny")
    x0_hat = data["dynamic_threshold.x"]
    t = torch.full((len(x0_hat),), 2.0)
    x = torch.zeros_like(x0_hat)
    v = thresholded(lambda x, t: (x - x0_hat) / over(t, x))(x, t)
    torch.testing.assert_close(x - 2 * v, data["dynamic_threshold.out"], **about["tolerance"])
    v = thresholded(lambda x, t: (x - x0_hat) / over(t, x), None)(x, t)
    torch.testing.assert_close(-2 * v, data["dynamic_threshold.static_out"], **about["tolerance"])


def test_golden_churn_levels() -> None:
    data, about = golden("echodiffusion/edm_math.tiny")
    for name, schedule in about["schedules"].items():
        churn, steps = Churn(amount=schedule["S_churn"]), schedule["steps"]
        sigma = EDM().grid(steps).tolist()
        gamma = [churn.gamma(s, steps) for s in sigma]
        raised = [EDM().raised(s, g) for s, g in zip(sigma, gamma, strict=True)]
        for key, found in (("gamma", gamma), ("sigma_hat", raised)):
            wanted = data[schedule[key]]
            torch.testing.assert_close(torch.tensor(found), wanted, **about["tolerance"], msg=name)


CLOSED_FORM = ["churn_dynamic", "nochurn_dynamic", "churn_noclamp", "wide_dynamic", "two_steps"]
CLOSED_FORM += ["full_64", "full_32_churn40"]


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_golden_stochastic_heun(name: str) -> None:
    """Every denoiser call and the end of EchoDiffusion's sampler on Gaussian data."""
    data, about = golden("echodiffusion/sampler_closed_form.tiny")
    case = next(case for case in about["cases"] if case["name"] == name)
    plan, noise = case["arguments"], data[case["inputs"]["noise"]]
    mean, std = data["mu"].reshape(1, 3, 1, 1, 1), plan["s"]
    gauss = lambda x, t: (x - mean) * over(t / (t**2 + std**2), x)  # noqa: E731
    field = Counted(thresholded(gauss) if plan["clamp"] else gauss)
    grid = EDM(sigma_data=plan["sigma_data"]).grid(plan["steps"])
    churn = Churn(amount=plan["S_churn"])
    step = churned(heun, EDM(), churn, grid, lambda k: noise[k])
    end = integrate(field, begin(EDM(), noise[0], grid[0].item()), grid, step)
    found = {
        "final": (end.clamp(-1, 1) + 1) / 2,
        "calls_x": torch.stack([x for x, _, _ in field.asked]),
        "calls_D": torch.stack([x - over(t, x) * v for x, t, v in field.asked]),
        "calls_sigma": torch.stack([t[0] for _, t, _ in field.asked]),
    }
    for key, about_output in case["outputs"].items():
        wanted = data[about_output["key"]]
        torch.testing.assert_close(found[key], wanted, **about["tolerance"])
