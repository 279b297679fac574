"""What several processes compute together, gradients included; alone, it is the identity."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def everybody(x: Tensor) -> Tensor:
    """The rows (b, ...) of all processes in the order of the global batch, (b * world, ...).

    Every process then computes the same loss. Gradients flow back to the rows of each process from
    the losses of all, so that averaging the parameters' gradients gives that of one such loss.
    """
    if not _several():
        return x
    from torch.distributed.nn.functional import all_gather

    return torch.stack(list(all_gather(x)), dim=1).flatten(0, 1)


def mean_of_all(x: Tensor) -> Tensor:
    """The mean over the processes, without gradients."""
    if not _several():
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
