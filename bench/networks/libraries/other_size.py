"""Other size: a file with position embeddings of another size of image than the network's."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.base.errors import BadInput
from bench.networks.libraries.request import Request

if TYPE_CHECKING:
    from torch import nn

_SHAPES = re.compile(r"'[\w.]*pos(?:ition)?_embed\w*' is \((?:\d+, )?(\d+), (\d+)\), and \((?:\d+, )?(\d+), \2\)")
"""Of what refuses a tensor of another shape: tokens of the file, width, tokens of the network."""


@contextlib.contextmanager
def of_another_size(request: Request, module: nn.Module, option: str) -> Iterator[None]:
    """Where a file is refused for its position embeddings, the remedy says which size it is of.

    `option` is the argument of the library's constructor for the sides of its images, pixels.
    """
    try:
        yield
    except BadInput as error:
        match = _SHAPES.search(error.problem)
        if match is None:
            raise
        side = _side(int(match[1]), int(match[3]), module)
        raise BadInput(error.problem, _remedy(request, option, side)) from error


def _side(tokens: int, own: int, module: nn.Module) -> int | None:
    """Pixels of the images that position embeddings of so many tokens are for; None where they are of no square."""
    from bench.networks.reading.reader import reader_of

    structure = reader_of(module).structure
    if structure.grid is None or structure.patch is None:
        return None
    others = own - structure.grid[0] * structure.grid[1]  # of a class, and of registers
    cells = math.isqrt(max(tokens - others, 0))
    return cells * structure.patch if cells and cells**2 == tokens - others else None


def _remedy(request: Request, option: str, side: int | None) -> str:
    joint = "&" if request.options else "?"
    size = side or "PIXELS"
    images = f"images of {side}×{side} pixels" if side else "images of another size"
    return f"The file is of {images}: name the network of that size, which {request.text}{joint}{option}={size} is" + (
        ", or another name of the library's." if request.source == "timm" else "."
    )
