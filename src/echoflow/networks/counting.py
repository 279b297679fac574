"""What a network costs: parameters, and multiply-adds of one forward pass at batch 1.

The forward runs on torch's meta device, where tensors have shapes and no values, so a model of half
a billion parameters is counted in a second. Papers count in two ways, with and without the products
inside attention (a fused kernel hides them from most counters), so the two are kept apart. EchoFlow
used fvcore, which also charges for norms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from echoflow.condition import Condition
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.dit import FMiTConfig, FMvTConfig
from echoflow.networks.dit_v1 import FMiTv1Config, FMvTv1, FMvTv1Config
from echoflow.networks.heads import EFRegressorConfig, LVSegmenterConfig, ReIdConfig
from echoflow.networks.rows import Config, cells_of
from echoflow.networks.trunks import DeepLabConfig, R2Plus1DConfig, ReId18Config
from echoflow.networks.unet import STUNetConfig, UNetConfig
from echoflow.networks.unet3d import UNet3DConfig
from echoflow.networks.unet3d_labels import LabelUNet3DConfig
from echoflow.networks.zoo import build, config_of

SIDE = 112  # pixels of the videos
# Out of training these skip what has no effect, cross-attention to a single token.
FULL_IN_TRAINING = (STUNetConfig,)


@dataclass(frozen=True)
class Cost:
    """Of one forward pass at batch 1, in multiply-adds.

    `linear` are products with weights, `attention` products of two activations (Q K^T and A V), and
    `norms` what fvcore charges for layer and group norms: 4 per element, 5 with learned factors.
    """

    parameters: int
    linear: int
    attention: int
    norms: int

    @property
    def macs(self) -> int:
        """Every multiply-add, attention products included."""
        return self.linear + self.attention

    def fvcore(self, attention: bool) -> int:
        """What fvcore finds, where attention is written out (`attention`) or fused."""
        return self.linear + self.norms + attention * self.attention


def cost(model: Config | str) -> Cost:
    """What the network of a zoo name or config costs, in the form that is published.

    Transformers are measured at depths 1 and 2 and continued, as every block costs the same.
    """
    config, cells = (config_of(model), cells_of(model)) if isinstance(model, str) else (model, 28)
    depth = getattr(config, "depth", 0)
    if depth <= 2:
        return _measured(config, cells)
    one, two = (_measured(replace(config, depth=n), cells) for n in (1, 2))  # type: ignore[call-arg]
    pairs = zip(astuple(one), astuple(two), strict=True)
    return Cost(*(a + (depth - 1) * (b - a) for a, b in pairs))


def _measured(config: Config, cells: int) -> Cost:
    with torch.device("meta"):
        net = build(config).to("meta")  # legacy constructors do not see the device
    counter = Counting()
    with counter:
        _forward(net.train(isinstance(config, FULL_IN_TRAINING)), config, cells)
    return Cost(parameters(net), **{kind: counter.found[kind] for kind in KINDS})


def parameters(net: nn.Module) -> int:
    """Numbers that training changes; tables of positions and running statistics are not."""
    return sum(value.numel() for value in net.parameters())


def _forward(net: nn.Module, config: Config, cells: int) -> None:
    """One forward pass on the meta device, with the input that the config describes.

    `cells` is the side of the latent where the config leaves it open.
    """
    match config:
        case AVAEConfig():
            net(_empty(config.pixels, SIDE, SIDE))
        case ReIdConfig() | ReId18Config():
            net(_empty(config.channels, cells, cells))
        case EFRegressorConfig() | R2Plus1DConfig():
            net(_empty(config.frames, SIDE, SIDE))
        case LVSegmenterConfig() | DeepLabConfig():
            net(_empty(SIDE, SIDE))
        case FMiTConfig() | FMiTv1Config() | UNetConfig():
            net(_empty(config.channels, *_sides(config.size or cells)), _empty(), Condition())
        case FMvTConfig() | STUNetConfig():
            clip = _empty(config.channels, config.frames, *_sides(config.size or cells))
            net(clip, _empty(), Condition())
        case UNet3DConfig():
            video = _empty(config.channels, config.frames, config.size, config.size)
            net(video, _empty(), _stage_condition(config, video))
        case LabelUNet3DConfig():
            video = _empty(config.channels, config.frames, config.size, config.size)
            net(video, _empty(), Condition())
        case FMvTv1Config():
            _full(cast(FMvTv1, net), _empty(config.channels, config.frames, *config.size))


def _full(net: FMvTv1, clip: Tensor) -> None:
    """The released form: the anatomy on every frame, and the EF asked by every token."""
    still = replace(net.still_of(clip, None), tokens=net.token(_empty(1, net.config.token_width)))
    net.velocity(clip, net.modulation(_empty(), still), still)


def _stage_condition(config: UNet3DConfig, video: Tensor) -> Condition:
    """What a stage of a cascade cannot do without."""
    lowres, level = (video, _empty()) if config.lowres else (None, None)
    return Condition(ef=_empty(), frame=video[:, :, 0], lowres=lowres, lowres_noise=level)


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns."""
    return (size, size) if isinstance(size, int) else size


