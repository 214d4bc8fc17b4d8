"""Collective operations that do nothing when one process trains alone.

Shapes: any.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes training together; 1 when nobody called `init_process_group`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum of `x` over processes, in place."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def from_rank_zero(x: Tensor) -> Tensor:
    """The `x` of rank 0, in place."""
    if world_size() > 1:
        dist.broadcast(x, 0)
    return x


def gather_rows(x_ND: Tensor) -> Tensor:
    """Rows of all processes, in rank order; every process must bring equally many."""
    if world_size() == 1:
        return x_ND
    parts = [torch.empty_like(x_ND) for _ in range(world_size())]
    dist.all_gather(parts, x_ND.contiguous())
    return torch.cat(parts)
