"""What several processes under `torchrun` share: all of it is the identity in a single process."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather(part: Tensor) -> Tensor:
    """The parts of all ranks, one after the other along the first axis. Not differentiable."""
    if world() == 1:
        return part
    part = part.detach().contiguous()
    parts = [torch.empty_like(part) for _ in range(world())]
    dist.all_gather(parts, part)
    return torch.cat(parts)


def own_part(whole: Tensor) -> Tensor:
    """This rank's share of what `gather` put together."""
    size = len(whole) // world()
    return whole[rank() * size : (rank() + 1) * size]


def permutation(length: int, device: torch.device) -> Tensor:
    """A random order of `length` items, the same on all ranks: rank 0 draws it from torch's CPU generator."""
    order = torch.randperm(length).to(device)
    if world() > 1:
        dist.broadcast(order, src=0)
    return order


def mean(values: Tensor) -> Tensor:
    """The mean of each value over the ranks."""
    if world() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / world()
