"""DINOv2's transformer beside torchvision's, whose code is another's, with the same weights."""

import pytest
import torch
from torch import Tensor
from torchvision.models.vision_transformer import VisionTransformer

from echoflow.networks.vit import ViT, ViTConfig
from echoflow.types import InputError

SMALL = ViTConfig(patch=4, width=24, depth=2, heads=3, grid=5)


def theirs(own: ViT) -> VisionTransformer:
    """torchvision's network with our weights; it knows no LayerScale, so that ours must be one."""
    c = own.config
    net = VisionTransformer(
        c.patch * c.grid, c.patch, c.depth, c.heads, c.width, 4 * c.width, num_classes=2
    )
    net.heads = torch.nn.Identity()  # type: ignore[assignment]
    mine = own.state_dict()
    names: dict[str, Tensor] = {
        "class_token": mine["cls_token"],
        "encoder.pos_embedding": mine["pos_embed"],
        "conv_proj.weight": mine["patch_embed.proj.weight"],
        "conv_proj.bias": mine["patch_embed.proj.bias"],
        "encoder.ln.weight": mine["norm.weight"],
        "encoder.ln.bias": mine["norm.bias"],
    }
    places = {
        "ln_1": "norm1",
        "ln_2": "norm2",
        "self_attention.in_proj_": "attn.qkv.",
        "self_attention.out_proj": "attn.proj",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
    }
    for block in range(c.depth):
        for their, our in places.items():
            for kind in ("weight", "bias"):
                dot = "" if their.endswith("_") else "."
                source = f"blocks.{block}.{our}{'' if our.endswith('.') else '.'}{kind}"
                names[f"encoder.layers.encoder_layer_{block}.{their}{dot}{kind}"] = mine[source]
    net.load_state_dict(names)
    return net.eval()


@pytest.fixture
def net() -> ViT:
    torch.manual_seed(0)
    made = ViT(SMALL).eval()
    for name, weight in made.named_parameters():
        if "gamma" not in name:
            torch.nn.init.normal_(weight, std=0.3)
    return made


def test_equals_another_implementation(net: ViT) -> None:
    x = torch.randn(3, 3, 20, 20)
    with torch.no_grad():
        assert torch.allclose(net(x), theirs(net)(x), atol=2e-5)


def test_layer_scale_acts_on_each_branch(net: ViT) -> None:
    x = torch.randn(2, 3, 20, 20)
    with torch.no_grad():
        before = net(x)
        for name, weight in net.named_parameters():
            if name.endswith("gamma"):
                weight.zero_()
        silent = net(x)
        alone = net.norm(net.cls_token + net.pos_embed[:, :1])[:, 0]
    assert not torch.allclose(before, silent)
    assert torch.allclose(silent, alone.expand(2, -1), atol=1e-6)


def test_positions_are_resized_for_other_sizes(net: ViT) -> None:
    ramp = torch.arange(5.0)[:, None] + torch.zeros(5, 5)
    with torch.no_grad():
        net.pos_embed[0, 1:] = ramp.flatten()[:, None]
    small = net.positions(3, 4)
    assert small.shape == (1, 24, 3, 4)
    assert torch.allclose(small[0, 0], small[0, 5])
    middle = (1.5 / 3.1 * 5) - 0.5  # 1.92, where 2 would be without the published offset
    assert torch.allclose(small[0, 0, 1], torch.full((4,), middle), atol=0.05)
    assert torch.equal(net.positions(5, 5)[0, 0], ramp)
    assert net(torch.zeros(1, 3, 12, 16)).shape == (1, 24)


def test_the_published_size() -> None:
    with torch.device("meta"):
        full = ViT(ViTConfig())
    assert sum(p.numel() for p in full.parameters()) == 86_580_480
    assert full.state_dict()["pos_embed"].shape == (1, 1370, 768)
    assert "blocks.11.ls2.gamma" in full.state_dict()


def test_other_shapes_are_refused(net: ViT) -> None:
    with pytest.raises(InputError, match=r"multiples of 4; got \(1, 3, 21, 20\)"):
        net(torch.zeros(1, 3, 21, 20))
