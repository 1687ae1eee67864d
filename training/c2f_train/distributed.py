"""What several ranks of a training run share beside gradients; with one rank every function returns its argument."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of every rank's `values`."""
    if not is_distributed():
        return values
    shared = values.detach().clone()
    dist.all_reduce(shared)
    return shared / dist.get_world_size()


def rows_of_all_ranks(rows: Tensor) -> Tensor:
    """The rows [M, ...] of all ranks, rank after rank; every rank has equally many."""
    if not is_distributed():
        return rows
    parts = [rows.new_empty(rows.shape) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def from_first_rank(values: Tensor) -> Tensor:
    """Rank 0's `values`."""
    if is_distributed():
        dist.broadcast(values, 0)
    return values
