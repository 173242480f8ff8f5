"""Search: the nearest rows of a bank, exactly and block by block, or in product codes (docs/protocols.md#in-context).

Rows and queries are unit vectors, so that the inner product is the cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadEnvironment, BadInput
from bench.scoring.neighbours import smallest
from bench.scoring.whitening import require_variety

BLOCK = 1 << 16
"""Rows that are float32 at once, where they are kept as float16."""
CODES = 256
"""Of each part of a product code: it takes a byte."""
TRAINED_ON = 256 * CODES
"""Rows that the codes are fitted to, at most: as many as faiss takes."""
ROWS = "patches of the bank"
Floats = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Search = Callable[[Float32, int], tuple[Float32, Places]]
"""(N×D queries, k) → cosines and row numbers of the k nearest rows, N×k each, the nearest first."""


def nearest(rows: Floats, queries: Float32, k: int, block: int | None = None) -> tuple[Float32, Places]:
    """The k rows of an M×D matrix (float32 or float16) with the largest inner product with each of N×D queries.

    Exact, by faiss. Only `block` rows are looked at at once, `BLOCK` where they are no float32: memory does not grow.
    """
    import faiss

    block = block or (len(rows) if rows.dtype == np.float32 else BLOCK)
    best = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(rows), block):
        part = np.ascontiguousarray(rows[start : start + block], np.float32)
        found: Any = faiss.knn(queries, part, min(k, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        best = smallest(best, (-found[0], found[1] + start), k)
    return -best[0], best[1]


def exact(rows: Floats, *, gpu: bool = False) -> Search:
    """Exact search among M×D rows. Raises BadInput where all are equal, BadEnvironment where the GPU is too small."""
    require_variety(rows[:: max(1, len(rows) // TRAINED_ON)], ROWS)
    if not gpu:
        return lambda queries, k: nearest(rows, queries, k)
    import faiss

    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = rows.dtype == np.float16
    try:
        index: Any = faiss.index_cpu_to_gpus_list(faiss.IndexFlatIP(rows.shape[1]), co=options, gpus=[0])
        for part in _blocks([rows]):
            index.add(part)
    except RuntimeError as error:
        raise BadEnvironment(
            f"a bank of {len(rows)} patches of {rows.shape[1]} features does not fit the GPU's memory",
            "Use --set bank_type=float16, a smaller --set memory=N, or --device cpu.",
        ) from error
    return index.search


def code_bytes(width: int, asked: int | None) -> int:
    """Bytes of a product code of `width` features: as asked, or the divisor of their number next below an eighth.

    Raises BadInput for what does not divide their number.
    """
    divisors = [number for number in range(1, width + 1) if width % number == 0]
    if asked is None:
        return max(number for number in divisors if number <= max(1, width // 8))
    if asked not in divisors:
        raise BadInput(
            f"code_bytes is {asked}, which does not divide the {width} features of a patch",
            f"Use one of {', '.join(map(str, divisors))}, or leave it out.",
        )
    return asked


def quantised(parts: Callable[[], Iterable[Floats]], rows: int, width: int, asked: int | None) -> Search:
    """Search in product codes of `rows` unit vectors, which `parts()` gives from the first, part by part, twice.

    faiss, 8 bits for each of `code_bytes` parts, fitted to at most `TRAINED_ON` rows at even distances. Always on the
    CPU. Raises BadInput for fewer rows than codes, and where all are equal.
    """
    import faiss

    if rows < CODES:
        raise BadInput(
            f"a bank of {rows} patches is too small for {CODES} codes a byte (bank_type = quantised)",
            "Use --set bank_type=float32, or more images.",
        )
    index: Any = faiss.IndexPQ(width, code_bytes(width, asked), 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # faiss would otherwise warn on stderr about small banks
    spread = _spread(parts(), rows, width)
    require_variety(spread, ROWS)
    index.train(spread)
    for part in _blocks(parts()):
        index.add(part)
    return index.search


def _spread(parts: Iterable[Floats], rows: int, width: int) -> Float32:
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, TRAINED_ON)).astype(np.int64))
    found, start, filled = np.empty((len(chosen), width), np.float32), 0, 0
    for part in parts:
        mine = chosen[(chosen >= start) & (chosen < start + len(part))] - start
        found[filled : filled + len(mine)] = part[mine]
        start, filled = start + len(part), filled + len(mine)
    return found


def _blocks(parts: Iterable[Floats]) -> Iterator[Float32]:
    for part in parts:
        for start in range(0, len(part), BLOCK):
            yield np.ascontiguousarray(part[start : start + BLOCK], np.float32)