def _empty(*shape: int) -> Tensor:
    """A batch of one."""
    return torch.empty((1, *shape), device="meta")


class Counting(TorchFunctionMode):
    """While active, adds up in `found` what every product and norm costs, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in NO_VALUES and args[0].is_meta:
            return NO_VALUES[func]
        out = func(*args, **(kwargs or {}))
        if func in RULES:
            kind, amount = RULES[func](out, *args, **(kwargs or {}))
            self.found[kind] += amount
        return out


# Checks of a condition ask for values, and on the meta device there are none.
NO_VALUES: dict[Any, int | bool] = {Tensor.__int__: 0, Tensor.__bool__: False}
Charge = tuple[str, int]
KINDS = ("linear", "attention", "norms")


def _linear(out: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Charge:
    return "linear", out.numel() * weight.shape[1]


def _conv(out: Tensor, input: Tensor, weight: Tensor, *rest: Any, **more: Any) -> Charge:
    return "linear", out.numel() * weight[0].numel()


def _conv_transpose(out: Tensor, input: Tensor, weight: Tensor, *rest: Any, **more: Any) -> Charge:
    return "linear", input.numel() * weight[0].numel()


def _matmul(out: Tensor, input: Tensor, other: Tensor, **more: Any) -> Charge:
    kind = "linear" if _learned(input) or _learned(other) else "attention"
    return kind, out.numel() * input.shape[-1]


def _addmm(out: Tensor, input: Tensor, a: Tensor, b: Tensor, **more: Any) -> Charge:
    return _matmul(out, a, b)


def _sdpa(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any
) -> Charge:
    scores = query.shape[:-1].numel() * key.shape[-2]
    return "attention", scores * (query.shape[-1] + value.shape[-1])


def _layer_norm(
    out: Tensor, input: Tensor, shape: Any, weight: Tensor | None = None, *rest: Any, **more: Any
) -> Charge:
    return "norms", out.numel() * (5 if isinstance(weight, nn.Parameter) else 4)


def _learned(x: Tensor) -> bool:
    """A parameter, or a view of one such as its transpose."""
    return isinstance(x, nn.Parameter) or isinstance(x._base, nn.Parameter)


RULES: dict[Callable[..., Any], Callable[..., Charge]] = {
    F.linear: _linear,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _conv),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _conv_transpose),
    **dict.fromkeys((torch.matmul, torch.mm, torch.bmm), _matmul),
    **dict.fromkeys((Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm), _matmul),
    **dict.fromkeys((torch.addmm, torch.baddbmm, Tensor.addmm, Tensor.baddbmm), _addmm),
    F.scaled_dot_product_attention: _sdpa,
    **dict.fromkeys((F.layer_norm, F.group_norm), _layer_norm),
}
