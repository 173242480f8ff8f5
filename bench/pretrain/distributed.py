"""Ranks: what several processes under `torchrun` share. In a single process nothing changes."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def first_to_say(message: str) -> bool:
    """Whether no other process of this `torchrun` has asked the same before: the launcher's store keeps count.

    Works before the processes have joined and after one of them has ended. Where there is no such store, all are first.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    try:
        said = f"{os.environ['TORCHELASTIC_RESTART_COUNT']}\0{message}".encode()
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=5))  # type: ignore[attr-defined]
        return bool(store.add(f"bench/said/{hashlib.sha256(said).hexdigest()}", 1) == 1)
    except (RuntimeError, KeyError, ValueError):
        return True


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
