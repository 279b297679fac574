"""LPIPS around a trunk from a torchvision file, against the package that it wraps."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from echoflow.metrics.lpips import Lpips, filled, untrained
from echoflow.types import InputError

pytest.importorskip("lpips")


@pytest.fixture(scope="module")
def wrapped() -> tuple[Lpips, dict[str, torch.Tensor]]:
    """An `Lpips` of a random AlexNet, and that network's tensors by torchvision's names."""
    net, rng = untrained("alex"), torch.Generator().manual_seed(0)
    names = {key: re.sub(r"^slice.", "features", key) for key in net.net.state_dict()}
    shapes = net.net.state_dict()
    state = {n: 0.05 * torch.randn(shapes[k].shape, generator=rng) for k, n in names.items()}
    made = Lpips.__new__(Lpips)
    made.name, made.sha256, made.device = "lpips-alex", "", "cpu"
    made.net = filled(net, state)
    return made, state


def test_the_trunk_is_torchvisions(wrapped) -> None:
    made, state = wrapped
    own = made.net.net.state_dict()
    assert torch.equal(own["slice2.3.weight"], state["features.3.weight"])
    assert torch.equal(own["slice5.10.bias"], state["features.10.bias"])
    less = {name: value for name, value in state.items() if name != "features.3.weight"}
    with pytest.raises(InputError, match=r"lacks features\.3\.weight"):
        filled(made.net, less)


def test_equal_pictures_have_no_distance_and_chunks_change_nothing(wrapped) -> None:
    made, _ = wrapped
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 18, 64, 64), np.uint8)
    found = made(a, b)
    assert found.shape == (18,)
    assert (found > 0).all()
    np.testing.assert_allclose(found[16:], made(a[16:], b[16:]), rtol=1e-5)
    np.testing.assert_allclose(made(a[:2], a[:2]), 0)
    x, y = (torch.from_numpy(p[:2].astype(np.float32) / 127.5 - 1)[:, None] for p in (a, b))
    theirs = made.net(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)).flatten()
    np.testing.assert_allclose(found[:2], theirs.detach().numpy(), rtol=1e-5)
    with pytest.raises(InputError, match="LPIPS compares pictures"):
        made(a, b[:3])
