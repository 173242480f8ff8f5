"""Parallel: work in threads. Results come in order, a bounded number ahead of their use."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (items done, items in all)."""


def default_workers() -> int:
    """As many as there are cores, up to eight."""
    return min(8, os.cpu_count() or 1)


def end_with_parent() -> None:
    """In a worker process: end when the parent does, however it ends. Workers of a killed one would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def prefetch(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Results of `function` in order, at most `depth` of them computed ahead."""
    ahead: deque[Future[Result]] = deque()
    for item in items:
        ahead.append(pool.submit(function, item))
        if len(ahead) >= depth:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def told(items: Iterable[Item], total: int, progress: Progress | None) -> Iterator[Item]:
    """The items; `progress` is told of each that was used."""
    for done, item in enumerate(items, start=1):
        yield item
        if progress:
            progress(done, total)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last one may be shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
