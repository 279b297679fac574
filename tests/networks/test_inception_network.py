"""The Inception network of FID beside torch-fidelity's, from one file of random weights."""

from pathlib import Path

import pytest
import torch

from echoflow.networks.inception import CLASSES, FEATURES, Inception, resized
from echoflow.types import InputError

fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


def test_the_published_size_and_names() -> None:
    with torch.device("meta"):
        net, theirs = Inception(), fidelity.InceptionE_2(2048)
    trunk = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("fc."))
    assert trunk == 21_785_568  # torchvision's inception_v3 without its classes
    assert net.fc.weight.shape == (CLASSES, FEATURES)
    own = {name.removeprefix("Mixed_7c.") for name in net.state_dict() if "Mixed_7c." in name}
    assert own == set(theirs.state_dict())


@pytest.mark.parametrize("size", [(112, 112), (40, 64), (320, 300)])
def test_resized_as_tensorflow_1(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    theirs = fidelity.interpolate_bilinear_2d_like_tensorflow1x(
        x, size=(299, 299), align_corners=False
    )
    rounding = 255 * sum(size) * 2**-23  # their positions are float32 in either axis
    assert (resized(x, 299) - theirs).abs().max() < rounding


@pytest.mark.slow
def test_equals_torch_fidelity(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Inception().eval()
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(std=0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    torch.save(net.state_dict(), tmp_path / "inception.pth")
    theirs = fidelity.FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(tmp_path / "inception.pth")
    )
    x = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    with torch.no_grad():
        ours, (expected,) = net(x.float()), theirs(x)
    assert ours.shape == (2, FEATURES)
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_other_shapes_are_refused() -> None:
    with torch.device("meta"):
        net = Inception()
    with pytest.raises(InputError, match=r"\(b, 3, h, w\); got \(1, 1, 64, 64\)"):
        net(torch.zeros(1, 1, 64, 64))
