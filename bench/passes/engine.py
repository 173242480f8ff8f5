"""Engine: runs a network over images, for every kind of pass.

Images are decoded in threads before the network, and counted in threads after it. A batch too large for memory is
halved. Nothing here may change a figure beyond floating point, except `precision`.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import cv2

from bench.base.errors import BadEnvironment, BadInput, BenchError, Warn, WrongName
from bench.base.parallel import Progress, batched, prefetch

if TYPE_CHECKING:
    from torch import Tensor, nn

Item = TypeVar("Item")
Middle = TypeVar("Middle")
Result = TypeVar("Result")
Precision = Literal["float32", "bfloat16"]


@dataclass
class Engine:
    """What a pass runs on. `batch_size` shrinks when memory runs out."""

    device: str
    """As torch names it: `cpu`, `cuda`, `cuda:1`."""
    precision: Precision = "float32"
    batch_size: int = 8
    workers: int = 2
    progress: Progress | None = None
    warn: Warn = lambda message: None


def choose_device(name: str) -> str:
    """`auto` takes CUDA where there is one. Raises BadEnvironment for a device that is not there.

    A run that only scores what is cached needs no torch: it is asked only where the answer is not known without it.
    """
    if name == "cpu" or (name == "auto" and not _has_cuda_driver()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise WrongName(f"unknown device '{name}'", "Use auto, cpu, cuda or cuda:1.") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadEnvironment(f"device '{name}' cannot be used: {reason}", "Use --device cpu or auto.") from error
    return str(device)


def _has_cuda_driver() -> bool:
    """Whether the library is there without which torch finds no GPU."""
    from ctypes.util import find_library

    return find_library("nvcuda" if sys.platform == "win32" else "cuda") is not None


def device_name(device: str) -> str:
    """What a person calls it."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def stream(
    items: Iterable[Item],
    load: Callable[[Item], Middle],
    forward: Callable[[Sequence[Middle]], Sequence[Any]],
    finish: Callable[[Middle, Any], Result],
    engine: Engine,
) -> Iterator[Result]:
    """`finish(loaded, output)` of every item, in order.

    `load` and `finish` run in threads, `forward` here, on batches of `engine.batch_size` or fewer. Where loading or
    `forward` fails or is interrupted, what `forward` finished before comes out first, and then the exception.
    """
    cv2.setNumThreads(1)  # the threads below are the parallelism
    with ThreadPoolExecutor(max(1, engine.workers), "bench-loader") as pool:
        loaded = prefetch(pool, load, items, depth=2 * engine.batch_size)
        waiting: deque[Future[Result]] = deque()
        try:
            batches = batched(loaded, engine.batch_size)
            while True:
                try:
                    batch = next(batches, [])
                    outputs = halving(forward, batch, engine) if batch else []
                except (Exception, KeyboardInterrupt):
                    while waiting:
                        yield waiting.popleft().result()
                    raise
                if not batch:
                    break
                for item, output in zip(batch, outputs, strict=True):
                    waiting.append(pool.submit(finish, item, output))
                while len(waiting) > engine.batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def halving(
    forward: Callable[[Sequence[Item]], Sequence[Result]], batch: Sequence[Item], engine: Engine
) -> list[Result]:
    """`forward(batch)`; a batch too large for memory goes in two halves, and all later ones are as small."""
    try:
        return list(forward(batch))
    except (MemoryError, RuntimeError) as error:  # torch's own error of the kind is a RuntimeError
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise BadEnvironment(
                f"out of memory on {engine.device} with a single image",
                "Use --device cpu, or a smaller input with --set (`bench list protocols` shows the entry).",
            ) from error
    import torch

    torch.cuda.empty_cache()
    engine.batch_size = max(1, len(batch) // 2)
    engine.warn(f"out of memory: continuing with batches of {engine.batch_size}")
    half = engine.batch_size
    return halving(forward, batch[:half], engine) + halving(forward, batch[half:], engine)


def is_out_of_memory(error: Exception) -> bool:
    """The CPU allocator has no exception of its own, only a message."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)


def call(network: nn.Module | Callable[[Tensor], Any], images: Tensor) -> Any:
    """The network's output. What it raises, except for lack of memory, becomes BadInput."""
    try:
        return network(images)
    except BenchError:
        raise  # says more about the network than could be said here
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise BadInput(
            f"the network fails on images of shape {tuple(images.shape)}: {type(error).__name__}: {error}",
            "Its weights must be float32: call .float() on it; --precision bfloat16 is for speed."
            if any(kind in str(error) for kind in ("Half", "BFloat16", "Double"))
            else "It must take B×3×H×W float32 images at the preset's input size.",
        ) from error


def tried(network: nn.Module | Callable[[Tensor], Any], images: Tensor, engine: Engine) -> Any:
    """As `call`, before a run begins: nothing is halved. Raises BadEnvironment where the batch does not fit."""
    try:
        return call(network, images)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise BadEnvironment(
            f"out of memory on {engine.device} with {len(images)} images of {images.shape[-2]}×{images.shape[-1]}",
            "Use a smaller --batch-size, or --device cpu, or a smaller input with --set.",
        ) from error


@contextlib.contextmanager
def arithmetic(engine: Engine) -> Iterator[None]:
    """float32 means float32 (no TF32 on CUDA); bfloat16 means autocast."""
    import torch

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(engine.device.partition(":")[0], torch.bfloat16, enabled=engine.precision == "bfloat16"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
