"""Memory: how much a network needs for one image, and how many images fit."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.4
"""Of the free memory that a batch may take: kernels need room of their own, which is not counted."""
MOST = {"cpu": 4, "cuda": 128}
"""Images in a batch beyond which nothing gets faster."""
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files with a container's limit and what it uses."""


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are alive at once, of those that are made while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor)
        return output

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def bytes_of(network: Callable[[Tensor], Any], images: Tensor) -> int:
    """How many bytes of tensors are alive at once while a network sees a batch, beyond weights and images."""
    with torch.inference_mode(), _Live() as live:
        output = network(images)
        del output
    return live.peak


def free_bytes(device: str) -> int:
    """Memory that is free on a device; of a container, what its limit leaves."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    free = [psutil.virtual_memory().available]
    for limit, used in _CGROUPS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such group, or no limit: "max"
            continue
    return max(0, min(free))


def fitting_batch(network: Callable[[Tensor], Any], image: Tensor, device: str) -> int:
    """How many images like this one (1×3×H×W) fit at once: a power of two, at least 1."""
    each = max(1, bytes_of(network, image) + image.numel() * image.element_size())
    fits = int(SHARE * free_bytes(device) / each)
    most = MOST["cuda" if device.startswith("cuda") else "cpu"]
    return min(most, 1 << max(0, min(fits, most).bit_length() - 1))
