"""The network that a recipe trains: untrained, or from weights that lie on disk."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from echoflow.networks import zoo
from echoflow.networks.rows import Config
from echoflow.networks.trunks import DeepLab, R2Plus1D, ReId18, start_from
from echoflow.training.recipes import Recipe
from echoflow.types import InputError


def network(recipe: Recipe, config: Config | None = None) -> nn.Module:
    """The recipe's network, or one of another config, with the weights that it starts from.

    Those are a folder of ours, or a torchvision file (.pth) for what has a trunk of torchvision.
    """
    net = zoo.build(config or recipe.model)
    if recipe.start is None:
        return net
    start = Path(recipe.start)
    if start.suffix != ".pth":
        zoo.load_weights(net, start / zoo.WEIGHTS)
    elif isinstance(net, ReId18 | R2Plus1D | DeepLab):
        start_from(net, start)
    else:
        raise InputError(f"{recipe.model} cannot start from a torchvision file such as {start}.")
    return net
